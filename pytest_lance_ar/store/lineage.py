"""How the kept kernels descend from the baseline, and which of them is the fastest.

A keep is timed against the incumbent, a simplification against the fastest kernel so far. So the speed-ups that
multiply up to the incumbent's gain are not all that were kept: a simplification takes the place of what came after the
fastest. What came after it becomes the fastest itself only when it is shown to be faster, not by luck: many
simplifications, each a little slower and one now and then lucky, would else add up to a loss.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

from pytest_lance_ar.trial.evidence import Interval


class Step(Protocol):
    """A kept trial."""

    @property
    def verdict(self) -> str: ...

    @property
    def speedup(self) -> float | None:
        """Over what it was timed against; None where none can be read."""
        ...

    @property
    def interval(self) -> Interval | None: ...


S = TypeVar("S", bound=Step)


@dataclass(frozen=True)
class Lineage(Generic[S]):
    """fast: the baseline and the kept trials up to the fastest. since: those after it, up to the incumbent."""

    fast: tuple[S, ...] = ()
    since: tuple[S, ...] = ()

    def after(self, kept: S) -> Lineage[S]:
        """The lineage when one more is kept."""
        if kept.verdict == "baseline":
            return Lineage((kept,))
        since = (kept,) if kept.verdict == "simpler" else (*self.since, kept)
        # Over the fastest itself a keep was shown to be faster, by the keep rule.
        if (since == (kept,) and kept.verdict == "keep") or _shown_faster(since):
            return Lineage((*self.fast, *since))
        return replace(self, since=since)

    @property
    def steps(self) -> tuple[S, ...]:
        """From the baseline to the incumbent: what its gain is the product of."""
        return (*self.fast, *self.since)


def _shown_faster(steps: Sequence[Step]) -> bool:
    """Whether the product of the speed-ups is above 1, errors and all; they are independent."""
    centre, variance = 0.0, 0.0
    for step in steps:
        if step.speedup is None or step.interval is None:
            return False
        centre += math.log(step.speedup)
        variance += math.log(step.speedup / step.interval.low) ** 2
    return centre > math.sqrt(variance)
