"""From paired duels to a ranking. Pure functions: no clock, no process.

Model. Each duel of kernels i and j measures log(time of i) - log(time of j) with a variance of its own. The log times
relative to one kernel are the weighted least squares solution over all duels (the linear model of paired comparisons;
weights are inverse variances), so an indirect comparison counts, and for less. Where the duels disagree with each
other by more than their variances say, all variances grow by chi-square per degree of freedom (Birge's ratio).

Which duels. Up to five kernels: every pair. More: each against the first, then each against its neighbour in the order
that this gave, then the leader against the next three: about 2n duels, most of them where the order is in doubt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.trial.evidence import Interval

ALL_PAIRS_UP_TO: Final = 5
LEADERS_RIVALS: Final = 3
Z: Final = 1.96
"""Two-sided 5%."""


@dataclass(frozen=True)
class Pairing:
    """A duel's result: log(time of first / time of second), and the half-width of its 95% interval (or a wider one)."""

    first: int
    second: int
    log_ratio: float
    half_width: float

    @classmethod
    def of(cls, first: int, second: int, ratio: float, interval: Interval) -> Pairing:
        return cls(first, second, math.log(ratio), math.log(interval.high / interval.low) / 2)


@dataclass(frozen=True)
class Place:
    """A kernel in the ranking. speedup: time of the reference / its own time, with a 95% interval.

    best, worst: the ranks it may have, by the 95% intervals of its differences from all others.
    """

    kernel: int
    speedup: float
    interval: Interval
    best: int
    worst: int


def opening(kernels: Sequence[int]) -> list[tuple[int, int]]:
    """The duels to begin with; the first kernel is in enough of them to be the reference."""
    if len(kernels) <= ALL_PAIRS_UP_TO:
        return list(combinations(kernels, 2))
    return [(kernels[0], kernel) for kernel in kernels[1:]]


def follow_up(kernels: Sequence[int], pairings: Sequence[Pairing]) -> list[tuple[int, int]]:
    """The duels that the opening calls for."""
    if len(kernels) <= ALL_PAIRS_UP_TO:
        return []
    order = [place.kernel for place in rank(kernels[0], pairings)]
    wanted = [*pairwise(order), *((order[0], rival) for rival in order[2 : 2 + LEADERS_RIVALS])]
    had = {frozenset((pairing.first, pairing.second)) for pairing in pairings}
    return [pair for pair in wanted if frozenset(pair) not in had]


def rank(reference: int, pairings: Sequence[Pairing]) -> list[Place]:
    """All kernels that duels connect with the reference, the fastest first."""
    connected = _connected(reference, pairings)
    others = sorted(connected - {reference})
    index = {kernel: i for i, kernel in enumerate(others)}
    used = [pairing for pairing in pairings if pairing.first in connected]
    times, covariance = _solve(used, index)
    kernels = [reference, *others]
    # The reference has log time 0, exactly.
    logs = np.concatenate([[0.0], times])
    spread = np.zeros((len(kernels), len(kernels)))
    spread[1:, 1:] = covariance
    variance = np.diag(spread)
    half = Z * np.sqrt(np.maximum(0.0, variance[:, None] + variance[None, :] - 2 * spread))
    slower = logs[:, None] - logs[None, :] > half
    places = [
        Place(
            kernel,
            speedup=math.exp(-logs[i]),
            interval=Interval(math.exp(-logs[i] - half[i, 0]), math.exp(-logs[i] + half[i, 0])),
            best=1 + int(slower[i].sum()),
            worst=len(kernels) - int(slower[:, i].sum()),
        )
        for i, kernel in enumerate(kernels)
    ]
    return sorted(places, key=lambda place: -place.speedup)


def _solve(pairings: Sequence[Pairing], index: dict[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Log times relative to the reference, which is not in the index, and their covariance."""
    if not index:
        return np.zeros(0), np.zeros((0, 0))
    design = np.zeros((len(pairings), len(index)))
    for row, pairing in enumerate(pairings):
        for kernel, sign in ((pairing.first, 1.0), (pairing.second, -1.0)):
            if kernel in index:
                design[row, index[kernel]] = sign
    observed = np.array([pairing.log_ratio for pairing in pairings])
    weights = np.array([(Z / max(pairing.half_width, 1e-9)) ** 2 for pairing in pairings])
    covariance = np.linalg.inv(design.T @ (weights[:, None] * design))
    times = covariance @ (design.T @ (weights * observed))
    freedom = len(pairings) - len(index)
    chi_square = float(weights @ (observed - design @ times) ** 2)
    return times, covariance * (max(1.0, chi_square / freedom) if freedom else 1.0)


def _connected(start: int, pairings: Sequence[Pairing]) -> set[int]:
    found, pending = {start}, [start]
    while pending:
        kernel = pending.pop()
        for pairing in pairings:
            for near, far in ((pairing.first, pairing.second), (pairing.second, pairing.first)):
                if near == kernel and far not in found:
                    found.add(far)
                    pending.append(far)
    return found
