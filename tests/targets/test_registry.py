"""Targets are found by folder, and a kernel's source chooses its own by the class it defines."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pytest_lance_ar.targets as folder
from pytest_lance_ar.targets import DEFAULT
from pytest_lance_ar.targets.pq_l2.target import PqL2
from pytest_lance_ar.targets.registry import (
    Outside,
    TargetError,
    files_of,
    known,
    named,
    outside,
    reference_of,
    referenced,
    target_of,
    targets,
)


@pytest.fixture
def second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """One more target folder, for one test."""
    name = "second_target"
    package = tmp_path / name
    package.mkdir()
    (package / "__init__.py").write_text(
        "from types import SimpleNamespace\nTARGET = SimpleNamespace(kernel_class='SecondKernel')\n"
    )
    (tmp_path / "no_target.py").write_text("raise AssertionError('a module is not a target')\n")
    monkeypatch.setattr(folder, "__path__", [*folder.__path__, str(tmp_path)])
    targets.cache_clear()
    yield name
    targets.cache_clear()
    sys.modules.pop(f"{folder.__name__}.{name}", None)
    vars(folder).pop(name, None)


def test_the_packages_targets_are_found() -> None:
    assert set(targets()) == {"ivf_pq_l2", "pq_dot", "pq_l2"}
    assert isinstance(targets()["pq_l2"], PqL2)


def test_nothing_but_the_default_names_a_target_outside_its_room() -> None:
    """Nor a class, a step or the data of one kind of kernel."""
    package = Path(folder.__file__).parents[1]
    names = {word for target in targets().values() for word in (target.name, target.kernel_class, *target.steps)}
    words = re.compile(rf"\b({'|'.join(names - {'search'})}|codebooks?|dsub|pack_codes)\b")
    rooms = [package / "targets" / "common", package / "start" / "scaffold"]
    rooms += [target.suite.parent for target in targets().values()]
    found = {
        f"{path.relative_to(package)}: {word}"
        for path in package.rglob("*.py")
        if not any(path.is_relative_to(room) for room in rooms)
        for word in words.findall(path.read_text())
    }
    assert found == {
        f"targets/__init__.py: {DEFAULT}",
        "commands/bench.py: codebook",  # what a user's file has, in the help of --data
        "commands/bench.py: dsub",
    }


def test_every_folder_is_a_target_and_no_module_is(second: str) -> None:
    assert {"pq_l2", second} <= set(targets())
    assert not {"common", "no_target"} & set(targets())
    assert targets()[second].kernel_class == "SecondKernel"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (b"class SecondKernel: ...", "second_target"),
        (b"import numpy\n\nclass Helper: ...\n\nclass SecondKernel(Helper): ...\n", "second_target"),
        (b"class PqKernel: ...", "pq_l2"),
        (b"def make():\n    class SecondKernel: ...\n", "pq_l2"),
        (b"# class SecondKernel: ...\ntext = 'class SecondKernel: ...'\n", "pq_l2"),
        (b"SecondKernel = None", "pq_l2"),
    ],
)
def test_the_class_at_module_level_chooses(second: str, source: bytes, name: str) -> None:
    assert target_of(source) is targets()[name]


@pytest.mark.parametrize(
    "source",
    [
        b"",
        b"class Unknown: ...",
        b"class SecondKernel: ...\nthis is no Python",
        b"class SecondKernel: ...\n\0",
        b"x = '\xff'\nclass SecondKernel: ...",
        b"(" * 1000,
    ],
    ids=["empty", "unknown", "syntax", "nul", "not_utf8", "parentheses"],
)
def test_what_names_no_target_gets_the_default(second: str, source: bytes) -> None:
    assert target_of(source) is targets()[DEFAULT]


def test_source_too_deep_to_parse_gets_the_default() -> None:
    assert target_of(b"x = " + b"-" * 100_000 + b"1\nclass PqKernel: ...") is targets()[DEFAULT]


def test_the_default_is_pq_l2() -> None:
    assert targets()[DEFAULT] is targets()["pq_l2"]


PLAIN = """
from pathlib import Path
from pytest_lance_ar.targets.protocol import Combo, Target

class Plain(Target):
    api = 1
    name = "plain"
    kernel_class = "PlainKernel"
    driver = "plain.driver"
    steps = {"answer": "answer"}
    suite = Path(__file__)
    suite_tests = frozenset(["test_one"])
    combos = (Combo("(1)", "uniform"),)
    def floor_ns(self, combo): return 0.0
    def parse_case(self, spec): raise ValueError
    def workload(self, combo, queries, seed): raise NotImplementedError

