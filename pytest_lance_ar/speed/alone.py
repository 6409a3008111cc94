"""Is the incumbent as fast without the candidate as beside it? Asked once a gain is to be kept, not before.

Whatever the channel is by which a candidate slows its rival down, or by which an older edition of it knows that it is
to lose, there is none where no process of the candidate exists. So the incumbent is timed beside the candidate once
more, on both pairs of processes; then the candidate's processes are ended, and the incumbent's two are timed beside
each other, on the same workloads and with queries that are as new.

Test. The logarithm of the incumbent's time beside / alone must not exceed what the host explains:

    T x standard error of the rounds + drift of the host + OTHERS

- The rounds of each phase are taken as independent; their spread is the noise of seconds on this host. T is about the
  one-sided 0.5% of Student's t for the fewest rounds that there are on a kernel of common speed.
- Drift: how much the yardstick, which the gate times by itself, changed between two moments at which no candidate's
  process existed: before the first was started, and behind the end of the last. What it shows in between explains
  nothing, since what slows everything on the core is sabotage too.
- OTHERS: what another kernel's data in the caches, and the placement of arrays anew, may cost honestly.

A keep that fails is `inconclusive`: the host may have had a bad moment, and the candidate is not accused.
"""

from __future__ import annotations

import math
import random
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.host.platform import pinned
from pytest_lance_ar.speed.duel import QUERIES, Progress, no_garbage_collection
from pytest_lance_ar.speed.preparation import Preparation
from pytest_lance_ar.speed.sides import Queries, Side, time_round
from pytest_lance_ar.speed.yardstick import Yardstick
from pytest_lance_ar.targets.protocol import Instance
from pytest_lance_ar.trial.evidence import AloneEvidence

T: Final = 3.0
OTHERS: Final = 0.03
ROUNDS: Final = 6
"""On each pair of processes beside the candidate, and twice as many alone."""
LEAST_ROUNDS: Final = 2
PAIR_SECONDS: Final = 0.6
"""What the rounds on one pair may take beyond the least."""
CALLS_PER_BLOCK: Final = 4
WARMUP_CALLS: Final = 2
_NEEDED: Final = 3 * WARMUP_CALLS + 4 * ROUNDS * 2 * CALLS_PER_BLOCK
"""Queries of a workload that this asks: its last ones, which a duel comes to at its longest only."""


@dataclass(frozen=True)
class _Phase:
    """Log nanoseconds of the incumbent in each round, over all combos."""

    rounds: NDArray[np.float64]

    @property
    def mean(self) -> float:
        return float(self.rounds.mean())

    @property
    def variance(self) -> float:
        """Of the mean."""
        return float(self.rounds.var(ddof=1)) / len(self.rounds)


def time_alone(
    preparation: Preparation,
    yardstick: Yardstick,
    before_ns: float,
    *,
    transport_ns: float,
    core: int | None,
    progress: Progress = lambda _text, _passing=False: None,
) -> AloneEvidence:
    """Time the incumbent beside the candidate and, with no process of the candidate any more, alone.

    before_ns: what the yardstick read before the candidate's first process. Raises KernelFault, IncumbentFailed.
    """
    begun = time.perf_counter()
    rng = random.Random(secrets.randbits(64))
    queries = [Queries(QUERIES) for _ in preparation.workloads]
    for dealer in queries:
        dealer.take(QUERIES - _NEEDED)

    def rounds_of(pair: tuple[Side, Side], most: int) -> list[NDArray[np.float64]]:
        return timed_rounds(pair, preparation.workloads, queries, most, transport_ns, rng)

    pairs = preparation.pairs
    with pinned(core), no_garbage_collection():
        progress("a gain; timing the incumbent beside the candidate", True)
        beside = [one[1] for pair in rng.sample(pairs, len(pairs)) for one in rounds_of(pair, ROUNDS)]
        for candidate, _ in pairs:
            candidate.host.close()
        progress("a gain; timing the incumbent alone", True)
        incumbents = pairs[0][1], pairs[1][1]
        alone = [one for both in rounds_of(incumbents, 2 * ROUNDS) for one in both]
    after_ns = yardstick.read_ns(core)
    return compared(beside, alone, before_ns, after_ns, seconds=time.perf_counter() - begun)


def timed_rounds(
    pair: tuple[Side, Side],
    workloads: Sequence[Instance],
    queries: Sequence[Queries],
    most: int,
    transport_ns: float,
    rng: random.Random,
) -> list[NDArray[np.float64]]:
    """Build and pack all anew, and time some rounds. (rounds, 2): mean log nanoseconds of each side over all combos."""
    warmups = [dealer.take(WARMUP_CALLS) for dealer in queries]
    for side in rng.sample(pair, 2):
        side.renew(workloads, warmups)
    ends = time.perf_counter() + PAIR_SECONDS
    found: list[NDArray[np.float64]] = []
    sizes = [CALLS_PER_BLOCK] * len(queries)
    while len(found) < most and (len(found) < LEAST_ROUNDS or time.perf_counter() < ends):
        first, second, _ = time_round(pair, queries, sizes, transport_ns, rng)
        found.append(np.array([first.mean(), second.mean()]))
    return found


def compared(
    beside: Sequence[float], alone: Sequence[float], before_ns: float, after_ns: float, *, seconds: float = 0.0
) -> AloneEvidence:
    """The test, from the incumbent's mean log nanoseconds in each round of both phases, and two readings."""
    there, here = _Phase(np.array(beside)), _Phase(np.array(alone))
    error = math.sqrt(there.variance + here.variance)
    drift = abs(math.log(after_ns / before_ns))
    return AloneEvidence(
        slowdown=math.exp(there.mean - here.mean),
        explained=math.exp(T * error + drift + OTHERS),
        drift=math.exp(drift),
        seconds=seconds,
    )
