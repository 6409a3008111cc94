"""What a trial is told of the trials before it. It is reported, and decides nothing."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_lance_ar.trial.evidence import Interval


@dataclass(frozen=True)
class Precedent:
    """An earlier trial of a kernel that says the same. speedup is None where none was measured."""

    trial: int
    verdict: str
    speedup: float | None = None
    interval: Interval | None = None

    def __str__(self) -> str:
        words = [f"trial {self.trial}", self.verdict]
        if self.speedup is not None:
            bounds = f" [{self.interval.low:.4f}, {self.interval.high:.4f}]" if self.interval else ""
            words.append(f"{self.speedup:.4f}{bounds}")
        return ", ".join(words)


@dataclass(frozen=True)
class Remembered:
    """trials_since_keep counts the trials before this one; None where there is no ledger."""

    precedent: Precedent | None = None
    trials_since_keep: int | None = None
