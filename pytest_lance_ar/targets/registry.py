"""Finds the targets: every folder beside this file that defines one, and what installed distributions offer.

Those from outside are looked for only when a kernel is of none of this package's: what they bring cannot disturb who
does not use them. Nothing is taken from the working directory.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import metadata, util
from pathlib import Path
from typing import Final

import pytest_lance_ar.targets as folder
from pytest_lance_ar.targets import DEFAULT
from pytest_lance_ar.targets.protocol import API, Combo, Target

GROUP: Final = "pytest_lance_ar.targets"
"""The entry points that offer targets."""
_OWN: Final = "pytest_lance_ar"
_OF_INSTALLING: Final = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
"""What tells how a distribution came here; the same again, installed once more, is no change."""
_TEXTS: Final = ("name", "kernel_class", "driver")
_REQUIRED: Final = (*_TEXTS, "suite", "suite_tests", "combos", "steps", "floor_ns", "parse_case", "workload")


class TargetError(ValueError):
    """A target from outside that cannot be used; the message says in a sentence what to mend."""


@dataclass(frozen=True)
class Outside:
    """A target that a distribution offers. problem: why it cannot be used, "" where it can."""

    point: metadata.EntryPoint
    target: Target | None
    problem: str = ""

    @property
    def distribution(self) -> str:
        return self.point.dist.name if self.point.dist else "an unknown distribution"

    @property
    def requirement(self) -> str:
        """What pip installs it by."""
        return f"{self.point.dist.name}=={self.point.dist.version}" if self.point.dist else ""

    @property
    def files(self) -> dict[str, Path]:
        """Everything that it consists of, by the name that messages call it."""
        dist, found = self.point.dist, {}
        for name in (self.point.module, self.target.driver if self.target else self.point.module):
            top = name.partition(".")[0]
            spec = util.find_spec(top)
            if top == _OWN or spec is None or spec.origin is None:
                continue
            origin = Path(spec.origin).resolve()
            is_package = origin.stem == "__init__"
            below = sorted(origin.parent.rglob("*")) if is_package else [origin]
            found.update({path.relative_to(origin.parents[is_package]): path for path in below})
        for path in (dist.files if dist else None) or ():
            if path.name not in _OF_INSTALLING:
                found[Path(path)] = Path(str(path.locate())).resolve()
        return {
            f"{self.distribution}:{name.as_posix()}": path
            for name, path in found.items()
            if path.is_file() and path.suffix != ".pyc" and ".." not in name.parts
        }


@cache
def targets() -> dict[str, Target]:
    """Every target of this package, by name."""
    folders = (module.name for module in pkgutil.iter_modules(folder.__path__) if module.ispkg)
    packages = {name: importlib.import_module(f"{folder.__name__}.{name}") for name in folders}
    return {name: package.TARGET for name, package in packages.items() if hasattr(package, "TARGET")}


@cache
def outside() -> tuple[Outside, ...]:
    """Every target that an installed distribution offers, loaded."""
    with _nothing_from_here():
        return tuple(_loaded(point) for point in sorted(metadata.entry_points(group=GROUP), key=lambda one: one.name))


def known() -> dict[str, Target]:
    """Every target that can be used, by name."""
    return {**{one.target.name: one.target for one in outside() if one.target}, **targets()}


def named(name: str) -> Target:
    """Raises TargetError."""
    if name in targets():
        return targets()[name]
    for one in outside():
        if one.point.name == name and one.problem:
            raise TargetError(one.problem)
    if name not in known():
        raise TargetError(f"there is no target {name!r}; there is {', '.join(sorted(known()))}")
    return known()[name]


def target_of(source: bytes) -> Target:
    """The target that a kernel's source is written for: the one whose class it defines, else the default.

    Raises TargetError where that cannot be told, since a target from outside is broken or two claim the class.
    """
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # what the parser makes of such a file is told later
        return targets()[DEFAULT]
    classes = {node.name for node in body if isinstance(node, ast.ClassDef)}
    for target in targets().values():
        if target.kernel_class in classes:
            return target
    claims = [one for one in outside() if one.target and one.target.kernel_class in classes] if classes else []
    if len({one.target.name for one in claims if one.target}) > 1:
        names = " and ".join(f"{one.point.name} of {one.distribution}" for one in claims)
        raise TargetError(f"two targets claim the kernel's class: {names}; uninstall one of them")
    for one in claims:
        assert one.target is not None
        return one.target
    for one in outside() if classes else ():
        if one.problem:
            raise TargetError(one.problem)
    return targets()[DEFAULT]


def origin_of(target: Target) -> Outside | None:
    """Where a target from outside comes from; None for one of this package, or one that is not registered."""
    return next((one for one in outside() if one.target is target), None) if not _is_own(target) else None


def reference_of(target: Target) -> str:
    """`module:attribute` from which another process gets a registered target; "" for any other."""
    if _is_own(target):
        return f"{folder.__name__}.{target.name}:TARGET"
    one = origin_of(target)
    return one.point.value if one else ""


def files_of(target: Target) -> dict[str, Path]:
    """What a target from outside consists of; {} for one of this package."""
    one = origin_of(target)
    return one.files if one else {}


def referenced(reference: str) -> Target:
    """What `reference_of` names, in another process."""
    module, _, attribute = reference.partition(":")
    target: Target = getattr(importlib.import_module(module), attribute)
    return target


def _is_own(target: Target) -> bool:
    return targets().get(target.name) is target


def _loaded(point: metadata.EntryPoint) -> Outside:
    dist = f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown distribution"
    who = f"the target {point.name!r} of {dist}"
    try:
        target = point.load()
        target = target() if isinstance(target, type) else target
    except Exception as error:  # anything may go wrong in somebody else's code
        return Outside(point, None, f"{who} cannot be loaded ({type(error).__name__}: {error}); mend or uninstall it")
    problem = _problem(point.name, target)
    return Outside(point, None, f"{who} {problem}") if problem else Outside(point, target)


def _problem(name: str, target: object) -> str:
    """What keeps an object from being a target, "" for nothing."""
    if getattr(target, "api", None) != API:
        return f"is written for edition {getattr(target, 'api', None)} of the protocol, this gate has {API}; update it"
    missing = [member for member in _REQUIRED if not hasattr(target, member)]
    if missing:
        return f"lacks {', '.join(missing)}; the protocol says what they are"
    texts = {member: getattr(target, member) for member in _TEXTS}
    if not all(isinstance(text, str) and text for text in texts.values()):
        return f"must say {', '.join(_TEXTS)} as text"
    if texts["name"] != name:
        return f"calls itself {texts['name']!r}; give the entry point that name"
    if name in targets():
        return "has the name of a target of this package; choose another one"
    owner = next((one.name for one in targets().values() if one.kernel_class == texts["kernel_class"]), None)
    if owner:
        return f"claims {texts['kernel_class']}, the class of {owner}; choose another one"
    combos, suite, tests, steps = (getattr(target, member) for member in ("combos", "suite", "suite_tests", "steps"))
    if not combos or not all(isinstance(combo, Combo) for combo in combos):
        return "has no combos to be timed on"
    if not isinstance(suite, Path) or not suite.is_file():
        return f"names a suite that is no file: {suite}"
    if not tests or not steps:
        return "names no tests of its suite" if not tests else "names no step that a timed call makes"
    driver = texts["driver"].partition(".")[0]
    if util.find_spec(driver) is None or getattr(util.find_spec(driver), "origin", None) is None:
        return f"has its driver in {driver}, which is no regular package"
    return ""


@contextmanager
def _nothing_from_here() -> Iterator[None]:
    """Meanwhile nothing in the working directory is imported by its name, or offers anything."""
    before, here = list(sys.path), Path.cwd().resolve()
    sys.path[:] = [entry for entry in before if entry and Path(entry).resolve() != here]
    try:
        yield
    finally:
        sys.path[:] = before
