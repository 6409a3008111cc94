"""An outcome is stored whole or not at all: the gate is killed, or the disk is full, at every step of storing it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from pytest_lance_ar import gate as gate_module
from pytest_lance_ar.files import PUBLIC, Staged, write_atomically, write_record
from pytest_lance_ar.gate import Gate
from pytest_lance_ar.host.scratch import Swept
from pytest_lance_ar.report.report import Report
from pytest_lance_ar.seal import watch
from pytest_lance_ar.store import journal, ledger
from pytest_lance_ar.store.journal import Outcome
from pytest_lance_ar.store.memory import Memory
from pytest_lance_ar.store.record import TrialRecord
from pytest_lance_ar.store.state import StateDirectory, StateError
from pytest_lance_ar.store.store import StoreError
from pytest_lance_ar.trial import git
from pytest_lance_ar.trial.kernel_source import Kernel
from pytest_lance_ar.trial.options import Options
from pytest_lance_ar.trial.verdict import ExitCode, Verdict, decide
from tests.builders import all_passed, speed_of
from tests.store.test_state import NEW, OLD

FIRST: Final = "class PqKernel: ...  # first\n"
SECOND: Final = "class PqKernel: ...  # second\n"
OS_STEPS: Final = ("open", "write", "fsync", "ftruncate", "truncate")
PATH_STEPS: Final = ("replace", "unlink", "mkdir", "rename")


@pytest.fixture(autouse=True)
def no_git_and_no_seal(monkeypatch: pytest.MonkeyPatch) -> None:
    """They write nothing, and take most of the time; a process that is killed loses nothing that fsync would save."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(git, "describe_commit", lambda _: "-")
    # How many steps sweeping takes is up to other gates on this machine.
    monkeypatch.setattr(gate_module, "sweep", lambda: Swept([], []))
    monkeypatch.setattr(watch, "fingerprint", lambda *_, **__: {"conftest.py": "0" * 64})
    monkeypatch.setattr(watch, "contradicted", lambda *_: ())


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A project with a first kernel kept and a second one in its place."""
    root = tmp_path / "project"
    (root / "kernel").mkdir(parents=True)
    write_kernel(root, FIRST)
    assert trial(root).verdict.name == "baseline"
    write_kernel(root, SECOND)
    return root


def write_kernel(root: Path, source: str) -> None:
    (root / "kernel" / "pq_l2.py").write_text(source)


@contextmanager
def decided(root: Path, ratio: float = 0.9) -> Iterator[tuple[Gate, Verdict]]:
    """A gate, and its verdict that is still to be stored."""
    options = Options.from_strings({"seed": "7"}, root=root, here=root)
    with closing(Gate(options, here=root)) as gate:
        gate.measured(speed_of(ratio))
        for examination in all_passed():
            gate.examined(examination)
        yield gate, decide(gate.trial, gate.close_evidence())


def trial(root: Path, ratio: float = 0.9) -> Report:
    with decided(root, ratio) as (gate, verdict):
        return gate.conclude(verdict)


def verdicts(root: Path) -> list[str]:
    return [row["verdict"] for _, row in ledger.rows(root / "results.tsv")]


def incumbent_of(root: Path) -> str:
    state = StateDirectory(root / ".lance_ar").load()
    return state.incumbent.kernel.source.decode() if state else ""


def is_whole(root: Path) -> None:
    """Nothing is half done: complete rows that verify, no leftovers, and the incumbent that the last kept row names."""
    directory, path = StateDirectory(root / ".lance_ar"), root / "results.tsv"
    head = directory.load_head()
    assert ledger.verify(path, head) is None
    content = path.read_bytes() if path.exists() else b""
    assert content.endswith(b"\n") or not content
    assert content.count(b"\n") == (1 + len(verdicts(root)) if content else 0)
    assert not directory.journal.exists()
    assert not [entry for entry in directory.path.rglob("*") if entry.suffix == ".tmp"]
    kernels = [row["kernel_sha256"] for _, row in ledger.rows(path) if row["verdict"] in ("baseline", "keep")]
    state = directory.load()
    assert (state.incumbent.kernel.sha256 if state else None) == (kernels[-1] if kernels else None)
    assert all(directory.source_of(sha256) is not None for sha256 in kernels)
    for tried in Memory(directory, path).trials():
        assert tried.record is not None
        assert tried.record.report["verdict"] == tried.row["verdict"]
        assert directory.tried_source(tried.row["kernel_sha256"]) is not None


class Steps:
    """Counts the calls that open, write, move and remove files, and lets something happen at one of them."""

    def __init__(self, happen: Callable[[int, str, tuple[Any, ...]], None]) -> None:
        self.happen = happen
        self.count = 0

    @contextmanager
    def counted(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for place, names in ((os, OS_STEPS), (Path, PATH_STEPS)):
                for name in names:
                    patch.setattr(place, name, self._wrapped(name, getattr(place, name)))
            yield

    def _wrapped(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **keywords: Any) -> Any:
            self.count += 1
            self.happen(self.count, name, arguments)
            return call(*arguments, **keywords)

        return counted


def killed_at(step: int, action: Callable[[], object], *, half: bool = False) -> bool:
    """Have a child process do something and kill it at a step. Whether it got that far.

    half: first let half of what the step writes reach the file.
    """
    child = os.fork()
    if child == 0:
        write = os.write

        def happen(count: int, name: str, arguments: tuple[Any, ...]) -> None:
            if count == step:
                if half and name == "write":
                    write(arguments[0], arguments[1][: max(1, len(arguments[1]) // 2)])
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            with Steps(happen).counted():
                action()
            os._exit(0)
        finally:
            os._exit(99)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, "the child failed"
    return False


def every_step(project: Path, action: Callable[[Path], object]) -> Iterator[Path]:
    """Copies of a project, each with the action killed at the next step, and again in the middle of it if it writes."""
    names: list[str] = []
    rehearsal, copy = project.with_name("rehearsal"), project.with_name("killed")
    shutil.copytree(project, rehearsal)
    with Steps(lambda _count, name, _arguments: names.append(name)).counted():
        action(rehearsal)
    shutil.rmtree(rehearsal)
    assert len(names) > 20
    for step, name in enumerate(names, start=1):
        for half in (False, True)[: 1 + (name == "write")]:
            shutil.copytree(project, copy)
            assert killed_at(step, partial(action, copy), half=half)
            yield copy
            shutil.rmtree(copy)


def open_and_close(root: Path) -> None:
    Gate(Options.from_strings({}, root=root, here=root), here=root).close()


OUTCOMES: Final = {
    "baseline": (0.9, "", ["baseline"]),
    "keep": (0.9, FIRST, ["baseline", "keep"]),
    "discard": (1.1, FIRST, ["baseline", "discard"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_gate_killed_at_any_step_leaves_the_old_state_or_the_new_one(kept: Path, outcome: str) -> None:
    ratio, before, rows = OUTCOMES[outcome]
    if outcome == "baseline":
        (kept / "results.tsv").unlink()
        shutil.rmtree(kept / ".lance_ar")
    after = FIRST if outcome == "discard" else SECOND
    seen = []
    for copy in every_step(kept, lambda root: trial(root, ratio)):
        assert incumbent_of(copy) in (before, after)
        open_and_close(copy)
        is_whole(copy)
        stored = verdicts(copy)
        assert stored in (rows[:-1], rows)
        assert incumbent_of(copy) == (after if stored == rows else before)
        seen.append(stored == rows)
        if seen[-1] != seen[max(0, len(seen) - 2)] or len(seen) == 1:
            assert trial(copy, 1.1).verdict.code in (ExitCode.DISCARD, ExitCode.KEPT)
            is_whole(copy)
    assert seen == sorted(seen), "from one step on the outcome counts"
    assert len(set(seen)) == 2


@pytest.mark.slow
def test_a_recovery_killed_at_any_step_is_completed_by_the_next_one(kept: Path) -> None:
    at_journal = kept.parent / "at journal" / "project"
    for copy in every_step(kept, trial):
        if (copy / ".lance_ar" / "journal.json").exists():
            shutil.copytree(copy, at_journal)
            break
    assert incumbent_of(at_journal) == FIRST
    assert verdicts(at_journal) == ["baseline"]
    for copy in every_step(at_journal, open_and_close):
        open_and_close(copy)
        is_whole(copy)
        assert verdicts(copy) == ["baseline", "keep"]
        assert incumbent_of(copy) == SECOND


def test_a_recovery_is_told(kept: Path) -> None:
    outcome = Outcome(*ledger.compose(kept / "results.tsv", {}, StateDirectory(kept / ".lance_ar").load_head()), None)
    outcome.write(StateDirectory(kept / ".lance_ar"))
    with closing(Gate(Options.from_strings({}, root=kept, here=kept), here=kept)) as gate:
        assert gate.notices == ["an earlier run was cut short while it stored its outcome, which is complete now"]
    with closing(Gate(Options.from_strings({}, root=kept, here=kept), here=kept)) as gate:
        assert gate.notices == []


@pytest.mark.slow
@pytest.mark.parametrize("also_no_room_to_read", [False, True])
def test_a_disk_that_is_full_from_any_step_on(kept: Path, tmp_path: Path, also_no_room_to_read: bool) -> None:
    """Nothing more can be written or created; what is there can be moved, cut and removed. Or not even be opened."""
    results = set()
    for step in range(1, 1000):
        copy = tmp_path / f"full at {step}"
        shutil.copytree(kept, copy)

        def fail(count: int, name: str, arguments: tuple[Any, ...], step: int = step) -> None:
            creates = name == "open" and (also_no_room_to_read or arguments[1] & os.O_CREAT)
            if count >= step and (name in ("write", "mkdir", "fsync") or creates):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(arguments[0]))

        with decided(copy) as (gate, verdict):
            steps = Steps(fail)
            with steps.counted():
                report = gate.conclude(verdict)
        if steps.count < step:
            assert report.verdict.name == "keep"
            break
        results.add(report.verdict.code)
        open_and_close(copy)
        is_whole(copy)
        if report.verdict.code == ExitCode.KEPT:
            assert (incumbent_of(copy), verdicts(copy)) == (SECOND, ["baseline", "keep"])
        else:
            assert report.verdict.code == ExitCode.INTERNAL
            assert report.verdict.reason.startswith("the outcome could not be stored: ")
            assert (incumbent_of(copy), verdicts(copy)) == (FIRST, ["baseline"])
        assert trial(copy).verdict.code in (ExitCode.KEPT, ExitCode.DISCARD)
        is_whole(copy)
        shutil.rmtree(copy)
    assert results == {ExitCode.KEPT, ExitCode.INTERNAL}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    try:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)], check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if done.returncode:
        pytest.skip("mounting takes a privileged user")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_is_really_full(kept: Path, small_disk: Path) -> None:
    root = small_disk / "project"
    shutil.copytree(kept, root)
    write_kernel(root, SECOND + "#" * 6000 + "\n")
    kept_ones = 0
    for free_pages in range(14):
        write_kernel(root, SECOND + f"# {free_pages} {'-' * 6000}\n")
        before, rows = incumbent_of(root), verdicts(root)
        with decided(root) as (gate, verdict):
            page = os.statvfs(root).f_bsize
            filler = small_disk / "filler"
            with filler.open("wb", buffering=0) as file:
                for _ in range(max(0, os.statvfs(root).f_bavail - free_pages)):
                    file.write(bytes(page))
            report = gate.conclude(verdict)
        filler.unlink()
        open_and_close(root)
        is_whole(root)
        if report.verdict.code == ExitCode.KEPT:
            kept_ones += 1
            assert incumbent_of(root) == (root / "kernel" / "pq_l2.py").read_text()
            assert verdicts(root) == [*rows, "keep"]
        else:
            assert report.verdict.code == ExitCode.INTERNAL
            assert (incumbent_of(root), verdicts(root)) == (before, rows)
    assert 0 < kept_ones < 14


def test_a_state_directory_on_a_read_only_file_system(kept: Path, small_disk: Path) -> None:
    root = small_disk / "project"
    shutil.copytree(kept, root)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    options = Options.from_strings({}, root=root, here=root)
    with pytest.raises(StoreError, match=r"cannot be written \(Read-only file system\); name a writable directory"):
        Gate(options, here=root)
    against = replace(options, against=str(options.kernel))
    Gate(against, here=root).close()


def outcome_of(directory: StateDirectory) -> Outcome:
    line, head = ledger.compose(directory.path / "results.tsv", {"verdict": "keep", "reason": 'µ \\ "'}, None)
    record = TrialRecord(head.chain, "/project/kernel.py", {"verdict": "keep", "note": "µ"}, "0123", ("a lesson",))
    return Outcome(line, head, NEW, record)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    directory = StateDirectory(tmp_path)
    outcome = outcome_of(directory)
    assert journal.read(directory) is None
    outcome.write(directory)
    assert journal.read(directory) == outcome


@pytest.mark.parametrize("bits", [(0,), pytest.param(range(1, 8), marks=pytest.mark.slow)], ids=["one", "the others"])
def test_a_journal_with_any_bit_flipped_or_cut_anywhere_is_refused_or_the_same(
    tmp_path: Path, bits: Iterable[int]
) -> None:
    directory = StateDirectory(tmp_path)
    directory.save(OLD)
    outcome = outcome_of(directory)
    outcome.write(directory)
    whole = directory.journal.read_bytes()
    damaged = [whole[:length] for length in range(len(whole))]
    damaged += [
        whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :]
        for place in range(len(whole))
        for bit in bits
    ]
    refused = 0
    for content in damaged:
        directory.journal.write_bytes(content)
        try:
            assert journal.read(directory) == outcome  # a blank between two tokens
        except StateError:
            refused += 1
    assert refused > 0.95 * len(damaged)


@pytest.mark.parametrize("field", ["line", "head", "state", "record", "checksum"])
@pytest.mark.parametrize("value", [None, 1, "x", [], {}, "two\nlines\n", "\ud800\n"])
def test_a_journal_of_other_types_is_refused(tmp_path: Path, field: str, value: object) -> None:
    directory = StateDirectory(tmp_path)
    outcome_of(directory).write(directory)
    content = json.loads(directory.journal.read_text())
    del content["checksum"]
    if field in ("state", "record") and value is None:
        return
    write_record(directory.journal, {**content, field: value} if field != "checksum" else {"version": 1})
    with pytest.raises(StateError, match="is damaged"):
        journal.read(directory)


def test_a_damaged_journal_stops_the_gate_and_leaves_all_as_it_is(kept: Path) -> None:
    (kept / ".lance_ar" / "journal.json").write_text("{")
    with pytest.raises(
        StoreError, match=r"journal\.json is damaged .*remove journal\.json and run the last trial again"
    ):
        open_and_close(kept)
    assert (incumbent_of(kept), verdicts(kept)) == (FIRST, ["baseline"])
    (kept / ".lance_ar" / "journal.json").unlink()
    assert trial(kept).verdict.name == "keep"
    is_whole(kept)


@pytest.mark.slow
def test_an_interrupt_while_storing_leaves_nothing_half_done(kept: Path, tmp_path: Path) -> None:
    for step in range(1, 1000):
        copy = tmp_path / f"interrupted at {step}"
        shutil.copytree(kept, copy)

        def interrupt(count: int, _name: str, _arguments: tuple[Any, ...], step: int = step) -> None:
            if count == step:
                raise KeyboardInterrupt

        with decided(copy) as (gate, verdict):
            steps = Steps(interrupt)
            try:
                with steps.counted():
                    gate.conclude(verdict)
            except KeyboardInterrupt:
                pass
            else:
                assert steps.count < step
                break
        open_and_close(copy)
        is_whole(copy)
        stored = verdicts(copy) == ["baseline", "keep"]
        assert incumbent_of(copy) == (SECOND if stored else FIRST)
        shutil.rmtree(copy)
    assert step > 20


def test_what_was_staged_and_not_published_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with Staged(path, "new"):
        assert len(list(tmp_path.iterdir())) == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "old"


def test_a_file_is_private_unless_it_is_for_others_and_keeps_the_mode_that_it_has(tmp_path: Path) -> None:
    umask = os.umask(0o022)
    try:
        write_atomically(tmp_path / "mine", "")
        write_atomically(tmp_path / "yours", "", PUBLIC)
        (tmp_path / "mine").chmod(0o640)
        write_atomically(tmp_path / "mine", "new")
    finally:
        os.umask(umask)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("mine", "yours")] == [0o640, 0o644]
    write_atomically(tmp_path / "another", "")
    assert stat.S_IMODE((tmp_path / "another").stat().st_mode) == 0o600


def test_a_kept_source_that_was_changed_is_none(tmp_path: Path) -> None:
    directory, kernel = StateDirectory(tmp_path), Kernel("k.py", b"one\n")
    directory.keep_source(kernel)
    assert directory.source_of(kernel.sha256) == b"one\n"
    (directory.kept / f"{kernel.sha256}.py").write_bytes(b"two\n")
    assert directory.source_of(kernel.sha256) is None
    directory.keep_source(kernel)
    assert directory.source_of(kernel.sha256) == b"one\n"


def test_a_run_counts_from_when_it_is_said_to_have_begun(kept: Path) -> None:
    options = Options.from_strings({"budget": "30"}, root=kept, here=kept)
    with closing(Gate(options, here=kept, since=time.time() - 40)) as gate:
        assert gate.seconds >= 40
        assert gate.trial.deadline.passed
