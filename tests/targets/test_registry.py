"""Targets are found by folder, and a kernel's source chooses its own by the class it defines."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pytest_lance_ar.targets as folder
from pytest_lance_ar.targets import DEFAULT
from pytest_lance_ar.targets.pq_l2.target import PqL2
from pytest_lance_ar.targets.registry import target_of, targets


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


def test_the_package_has_one_target() -> None:
    assert list(targets()) == ["pq_l2"]
    assert isinstance(targets()["pq_l2"], PqL2)


def test_every_folder_is_a_target_and_no_module_is(second: str) -> None:
    assert set(targets()) == {"pq_l2", second}
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
