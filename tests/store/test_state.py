"""The state: one file, replaced in one step, that is either whole or refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_lance_ar.files import write_record
from pytest_lance_ar.store.ledger import Head
from pytest_lance_ar.store.state import State, StateDirectory, StateError
from pytest_lance_ar.trial.kernel_source import Kernel
from pytest_lance_ar.trial.trial import Incumbent

OLD = State(
    Incumbent(
        kernel=Kernel("kernel/pq_l2.py", 'class PqKernel: ...\r\n# µ \u2028 \U0001f600 \\ "\t\n'.encode()),
        target="pq_l2",
        commit="abc1234",
        timestamp="2026-01-02T03:04:05Z",
        geomean_ns=18234.5,
        seed=2**63 - 1,
    ),
    seal={"conftest.py": "0" * 64, "tests/ü.py": "f" * 64},
)
NEW = replace(OLD, incumbent=replace(OLD.incumbent, kernel=Kernel("kernel/pq_l2.py", b"class PqKernel: ...\n")))


@pytest.fixture
def directory(tmp_path: Path) -> StateDirectory:
    directory = StateDirectory(tmp_path / "state")
    directory.save(OLD)
    return directory


def test_nothing_was_ever_saved(tmp_path: Path) -> None:
    assert StateDirectory(tmp_path).load() is None
    assert StateDirectory(tmp_path / "none").load() is None


def test_what_is_saved_is_loaded(directory: StateDirectory) -> None:
    assert directory.load() == OLD
    directory.save(NEW)
    assert directory.load() == NEW


@given(
    source=st.text(st.characters(codec="utf-8")).map(str.encode),
    name=st.text(st.characters(codec="utf-8")),
    geomean_ns=st.floats(allow_nan=False),
    seed=st.integers(0, 2**63 - 1),
    seal=st.dictionaries(st.text(), st.text()),
)
def test_any_kernel_survives(
    tmp_path_factory: pytest.TempPathFactory,
    source: bytes,
    name: str,
    geomean_ns: float,
    seed: int,
    seal: dict[str, str],
) -> None:
    state = State(Incumbent(Kernel(name, source), "pq_l2", "-", "now", geomean_ns, seed), seal)
    directory = StateDirectory(tmp_path_factory.mktemp("state"))
    directory.save(state)
    assert directory.load() == state


def test_git_ignores_the_directory(directory: StateDirectory) -> None:
    assert (directory.path / ".gitignore").read_text() == "*\n"


def test_a_gitignore_of_the_users_stays(directory: StateDirectory) -> None:
    (directory.path / ".gitignore").write_text("mine\n")
    directory.prepare()
    assert (directory.path / ".gitignore").read_text() == "mine\n"


def load_damaged(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    directory = StateDirectory(tmp_path_factory.mktemp("damaged"))
    directory.file.write_bytes(content)
    try:
        state = directory.load()
    except StateError:
        return
    assert state == OLD  # a blank between two tokens is no damage


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    directory = StateDirectory(tmp_path_factory.mktemp("whole"))
    directory.save(OLD)
    return directory.file.read_bytes()


@settings(max_examples=300)
@given(place=st.integers(0), flipped=st.integers(1, 255))
def test_a_flipped_byte_never_gives_another_state(
    tmp_path_factory: pytest.TempPathFactory, whole: bytes, place: int, flipped: int
) -> None:
    damaged = bytearray(whole)
    damaged[place % len(whole)] ^= flipped
    load_damaged(tmp_path_factory, bytes(damaged))


@settings(max_examples=200)
@given(place=st.integers(0), length=st.integers(1, 40), inserted=st.binary(max_size=6))
def test_a_replaced_part_never_gives_another_state(
    tmp_path_factory: pytest.TempPathFactory, whole: bytes, place: int, length: int, inserted: bytes
) -> None:
    start = place % len(whole)
    load_damaged(tmp_path_factory, whole[:start] + inserted + whole[start + length :])


def test_a_file_cut_short_anywhere_never_gives_another_state(
    tmp_path_factory: pytest.TempPathFactory, whole: bytes
) -> None:
    directory = StateDirectory(tmp_path_factory.mktemp("cut"))
    for length in range(len(whole) - 1):  # the last byte is a newline
        directory.file.write_bytes(whole[:length])
        with pytest.raises(StateError):
            directory.load()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"version": 1}',
        b'{"version": 2, "checksum": ""}',
        b"\xff",
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b"1" * 10_000,
    ],
    ids=lambda content: repr(content[:20]),
)
def test_what_is_no_state_is_refused(directory: StateDirectory, content: bytes) -> None:
    directory.file.write_bytes(content)
    with pytest.raises(StateError):
        directory.load()


def test_another_version_is_named(directory: StateDirectory) -> None:
    content = json.loads(directory.file.read_text())
    directory.file.write_text(json.dumps({**content, "version": 99}))
    with pytest.raises(StateError, match="version 99, this gate writes 1"):
        directory.load()


def test_the_sentence_on_damage_names_the_file_and_the_way_out(directory: StateDirectory) -> None:
    directory.file.write_text("{")
    with pytest.raises(StateError) as error:
        directory.load()
    assert str(error.value).startswith(f"{directory.file} is damaged (")
    assert str(error.value).endswith("run once with --lance-ar-rebaseline to make the current kernel the incumbent")


def test_a_directory_in_the_files_place_is_refused(directory: StateDirectory) -> None:
    directory.file.unlink()
    directory.file.mkdir()
    with pytest.raises(StateError, match=r"cannot be read .*--lance-ar-rebaseline"):
        directory.load()


def fail(*_: object) -> NoReturn:
    raise OSError("no space left")


def be_interrupted(*_: object) -> NoReturn:
    raise KeyboardInterrupt


@pytest.mark.parametrize("failure", [fail, be_interrupted])
@pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.replace"])
def test_a_save_that_fails_leaves_the_old_state_and_no_other_file(
    directory: StateDirectory, monkeypatch: pytest.MonkeyPatch, step: str, failure: object
) -> None:
    before = sorted(path.name for path in directory.path.iterdir())
    with monkeypatch.context() as broken:
        broken.setattr(step, failure)
        with pytest.raises((OSError, KeyboardInterrupt)):
            directory.save(NEW)
    assert directory.load() == OLD
    assert sorted(path.name for path in directory.path.iterdir()) == before
    directory.save(NEW)
    assert directory.load() == NEW


def test_the_new_state_is_on_the_disk_before_it_takes_the_old_ones_place(
    directory: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, move = os.fsync, Path.replace

    def note_fsync(handle: int) -> None:
        steps.append("fsync")
        fsync(handle)

    def note_replace(source: Path, target: Path) -> Path:
        steps.append("replace")
        return move(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "replace", note_replace)
    directory.save(NEW)
    assert steps == ["fsync", "replace", "fsync"]  # the file, the rename, the directory


@pytest.mark.parametrize("bits", [(6,), pytest.param((0, 1, 2, 3, 4, 5, 7), marks=pytest.mark.slow)], ids=str)
@pytest.mark.parametrize("name", ["incumbent.json", "ledger.json"])
def test_any_flipped_bit_and_any_cut_is_refused_or_the_same(
    directory: StateDirectory, name: str, bits: tuple[int, ...]
) -> None:
    head = Head(3, "3:" + "0" * 32, 1)
    directory.save_head(head)
    path = directory.path / name
    whole = path.read_bytes()
    damaged = [whole[:length] for length in range(len(whole))]
    for place in range(len(whole)):
        damaged += [whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :] for bit in bits]
    refused = 0
    for content in damaged:
        path.write_bytes(content)
        try:
            assert (directory.load(), directory.load_head()) == (OLD, head)
        except StateError:
            refused += 1
    assert refused > 0.9 * len(damaged)


@pytest.mark.parametrize("field", ["rows", "chain", "forgotten"])
def test_a_head_of_other_types_is_refused(directory: StateDirectory, field: str) -> None:
    write_record(directory.head_file, {"version": 1, "rows": 1, "chain": "", "forgotten": 0, field: None})
    with pytest.raises(StateError, match="unexpected fields"):
        directory.load_head()


@pytest.mark.parametrize("field", ["name", "source", "commit", "timestamp", "geomean_ns", "seed"])
def test_a_state_of_other_types_is_refused(directory: StateDirectory, field: str) -> None:
    content = json.loads(directory.file.read_text())
    del content["checksum"]
    content["incumbent"][field] = []
    write_record(directory.file, content)
    with pytest.raises(StateError, match="is damaged"):
        directory.load()


@pytest.mark.parametrize("plant", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "endless"])
def test_a_state_file_without_an_end_is_refused_at_once(
    directory: StateDirectory, plant: Callable[[Path], None]
) -> None:
    directory.file.unlink()
    plant(directory.file)
    with pytest.raises(StateError, match="not a regular file"):
        directory.load()
