"""Temporary directories of kernels' processes, and what becomes of them when the gate is killed.

A directory is locked for as long as its gate lives; the system lets go of a lock when its holder dies, however it dies.
So one that nobody has locked is nobody's any more, whatever process numbers say, and the next gate removes it.
"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from pytest_lance_ar.host import confinement
from pytest_lance_ar.host.removal import SECONDS, remove_tree

PREFIX: Final = "lance-ar-run-"
SWEEP_SECONDS: Final = 5.0
"""What a sweep may take. What it does not come to is for the next one."""


class ScratchDirectory:
    """A private directory under the system's temporary one, with the gate's lock on it."""

    def __init__(self, user: tuple[int, int] | None = None) -> None:
        """user: whose it is, by number, with the group, where that is somebody else. Raises OSError."""
        self.user = user
        # It is locked before it gets the name that `sweep` looks for: no other gate can take it for a dead one's.
        fresh = Path(tempfile.mkdtemp(prefix=f".{PREFIX}"))
        self._handle = os.open(fresh, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with suppress(OSError):  # a file system without locks: `sweep` can lock nothing there either
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if user is not None:
            os.chown(self._handle, *user)
        self.path = fresh.rename(fresh.with_name(fresh.name[1:])).resolve()

    def close(self, seconds: float = SECONDS) -> None:
        """Remove it with all that is in it, as far as so many seconds suffice: what is left is for a sweep."""
        remove_tree(self.path, seconds)
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


class Swept(NamedTuple):
    """Directories that were left by killed gates: those that are gone now, and those that could not be removed."""

    removed: list[Path]
    stuck: list[Path]


def sweep() -> Swept:
    """Remove the directories that this user's gates left when they were killed. Never raises OSError."""
    swept = Swept([], [])
    ends = time.monotonic() + SWEEP_SECONDS
    with suppress(OSError):
        for path in Path(tempfile.gettempdir()).iterdir():
            if path.name.startswith(PREFIX) and _is_dead(path):
                gone = remove_tree(path, max(0.0, ends - time.monotonic()))
                (swept.removed if gone else swept.stuck).append(path)
    return swept


def _is_dead(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        status = os.fstat(handle)
        if not stat.S_ISDIR(status.st_mode) or not _is_ours(status.st_uid):
            return False
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def _is_ours(user: int) -> bool:
    return user == os.getuid() or (os.getuid() == 0 and confinement.is_private_user(user))
