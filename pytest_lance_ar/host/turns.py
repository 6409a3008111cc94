"""Gates on one machine share it: one of them times at a time, and few work at once.

Timing has the timing core to itself: kernels are compiled there and timed there by the gate whose turn it is. What the
gates do before, above all the correctness suite, is heavy too: started all at once it would make every one of them slow
and every deadline short, so it has places, one for each core that is left.

Both are advisory locks on files that all users of the machine see. Who waits stands in a queue, a file for each gate,
locked while it waits: the gate whose time runs out first comes first, so that an evaluation of 250 seconds is not kept
waiting by a trial of 600, and equals come in the order in which they started. Where there can be no such file the gate
does without; who holds a lock and does not let go makes others wait, and no longer than their budget.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from pytest_lance_ar.host.parent import KernelFault
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.evidence import Failure, FaultKind

NAME: Final = "lance-ar.timing.lock"
WORK_NAME: Final = "lance-ar.work.{}.lock"
POLL_SECONDS: Final = 0.1
RESERVE_SECONDS: Final = 10.0
"""What a duel needs at the least: a turn that comes later is of no use."""
PLACE_SECONDS: Final = 20.0
"""How long a gate has a place to work for itself. Who needs longer, as an endless loop does, goes on beside others."""

Tell = Callable[[str], None]
Sleep = Callable[[float], None]


def place() -> Path:
    """The lock's file: in /tmp whatever TMPDIR says, so that every user and every session means the same."""
    common = Path("/tmp")
    return (common if common.is_dir() else Path(tempfile.gettempdir())) / NAME


