"""Fingerprints of what nobody may change during a run: the package, the tests, the configuration."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from pytest_lance_ar.seal.compiled import CompiledFiles, loaded
from pytest_lance_ar.seal.reach import importable

PACKAGE: Final = Path(__file__).parents[1]
SEALED_IN_ROOT: Final = (
    "tests",
    "conftest.py",
    "pyproject.toml",
    "pytest.ini",
    ".pytest.ini",
    "pytest.toml",
    ".pytest.toml",
    "tox.ini",
    "setup.cfg",
)
"""The contract's list, and the other files that configure pytest."""


NONE: Final[Mapping[str, Path]] = {}


def fingerprint(
    root: Path, *, unsealed: frozenset[Path] = frozenset(), beside: Mapping[str, Path] = NONE
) -> dict[str, str]:
    """SHA-256 of every sealed file of a project, by the name that messages call it.

    `unsealed` are absolute paths left out: the kernel, should it lie among the tests. beside: further files, by name.
    """
    seal = {name: _digest(path) for name, path in beside.items()}
    seal |= {f"{PACKAGE.name}/{path.relative_to(PACKAGE).as_posix()}": _digest(path) for path in _files(PACKAGE)}
    for name in SEALED_IN_ROOT:
        for path in _files(root / name):
            if path.resolve() not in unsealed and not path.is_relative_to(PACKAGE):
                seal[path.relative_to(root).as_posix()] = _digest(path)
    for path in importable(root):
        if path.resolve() not in unsealed and not path.is_relative_to(PACKAGE):
            seal[path.relative_to(root.resolve()).as_posix()] = _digest(path)
    return seal


def contradicted(root: Path, compiled: CompiledFiles, beside: Mapping[str, Path] = NONE) -> tuple[str, ...]:
    """Compiled files that Python would run in the place of a sealed source and that say something else, each with how.

    Of the tests only those that this process has loaded matter: no other one is run by the gate.
    """
    package = list(_files(PACKAGE))
    outside = loaded(path for name in SEALED_IN_ROOT for path in _files(root / name))
    outside += beside.values()
    found = compiled.contradicting([*package, *(path for path in outside if not path.is_relative_to(PACKAGE))])
    return tuple(f"{_name(path, root)} (not what its source says: delete it)" for path in found)


def lies_among_the_sealed(path: Path, root: Path) -> bool:
    """Whether a file at this place would be a sealed one."""
    places = [PACKAGE, *(root / name for name in SEALED_IN_ROOT)]
    return any(path.is_relative_to(place) or path.is_relative_to(place.resolve()) for place in places)


def changed(before: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    """What differs between two fingerprints, each with how."""
    changes = []
    for name in sorted({*before, *now}):
        if name not in now:
            changes.append(f"{name} (removed)")
        elif name not in before:
            changes.append(f"{name} (added)")
        elif before[name] != now[name]:
            changes.append(name)
    return tuple(changes)


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        for entry in sorted(path.iterdir()):
            # A .pyc beside the sources can be imported by itself; one in __pycache__ only for a source: `contradicted`.
            if entry.name != "__pycache__" and not entry.name.startswith("."):
                yield from _files(entry)
    elif path.exists():
        yield path


def _name(path: Path, root: Path) -> str:
    if path.is_relative_to(PACKAGE):
        return f"{PACKAGE.name}/{path.relative_to(PACKAGE).as_posix()}"
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        return f"unreadable: {error.strerror}"
