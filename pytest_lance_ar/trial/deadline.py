"""When a trial has to be over."""

from __future__ import annotations

import os
import time
from typing import Final

BEGUN_VARIABLE: Final = "LANCE_AR_BEGUN"
"""Who starts a gate and gives it so many seconds says here when: on a busy machine its start alone takes many."""


def begun() -> float:
    """Since when a run counts: now, or what its caller said; the variable is for this process alone."""
    now = time.time()
    try:
        said = float(os.environ.pop(BEGUN_VARIABLE, "nan"))
    except ValueError:
        return now
    return min(now, said) if said > 0 else now


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
