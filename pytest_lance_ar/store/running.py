"""The trial that runs at this moment, for who watches. It is told, and decides nothing."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from pytest_lance_ar.files import DamagedRecord, read_record, write_record
from pytest_lance_ar.text import one_line

NAME: Final = "running.json"
VERSION: Final = 1


@dataclass(frozen=True)
class Running:
    """A trial and what it is doing. begun, since: of the trial and of the phase, seconds of the wall clock."""

    pid: int
    note: str
    phase: str
    begun: float
    since: float

    def __str__(self) -> str:
        now = time.time()
        what = one_line(self.note) or "(no note)"
        return f"{what}: {one_line(self.phase)} for {now - self.since:.0f} s, {now - self.begun:.0f} s in all"


class Announcement:
    """What this process tells of its own trial. What cannot be written is not told."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / NAME
        self._begun = 0.0

    def phase(self, note: str, phase: str) -> None:
        now = time.time()
        self._begun = self._begun or now
        with suppress(OSError):
            write_record(
                self._path, {"version": VERSION, **asdict(Running(os.getpid(), note, phase, self._begun, now))}
            )

    def end(self) -> None:
        if self._begun:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)


def running(directory: Path) -> Running | None:
    """The trial that a state directory's gate is at, None where there is none, or none that lives."""
    try:
        content = read_record(directory / NAME, VERSION)
        if content is None:
            return None
        told = Running(
            int(content["pid"]),
            str(content["note"]),
            str(content["phase"]),
            float(content["begun"]),
            float(content["since"]),
        )
        os.kill(told.pid, 0)
    except PermissionError:
        return told  # it lives, and is another user's
    except (OSError, DamagedRecord, KeyError, TypeError, ValueError, OverflowError):
        return None
    return told
