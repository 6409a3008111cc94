"""When a trial has to be over."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

BEGUN_VARIABLE: Final = "LANCE_AR_BEGUN"
"""Who starts a gate and gives it so many seconds says here when: on a busy machine its start alone takes many."""
JUST_NOW_SECONDS: Final = 20.0
"""An older process has done something else before."""
_STARTED: Final = 19
"""Which of the fields behind the name in /proc/PID/stat: see proc_pid_stat(5)."""


def begun() -> float:
    """Since when a run counts: now, or what its caller said; the variable is for this process alone."""
    now = time.time()
    try:
        said = float(os.environ.pop(BEGUN_VARIABLE, "nan"))
    except ValueError:
        return now
    return min(now, said) if said > 0 else now


def process_begun() -> float:
    """When this process was started, if that was just now and the system tells; else now.

    On a busy machine an interpreter takes seconds to come to its first line, and who waits for a run waits for them.
    """
    now = time.time()
    with suppress(OSError, ValueError, IndexError, AttributeError):
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[_STARTED])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
        if 0 < age < JUST_NOW_SECONDS:
            return now - age
    return now


class Deadline:
    """A moment of the wall clock that a trial must not pass. Wall clock, so that worker processes can share it."""

    def __init__(self, moment: float) -> None:
        self.moment = moment

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        return cls(time.time() + seconds)

    def remaining(self) -> float:
        return self.moment - time.time()

    @property
    def passed(self) -> bool:
        return self.remaining() <= 0
