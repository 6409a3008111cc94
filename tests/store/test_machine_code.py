"""The incumbent's machine code between trials: used as it was stored, or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pytest_lance_ar.store import machine_code
from pytest_lance_ar.store.machine_code import CodeShelf
from pytest_lance_ar.store.state import State, StateDirectory
from pytest_lance_ar.store.store import Store
from pytest_lance_ar.trial.kernel_source import Kernel
from pytest_lance_ar.trial.trial import Incumbent

INCUMBENT = Incumbent(Kernel("kernel.py", b"class PqKernel: pass"), "pq_l2", "-", "now", 1.0, 7)


@pytest.fixture
def shelf(tmp_path: Path) -> CodeShelf:
    return CodeShelf(tmp_path / "code")


def test_what_was_stored_is_found(shelf: CodeShelf) -> None:
    assert shelf.find(shelf.keep(b"code")) == b"code"


def test_one_kernels_code_is_there_at_a_time(shelf: CodeShelf) -> None:
    first, second = shelf.keep(b"one"), shelf.keep(b"two")
    assert shelf.find(first) == b""
    assert [path.name for path in shelf.path.iterdir()] == [second]


@pytest.mark.parametrize("damage", [b"", b"cod", b"codE", b"code\0"])
def test_damaged_code_is_not_there(shelf: CodeShelf, damage: bytes) -> None:
    digest = shelf.keep(b"code")
    (shelf.path / digest).write_bytes(damage)
    assert shelf.find(digest) == b""


def test_code_of_another_machine_or_compiler_is_not_there(shelf: CodeShelf, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = shelf.keep(b"code")
    monkeypatch.setattr(machine_code, "compiled_for", lambda: "another numba")
    assert shelf.find(digest) == b""


@pytest.mark.parametrize("digest", ["", "x", "../code", "a" * 64, "/etc/passwd"])
def test_what_is_no_digest_finds_nothing(shelf: CodeShelf, digest: str) -> None:
    shelf.keep(b"code")
    assert shelf.find(digest) == b""


def test_a_place_that_cannot_be_written_costs_no_more_than_compiling(tmp_path: Path) -> None:
    (tmp_path / "code").write_bytes(b"a file")
    assert CodeShelf(tmp_path / "code").keep(b"code") == ""


def test_the_incumbents_record_holds_the_digest(tmp_path: Path) -> None:
    directory = StateDirectory(tmp_path)
    directory.save(State(INCUMBENT, {"a": "b"}))
    store = Store(tmp_path, tmp_path / "results.tsv")
    store.remember_code(INCUMBENT, b"code")
    state = directory.load()
    assert state is not None
    assert replace(state.incumbent, code="") == INCUMBENT
    assert state.seal == {"a": "b"}
    assert Store(tmp_path, tmp_path / "results.tsv").code_of(state.incumbent) == b"code"
    assert store.incumbent == state.incumbent


def test_code_of_another_kernel_is_not_remembered(tmp_path: Path) -> None:
    StateDirectory(tmp_path).save(State(INCUMBENT, {}))
    other = replace(INCUMBENT, kernel=Kernel("kernel.py", b"class PqKernel: 1"))
    Store(tmp_path, tmp_path / "results.tsv").remember_code(other, b"code")
    state = StateDirectory(tmp_path).load()
    assert state is not None
    assert state.incumbent == INCUMBENT
