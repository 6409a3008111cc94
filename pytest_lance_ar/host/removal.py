"""Removes directory trees that somebody else filled: as deep, as unreadable and as full as a hostile kernel can.

A directory is emptied through a handle of it, and what is a directory in it is first moved up, into the one that is to
be removed: so there is never more than one level to go down, no path to grow too long, no recursion, and no link that
is followed.
"""

from __future__ import annotations

import os
import secrets
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

SECONDS: Final = 5.0
"""What a removal may take. What is left then is for the next sweep."""
_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BATCH: Final = 256
"""Entries between two looks at the clock."""


def remove_tree(path: Path, seconds: float = SECONDS, *, clock: Callable[[], float] = time.monotonic) -> bool:
    """Remove a directory with all that is in it. Returns whether it is gone; never raises OSError."""
    ends = clock() + seconds
    with suppress(OSError):
        top = _open(str(path), None)
        try:
            _Removal(top, ends, clock).run()
        finally:
            os.close(top)
        path.rmdir()
    return not os.path.lexists(path)


class _Removal:
    def __init__(self, top: int, ends: float, clock: Callable[[], float]) -> None:
        self._top = top
        self._ends = ends
        self._clock = clock
        self._prefix = f".{secrets.token_hex(8)}-"  # a name that nobody can have taken
        self._moved = 0

    def run(self) -> None:
        """Raises OSError when the directory cannot be read at all."""
        waiting = self._empty(self._top)
        while waiting and self._clock() < self._ends:
            name = waiting.pop()
            with suppress(OSError):
                directory = _open(name, self._top)
                try:
                    waiting += self._empty(directory)
                finally:
                    os.close(directory)
                os.rmdir(name, dir_fd=self._top)

    def _empty(self, directory: int) -> list[str]:
        """Remove what is no directory, and move what is one to the top. Returns the names that these have there."""
        found: list[str] = []
        stuck: set[str] = set()
        while self._clock() < self._ends:
            with os.scandir(directory) as entries:
                batch = list(islice((e for e in entries if e.name not in stuck), _BATCH))
            if not batch:
                break
            for entry in batch:
                try:
                    if self._gone(entry, directory):
                        continue
                    _make_usable(entry.name, directory)
                    if directory == self._top:
                        found.append(entry.name)
                        stuck.add(entry.name)
                        continue
                    name, self._moved = f"{self._prefix}{self._moved}", self._moved + 1
                    os.rename(entry.name, name, src_dir_fd=directory, dst_dir_fd=self._top)
                    found.append(name)
                except OSError:
                    stuck.add(entry.name)
        return found

    @staticmethod
    def _gone(entry: os.DirEntry[str], directory: int) -> bool:
        if not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.name, dir_fd=directory)
            return True
        try:
            os.rmdir(entry.name, dir_fd=directory)  # an empty one, as most are
        except OSError:
            return False
        return True


def _open(name: str, parent: int | None) -> int:
    """A handle of a directory, whose mode is mended if need be. Raises OSError."""
    _make_usable(name, parent)
    return os.open(name, _FLAGS, dir_fd=parent)


def _make_usable(name: str, parent: int | None) -> None:
    """Let the owner read, search and change a directory. Follows no link. Raises OSError where there is none."""
    status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    if stat.S_ISDIR(status.st_mode) and status.st_mode & 0o700 != 0o700:
        with suppress(OSError):
            os.chmod(name, 0o700, dir_fd=parent)
