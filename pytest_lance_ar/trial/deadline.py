"""When a trial has to be over."""

from __future__ import annotations

import time


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