TARGET = Plain()
"""
"""The least that a target from outside says."""


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Outside]]:
    """Installs a package whose target is this text, and tells what the registry makes of it."""
    before = set(sys.modules)
    site = tmp_path / "site"
    monkeypatch.syspath_prepend(str(site))

    def offered(text: str = PLAIN, name: str = "plain", package: str = "plain") -> Outside:
        folder, metadata = site / package, site / f"{package}-1.2.dist-info"
        for directory in (folder, metadata):
            directory.mkdir(parents=True)
        (folder / "__init__.py").write_text(text)
        (folder / "driver.py").write_text("class Driver: ...\n")
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}-targets\nVersion: 1.2\n")
        (metadata / "entry_points.txt").write_text(f"[pytest_lance_ar.targets]\n{name} = {package}:TARGET\n")
        (metadata / "RECORD").write_text(f"{package}/__init__.py,,\n{metadata.name}/entry_points.txt,,\n")
        importlib.invalidate_caches()
        outside.cache_clear()
        return next(one for one in outside() if one.point.module == package)

    yield offered
    outside.cache_clear()
    for module in set(sys.modules) - before:
        if module.partition(".")[0] in ("plain", "second"):
            del sys.modules[module]


def test_an_installed_target_judges_the_kernels_of_its_class(offer: Callable[..., Outside]) -> None:
    target = offer().target
    assert target is not None
    assert target_of(b"class PlainKernel: ...") is target is named("plain") is known()["plain"]
    assert target_of(b"class Other: ...") is targets()[DEFAULT]
    assert referenced(reference_of(target)) is target
    assert (target.guards(1), target.kernel_names) == ((), {}), "what the protocol has a default for"
    assert "plain" not in targets()


def test_every_file_of_its_package_and_distribution_is_its_own(offer: Callable[..., Outside]) -> None:
    target = offer().target
    assert target is not None
    assert sorted(files_of(target)) == [
        *("plain-targets:plain-1.2.dist-info/entry_points.txt", "plain-targets:plain/__init__.py"),
        "plain-targets:plain/driver.py",
    ]
    assert all(path.is_file() for path in files_of(target).values())
    assert files_of(targets()[DEFAULT]) == {}


def test_who_uses_no_target_from_outside_is_not_disturbed_by_one(offer: Callable[..., Outside]) -> None:
    assert offer("raise SystemError('broken')").problem
    assert target_of(b"class PqKernel: ...") is targets()[DEFAULT]
    assert known() == targets()


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("import Combo", "import Comba", "cannot be loaded (ImportError: "),
        ("api = 1", "api = 2", "is written for edition 2 of the protocol, this gate has 1"),
        ("TARGET = Plain()", "TARGET = object()", "is written for edition None"),
        ("    kernel_class", "    other_class", "must say name, kernel_class, driver as text"),
        ('"PlainKernel"', '"PqKernel"', "claims PqKernel, the class of pq_l2"),
        ('name = "plain"', 'name = "pain"', "calls itself 'pain'; give the entry point that name"),
        ('(Combo("(1)", "uniform"),)', "()", "has no combos"),
        ("Path(__file__)", "Path('nowhere')", "names a suite that is no file"),
        ('["test_one"]', "[]", "names no tests"),
        ('{"answer": "answer"}', "{}", "names no step"),
        ('"plain.driver"', '"nowhere.driver"', "has its driver in nowhere"),
    ],
)
def test_a_target_that_cannot_be_used_is_told_in_a_sentence(
    offer: Callable[..., Outside], old: str, new: str, word: str
) -> None:
    problem = offer(PLAIN.replace(old, new)).problem
    assert problem.startswith("the target 'plain' of plain-targets 1.2 ")
    assert word in problem
    with pytest.raises(TargetError) as by_name:
        named("plain")
    with pytest.raises(TargetError) as by_class:
        target_of(b"class PlainKernel: ...")
    assert str(by_name.value) == str(by_class.value) == problem


def test_a_name_of_our_own_is_not_taken(offer: Callable[..., Outside]) -> None:
    assert "has the name of a target of this package" in offer(PLAIN.replace('"plain"', '"pq_l2"'), "pq_l2").problem


def test_two_that_claim_one_class_are_refused(offer: Callable[..., Outside]) -> None:
    offer()
    offer(PLAIN.replace('"plain"', '"second"').replace("plain.driver", "second.driver"), "second", "second")
    with pytest.raises(TargetError, match="plain of plain-targets and second of second-targets; uninstall one"):
        target_of(b"class PlainKernel: ...")


def test_nothing_is_taken_from_the_working_directory(
    offer: Callable[..., Outside], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer("raise AssertionError('not from here')")
    sys.modules.pop("plain", None)
    monkeypatch.chdir(tmp_path / "site")
    outside.cache_clear()
    assert "plain" not in {one.point.module for one in outside()}
    assert target_of(b"class PlainKernel: ...") is targets()[DEFAULT]
