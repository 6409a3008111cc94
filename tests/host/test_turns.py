"""Gates take turns at timing: real processes hold the lock, and the waiting gate's clock is a counter."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from pytest_lance_ar.host import turns
from pytest_lance_ar.host.parent import KernelFault
from pytest_lance_ar.host.turns import RESERVE_SECONDS, Queue, Turn, at_work, timing_turn, turn, work_places
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
        super().__init__(time.time() + seconds)
        self.left = seconds
        self.sleeps = 0
        self.on_sleep = on_sleep

    def remaining(self) -> float:
        return self.left

    def sleep(self, _seconds: float) -> None:
        self.left -= 1
        self.sleeps += 1
        self.on_sleep()


@contextmanager
def turn_of(path: Path) -> Iterator[Turn]:
    mine = timing_turn(path=path)
    yield mine
    mine.release()


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


def test_who_has_less_time_left_comes_first(path: Path, holder: subprocess.Popen[str]) -> None:
    told: list[str] = []
    with ExitStack() as others:
        for seconds in (20, 30, 500):
            others.enter_context(Queue(path).standing(time.time() + seconds))

        def on_sleep() -> None:
            if deadline.sleeps == 2:
                say(holder)  # free now, and not this gate's yet
            if deadline.sleeps == 4:
                others.close()

        deadline = Countdown(100, on_sleep)
        with turn(deadline, told.append, path=path, sleep=deadline.sleep):
            assert deadline.sleeps == 4
    assert told == ["another gate is timing on this machine, 2 more before this one; waiting"]


def test_of_equals_the_first_comes_first(path: Path) -> None:
    moment = time.time()
    first, second = Queue(path), Queue(path)
    with first.standing(moment), second.standing(moment):
        assert (first.ahead(), second.ahead()) == (0, 1)
        assert Queue(path).waiting() == 2
    assert Queue(path).waiting() == 0


def test_a_dead_gate_holds_up_nobody(path: Path) -> None:
    queue = path.with_name(f"{path.name}.queue")
    with Queue(path).standing(time.time()):
        queue.joinpath("000000000000.00-0-dead").touch()
        assert Queue(path).waiting() == 1
        assert len(list(queue.iterdir())) == 1


def test_a_turn_is_not_taken_from_those_who_wait(path: Path) -> None:
    mine = timing_turn(path=path)
    with Queue(path).standing(time.time() + 1000):
        assert not mine.attempt()
    assert mine.attempt()
    assert mine.attempt()
    assert not timing_turn(path=path).attempt()
    mine.release()
    mine.release()
    with turn(Countdown(100), pytest.fail, path=path, sleep=never):
        assert not mine.attempt()


def test_what_was_waited_for_is_counted(path: Path, holder: subprocess.Popen[str]) -> None:
    mine = timing_turn(path=path, sleep=lambda _: say(holder))
    assert mine.take(Countdown(100), lambda _: None)
    assert mine.seconds > 0
    mine.release()
    mine.seconds = 0
    assert mine.take(Countdown(100), pytest.fail)
    assert mine.seconds == 0
    mine.release()


def test_a_place_to_work_is_one_for_each_core_but_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, places in ((1, 1), (2, 1), (8, 7)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: set(range(cores)), raising=False)
        assert len(set(work_places())) == places
        assert turns.place() not in work_places()
        assert (turns.place() in work_places(timing_core_too=True)) == (cores > 1)


def test_the_second_place_is_taken_while_the_first_is_not_free_and_nobody_wants_it(tmp_path: Path) -> None:
    paths = [tmp_path / "one", tmp_path / "two"]
    deadline = Countdown(100)
    with at_work(deadline, pytest.fail, paths=paths, sleep=never), turn_of(paths[0]) as first:
        assert not first.attempt()
        with Queue(paths[1]).standing(time.time()):
            assert not Turn(paths, "at work").attempt()
        with at_work(deadline, pytest.fail, paths=paths, sleep=never), turn_of(paths[1]) as second:
            assert not second.attempt()


def test_who_gets_no_place_goes_on_after_half_of_its_time(path: Path, holder: subprocess.Popen[str]) -> None:
    told: list[str] = []
    deadline = Countdown(100)
    with at_work(deadline, told.append, paths=[path], sleep=deadline.sleep) as place:
        assert not place.held
        assert deadline.left == 50
    assert told == ["another gate is at work on this machine; waiting"]
    assert holder.poll() is None


def test_who_works_long_gives_its_place_up(path: Path) -> None:
    with at_work(Countdown(100), pytest.fail, paths=[path], sleep=never, seconds=0.01):
        deadline = Countdown(1000)
        with turn(deadline, lambda _: None, path=path):
            pass


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
