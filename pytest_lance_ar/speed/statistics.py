"""From the rounds of a duel to a ratio and its interval. Pure functions of timings; no clock, no kernel.

The unit is the round: within one, both sides answer the same queries on the same core, milliseconds apart, in random
ABBA or BAAB order; so what disturbs the machine for longer than a round cancels in the ratio. A round gives one
number, the mean over combos of log(candidate / incumbent). Rounds are summarised by their median, whose interval
comes from the sign test: exact whatever the distribution of the noise, if rounds are independent and share a median.

Sources: sign-test interval: Hettmansperger & McKean, "Robust Nonparametric Statistical Methods", section 1.3; paired
interleaved timing: Bulej et al., "Duet Benchmarking", ICPE 2020.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.evidence import Interval

DECISION_CONFIDENCE: Final = 0.99
"""Of the interval that a keep needs wholly below 1."""
FIGURE_CONFIDENCE: Final = 0.90
"""Of the interval printed beside the geomean in nanoseconds."""


def geomean(values: Sequence[float] | NDArray[np.float64]) -> float:
    """Geometric mean of positive numbers."""
    return float(np.exp(np.mean(np.log(values))))


def sign_test_interval(values: Sequence[float] | NDArray[np.float64], confidence: float) -> Interval:
    """Interval of the median from order statistics, of at least the given confidence.

    With too few values for that confidence it is (-inf, inf).
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    n = len(ordered)
    # P(fewer than r of n fair coins) is the chance that the median lies below the r-th value.
    allowed = (1 - confidence) / 2
    rank, tail = 0, 0.0
    while rank < n:
        tail += math.comb(n, rank) / 2**n
        if tail > allowed:
            break
        rank += 1
    if rank == 0:
        return Interval(-math.inf, math.inf)
    return Interval(float(ordered[rank - 1]), float(ordered[n - rank]))


def ratio_interval(log_ratios: NDArray[np.float64], confidence: float = DECISION_CONFIDENCE) -> tuple[float, Interval]:
    """Median ratio and its interval from log ratios per round, shape (rounds,)."""
    interval = sign_test_interval(log_ratios, confidence)
    return math.exp(float(np.median(log_ratios))), Interval(math.exp(interval.low), math.exp(interval.high))


def interval_about(figure: float, logs: NDArray[np.float64], confidence: float = FIGURE_CONFIDENCE) -> Interval:
    """The interval of the median of logs per round, shape (rounds,), moved so that it is about `figure`."""
    interval, median = sign_test_interval(logs, confidence), float(np.median(logs))
    return Interval(figure * math.exp(interval.low - median), figure * math.exp(interval.high - median))


def noise_floor_pct(control_log_ratios: NDArray[np.float64], confidence: float = DECISION_CONFIDENCE) -> float:
    """The largest difference, in percent, that identical code may still show: from log ratios of a kernel to itself."""
    interval = sign_test_interval(control_log_ratios, confidence)
    return 100 * max(abs(math.expm1(interval.low)), abs(math.expm1(interval.high)))
