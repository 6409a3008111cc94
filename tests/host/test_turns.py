"""Gates take turns at timing: real processes hold the lock, and the waiting gate's clock is a counter."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_lance_ar.host import turns
from pytest_lance_ar.host.parent import KernelFault
from pytest_lance_ar.host.turns import RESERVE_SECONDS, turn
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.evidence import FaultKind

HOLDER = """
import sys, time
from pathlib import Path
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.host.turns import turn

with turn(Deadline.after(1e6), print, path=Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
print("free", flush=True)
sys.stdin.readline()
"""
WAITING = "another gate is timing on this machine; waiting"


class Countdown(Deadline):
    """A deadline that comes a second nearer whenever the gate sleeps."""

    def __init__(self, seconds: float, on_sleep: Callable[[], object] = lambda: None) -> None:
        self.left = seconds
        self.sleeps = 0
        self.on_sleep = on_sleep

    def remaining(self) -> float:
        return self.left

    def sleep(self, _seconds: float) -> None:
        self.left -= 1
        self.sleeps += 1
        self.on_sleep()


def never(_seconds: float) -> None:
    pytest.fail("there is nothing to wait for")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock"


@pytest.fixture
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another gate, in the middle of its turn."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def say(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "free\n"


def test_a_turn_comes_when_the_other_gates_is_over(path: Path, holder: subprocess.Popen[str]) -> None:
    told: list[str] = []
    deadline = Countdown(100, lambda: say(holder) if deadline.sleeps == 3 else None)
    with turn(deadline, told.append, path=path, sleep=deadline.sleep):
        assert deadline.sleeps == 3
    assert told == [WAITING]


def test_a_turn_comes_when_the_other_gate_is_killed(path: Path, holder: subprocess.Popen[str]) -> None:
    def kill() -> None:
        holder.kill()
        holder.wait()

    deadline = Countdown(100, kill)
    with turn(deadline, lambda _: None, path=path, sleep=deadline.sleep):
        assert deadline.sleeps == 1


def test_who_waits_too_long_is_not_to_blame(path: Path, holder: subprocess.Popen[str]) -> None:
    deadline = Countdown(RESERVE_SECONDS + 5)
    with pytest.raises(KernelFault) as fault, turn(deadline, lambda _: None, path=path, sleep=deadline.sleep):
        pytest.fail("this is no turn")
    assert fault.value.failure.kind is FaultKind.BUSY
    assert "another gate was timing" in fault.value.failure.sentence
    assert deadline.sleeps == 5
    say(holder)
    with turn(deadline, pytest.fail, path=path, sleep=deadline.sleep):
        pass  # the lock is free, whatever the time


def test_a_turn_that_nobody_else_wants_is_silent_and_is_given_back(path: Path) -> None:
    for _ in range(2):
        with turn(Countdown(100), pytest.fail, path=path, sleep=never):
            assert path.is_file()


def plant_link(path: Path) -> None:
    path.symlink_to(path.with_name("victim"))


@pytest.mark.parametrize("plant", [Path.mkdir, os.mkfifo, plant_link, lambda path: path.parent.rmdir()])
def test_without_a_file_to_lock_the_gate_does_without(tmp_path: Path, plant: Callable[[Path], object]) -> None:
    path = tmp_path / "place" / "lock"
    path.parent.mkdir()
    plant(path)
    with turn(Countdown(100), pytest.fail, path=path, sleep=never):
        pass
    assert not (path.parent / "victim").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_the_file_works_between_users() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        Path(place).chmod(0o1777)
        be_two_users(Path(place) / "lock")


def be_two_users(path: Path) -> None:
    """Each has a turn, in which there is no second one."""
    for user in (12345, 12346):
        child = os.fork()
        if child == 0:
            try:
                os.setgroups([])
                os.setgid(user)
                os.setuid(user)
                with turn(Countdown(100), pytest.fail, path=path, sleep=never):
                    blocked = Countdown(RESERVE_SECONDS)
                    try:
                        with turn(blocked, lambda _: None, path=path, sleep=blocked.sleep):
                            os._exit(1)
                    except KernelFault:
                        os._exit(0)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_place_is_one_for_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = turns.place()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert turns.place() == before
