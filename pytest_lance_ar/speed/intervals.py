"""What timings of many workloads say at once: an interval each, honest for all of them together. No clock, no process.

Of one workload the logarithm of candidate / incumbent is, as in `statistics`,

    what is to be known + luck of an epoch (its processes, where its arrays lie) + noise of a block pair

An epoch is the median of its block pairs, which a spike cannot move. Epochs are few, so their luck is not estimated but
taken to have LUCK_SD; where they differ by more than that and the noise explain, the interval widens in proportion
(Birge's ratio), up to MOST_BIRGE: a kernel that draws lots when it is built whether to be slow differs by as much as it
likes. The noise is a robust spread of all block pairs about their epochs. So many intervals are to hold
together: the error of 5% is divided among them (Bonferroni).

The geomean of all is one comparison more, at 1%. What is common to all workloads, the luck of the processes, is in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.trial.evidence import Interval

Floats = NDArray[np.float64]

FAMILY_ERROR: Final = 0.05
GEOMEAN_ERROR: Final = 0.01
LUCK_SD: Final = 0.015
"""Spread of the log ratio of one and the same kernel over epochs, on one workload."""
PROCESS_SD: Final = 0.0025
"""The same over pairs of processes, of which the workloads share a few, on all of them together."""
MOST_BIRGE: Final = 3.0
"""What chance reaches in less than 1 of 300 cases with two epochs, and next to never with four."""
MAD_TO_SD: Final = 1.4826
MEDIAN_EFFICIENCY: Final = math.pi / 2
"""Variance of a median over that of a mean."""
MAD_EFFICIENCY: Final = 0.37
"""How many block pairs a standard deviation would need to be as sure as the median of deviations is of one."""


@dataclass(frozen=True)
class Estimate:
    """A log ratio and its standard error, and of how many degrees of freedom that is."""

    log: float
    error: float
    freedom: float

    def interval(self, error: float, common: float = 0.0) -> Interval:
        """The ratio's interval of this two-sided error. common: a further standard error."""
        half = _critical(error, self.freedom) * math.hypot(self.error, common)
        return Interval(math.exp(self.log - half), math.exp(self.log + half))


def estimate(epochs: Sequence[Floats]) -> Estimate:
    """Of one workload, from the log ratios of its block pairs, an array an epoch."""
    medians = np.array([np.median(epoch) for epoch in epochs])
    counts = np.array([len(epoch) for epoch in epochs])
    residuals = np.concatenate([epoch - median for epoch, median in zip(epochs, medians, strict=True)])
    total, freedom = len(residuals), max(1, len(residuals) - len(epochs))
    noise = MAD_TO_SD * float(np.median(np.abs(residuals))) * math.sqrt(total / freedom)
    variances = LUCK_SD**2 + MEDIAN_EFFICIENCY * noise**2 / counts
    weights = 1 / variances
    centre = float((weights * medians).sum() / weights.sum())
    birge = 1.0
    if len(epochs) > 1:
        ratio = math.sqrt(float((weights * (medians - centre) ** 2).sum()) / (len(epochs) - 1))
        birge = min(max(1.0, ratio), MOST_BIRGE)
    return Estimate(centre, birge / math.sqrt(float(weights.sum())), MAD_EFFICIENCY * freedom)


def intervals(estimates: Sequence[Estimate]) -> list[Interval]:
    """One of each, that all hold together."""
    return [one.interval(FAMILY_ERROR / len(estimates)) for one in estimates]


def geomean_interval(estimates: Sequence[Estimate]) -> tuple[float, Interval]:
    """The geomean of the ratios, with its interval."""
    count = len(estimates)
    together = Estimate(
        log=sum(one.log for one in estimates) / count,
        error=math.sqrt(sum(one.error**2 for one in estimates)) / count,
        freedom=sum(one.freedom for one in estimates),
    )
    return math.exp(together.log), together.interval(GEOMEAN_ERROR, common=PROCESS_SD)


def _critical(error: float, freedom: float) -> float:
    """Student's t, two-sided, by the first two terms of its expansion in 1 / freedom (Abramowitz & Stegun 26.7.5)."""
    z = NormalDist().inv_cdf(1 - error / 2)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / freedom + second / freedom**2
