"""The store: what a gate may do to it before it is its own."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pytest_lance_ar.store.state import StateDirectory
from pytest_lance_ar.store.store import Store
from pytest_lance_ar.trial.deadline import Deadline


def test_a_gate_that_waits_writes_nothing_which_the_other_one_would_take_for_left_over(tmp_path: Path) -> None:
    directory = StateDirectory(tmp_path / "state")
    directory.make()
    directory.lock()
    while_waiting: list[set[str]] = []

    def tell(_: str) -> None:
        while_waiting.append({entry.name for entry in directory.path.iterdir()})
        directory.unlock()

    store = Store(directory.path, tmp_path / "results.tsv")
    store.open(deadline=Deadline.after(100), tell=tell, sleep=lambda _: None)
    store.close()
    assert while_waiting == [{"lock"}]
    assert (directory.path / ".gitignore").read_text() == "*\n"


def test_a_directory_that_cannot_be_written_is_not_said_to_be_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open

    def refuse_new_files(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return opened(path, flags, mode)

    monkeypatch.setattr("pytest_lance_ar.store.state.os.open", refuse_new_files)
    with pytest.raises(PermissionError):
        StateDirectory(tmp_path).lock()