def work_places(*, timing_core_too: bool = False) -> list[Path]:
    """The files of the places to work: one for each core but the one for timing, one at the least.

    timing_core_too: that one as well, while nobody times or waits to.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    places = [place().with_name(WORK_NAME.format(i)) for i in range(max(1, cores - 1))]
    return [*places, place()] if timing_core_too and cores > 1 else places


class Turn:
    """One gate's use of something that is one gate's at a time: any of some files, the first that is free.

    The queue is that of the first file; another one is left to those who wait for it. seconds: how long it was waited
    for, all in all.
    """

    def __init__(self, paths: Sequence[Path], doing: str, *, sleep: Sleep = time.sleep) -> None:
        self.seconds = 0.0
        self._paths = paths
        self._doing = doing
        self._sleep = sleep
        self._handle: int | None = None
        self._lock = threading.Lock()

    @property
    def held(self) -> bool:
        return self._handle is not None

    def attempt(self) -> bool:
        """Take it if nobody has it and nobody waits for it."""
        return self.held or (not Queue(self._paths[0]).waiting() and self._grab())

    def take(self, deadline: Deadline, tell: Tell, *, reserve: float = RESERVE_SECONDS) -> bool:
        """Wait for it, while more than `reserve` seconds are left; whether it came. Tells what is waited for."""
        if self.held:
            return True
        begun, queue, told = time.monotonic(), Queue(self._paths[0]), -1
        try:
            with queue.standing(deadline.moment):
                while (ahead := queue.ahead()) or not self._grab():
                    if deadline.remaining() <= reserve:
                        return False
                    if told < 0 or ahead < told:
                        line = f", {ahead} more before this one" if ahead else ""
                        tell(f"another gate is {self._doing} on this machine{line}; waiting")
                        told = ahead
                    self._sleep(POLL_SECONDS)
            return True
        finally:
            if told >= 0:
                self.seconds += time.monotonic() - begun

    def release(self) -> None:
        """Let the next one have it. May be called from any thread, and twice."""
        with self._lock:
            if self._handle is not None and self._handle >= 0:
                os.close(self._handle)
            self._handle = None

    def _grab(self) -> bool:
        usable = False
        for path in self._paths:
            if path != self._paths[0] and Queue(path).waiting():
                usable = True
                continue
            handle = _open(path)
            if handle is None:
                continue
            if _taken(handle):
                self._handle = handle
                return True
            os.close(handle)
            usable = True
        if not usable:
            self._handle = -1  # there is nothing to lock: the gate does without
        return not usable


class Queue:
    """Who waits for a lock: files beside it. Their names are in the order in which they come."""

    def __init__(self, path: Path) -> None:
        self._directory = path.with_name(f"{path.name}.queue")
        self._mine = ""

    @contextmanager
    def standing(self, moment: float) -> Iterator[None]:
        """Stand in the queue as one whose time is over at a moment of the wall clock."""
        handle = self._enter(moment)
        try:
            yield
        finally:
            if handle is not None:
                with suppress(OSError):
                    (self._directory / self._mine).unlink()
                os.close(handle)
                self._mine = ""

    def ahead(self) -> int:
        """How many come before this one."""
        return sum(name < self._mine for name in self._live()) if self._mine else 0

    def waiting(self) -> int:
        """How many wait."""
        return len(self._live())

    def _enter(self, moment: float) -> int | None:
        name = f"{max(0.0, moment):015.2f}-{time.time_ns():020d}-{secrets.token_hex(4)}"
        try:
            with suppress(FileExistsError):
                self._directory.mkdir(mode=0o777)
                self._directory.chmod(0o1777)
            flags = os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            handle = os.open(self._directory / f".{name}", flags, 0o644)
        except OSError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            (self._directory / f".{name}").rename(self._directory / name)  # locked before anybody looks at it
        except OSError:
            os.close(handle)
            return None
        self._mine = name
        return handle

    def _live(self) -> list[str]:
        """The names of those whose gates live; what dead ones left behind is removed."""
        live = []
        with suppress(OSError):
            for entry in self._directory.iterdir():
                if entry.name.startswith(".") or entry.name == self._mine:
                    continue
                handle = _open(entry, create=False)
                if handle is None:
                    continue
                try:
                    if _taken(handle):
                        with suppress(OSError):
                            entry.unlink()
                    else:
                        live.append(entry.name)
                finally:
                    os.close(handle)
        return live


def timing_turn(*, path: Path | None = None, sleep: Sleep = time.sleep) -> Turn:
    """The turn to use the timing core."""
    return Turn([path or place()], "timing", sleep=sleep)


@contextmanager
def turn(deadline: Deadline, progress: Tell, *, path: Path | None = None, sleep: Sleep = time.sleep) -> Iterator[Turn]:
    """Have the timing core. Raises KernelFault, though no kernel is to blame, when the budget is used up."""
    mine = timing_turn(path=path, sleep=sleep)
    take(mine, deadline, progress)
    try:
        yield mine
    finally:
        mine.release()


def take(mine: Turn, deadline: Deadline, progress: Tell) -> None:
    """Wait for a turn at timing. Raises KernelFault as `turn` does."""
    if not mine.take(deadline, progress):
        sentence = "another gate was timing on this machine until the time budget ran out; run it again"
        raise KernelFault(Failure(FaultKind.BUSY, sentence))


@contextmanager
def at_work(
    deadline: Deadline,
    progress: Tell,
    *,
    paths: Sequence[Path] | None = None,
    sleep: Sleep = time.sleep,
    seconds: float = PLACE_SECONDS,
) -> Iterator[Turn]:
    """Have a place to work; after half of the time that is left, go on without. It is given up after some seconds."""
    mine = Turn(paths or work_places(), "at work", sleep=sleep)
    mine.take(deadline, progress, reserve=deadline.remaining() / 2)
    timer = threading.Timer(seconds, mine.release)
    timer.daemon = True
    timer.start()
    try:
        yield mine
    finally:
        timer.cancel()
        mine.release()


def _taken(handle: int) -> bool:
    """Whether the lock is ours now. A file system without locks is as good as no file."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EINTR)
    return True


def _open(path: Path, *, create: bool = True) -> int | None:
    """The file, opened for reading, which is enough to lock it; None where there is none that can be used."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    # A sticky directory refuses O_CREAT on another user's file.
    for more in (0, os.O_CREAT | os.O_EXCL, 0) if create else (0,):
        try:
            handle = os.open(path, flags | more, 0o666)
        except OSError:
            continue
        if stat.S_ISREG(os.fstat(handle).st_mode):
            return handle
        os.close(handle)
        return None
    return None
