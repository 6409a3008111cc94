"""Gates on one machine take turns at timing: what one of them times is not disturbed by what another one times.

Between them is an advisory lock on a file that all users of the machine see. Where there can be no such file the gate
does without; who holds the lock and does not let go makes other gates wait, and no longer than their budget.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pytest_lance_ar.host.parent import KernelFault
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.evidence import Failure, FaultKind

NAME: Final = "lance-ar.timing.lock"
POLL_SECONDS: Final = 0.1
RESERVE_SECONDS: Final = 10.0
"""What a duel needs at the least: a turn that comes later is of no use."""


def place() -> Path:
    """The lock's file: in /tmp whatever TMPDIR says, so that every user and every session means the same."""
    common = Path("/tmp")
    return (common if common.is_dir() else Path(tempfile.gettempdir())) / NAME


@contextmanager
def turn(
    deadline: Deadline,
    progress: Callable[[str], None],
    *,
    path: Path | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Have the machine for timing. Raises KernelFault, though no kernel is to blame, when the budget is used up."""
    handle = _open(path or place())
    try:
        if handle is not None:
            _wait(handle, deadline, progress, sleep)
        yield
    finally:
        if handle is not None:
            os.close(handle)


def _wait(handle: int, deadline: Deadline, progress: Callable[[str], None], sleep: Callable[[float], None]) -> None:
    told = False
    while not _taken(handle):
        if deadline.remaining() <= RESERVE_SECONDS:
            sentence = "another gate was timing on this machine until the time budget ran out; run it again"
            raise KernelFault(Failure(FaultKind.BUSY, sentence))
        if not told:
            progress("another gate is timing on this machine; waiting")
            told = True
        sleep(POLL_SECONDS)


def _taken(handle: int) -> bool:
    """Whether the lock is ours now. A file system without locks is as good as no file."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EINTR)
    return True


def _open(path: Path) -> int | None:
    """The file, opened for reading, which is enough to lock it; None where there is none that can be used."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    for more in (0, os.O_CREAT | os.O_EXCL, 0):  # a sticky directory refuses O_CREAT on another user's file
        try:
            handle = os.open(path, flags | more, 0o666)
        except OSError:
            continue
        if stat.S_ISREG(os.fstat(handle).st_mode):
            return handle
        os.close(handle)
        return None
    return None
