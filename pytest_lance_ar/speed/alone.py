"""Is the incumbent as fast without the candidate as beside it? Asked once a gain is to be kept, not before.

Whatever the channel is by which a candidate slows its rival down, or by which an older edition of it knows that it is
to lose, there is none where no process of the candidate exists. So the incumbent is timed beside the candidate once
more; then all processes are ended, and the incumbent is timed in two new ones beside each other, on the same workloads
and with queries that are as new. New processes, since one that has met the candidate may remember it.

Tests. The logarithm of the incumbent's time beside / alone must not exceed what the host explains:

    T x standard error of the rounds + drift of the host + OTHERS

And the gain must show beside the incumbent once more, within T standard errors and OTHERS, or REAL_SHARE of it where
that is less: a candidate can tell this stage from the duel, and would behave here else. Its answers are checked as
those of the duel are.

- The rounds of each phase are taken as independent; their spread is the noise of seconds on this host. Of each phase it
  is the mean of the middle half that counts (Tukey and McLaughlin), so that what hits some rounds only neither moves it
  nor explains much. T is about the one-sided 0.5% of Student's t for the fewest rounds that there are on a kernel of
  common speed.
  And noise explains MOST_NOISE at the most: a candidate that is now fast and now slow makes as much of it as it likes.
- Drift: how much the yardstick, which the gate times by itself, changed between two moments at which no candidate's
  process existed: before the first was started, and behind the end of the last. What it shows in between explains
  nothing, since what slows everything on the core is sabotage too.
- OTHERS: what another kernel's data in the caches, and the placement of arrays and code anew, may cost honestly.

What fails is asked once more, all in new processes: a shared host changes its pace between two phases now and then,
and what slows the incumbent down does so twice. A keep that fails again is `inconclusive`; the candidate is not
accused.
"""

from __future__ import annotations

import math
import random
import secrets
import time
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.host.platform import pinned
from pytest_lance_ar.speed.duel import Bout, Progress, check_answers, no_garbage_collection
from pytest_lance_ar.speed.preparation import Preparation
from pytest_lance_ar.speed.sides import Queries, Side, time_round
from pytest_lance_ar.speed.yardstick import Yardstick
from pytest_lance_ar.trial.evidence import AloneEvidence
from pytest_lance_ar.trial.trial import Trial
from pytest_lance_ar.trial.verdict import OTHERS

T: Final = 3.0
MOST_NOISE: Final = 0.1
ROUNDS: Final = 12
LEAST_ROUNDS: Final = 2
PAIR_SECONDS: Final = 0.6
"""What the rounds on one pair may take beyond the least."""
CALLS_PER_BLOCK: Final = 4
WARMUP_CALLS: Final = 2
NEEDED: Final = WARMUP_CALLS + ROUNDS * 2 * CALLS_PER_BLOCK
"""Queries of a workload that a pair is asked."""


def time_alone(
    trial: Trial,
    preparation: Preparation,
    yardstick: Yardstick,
    before_ns: float,
    *,
    transport_ns: float,
    progress: Progress = lambda _text, _passing=False: None,
) -> AloneEvidence:
    """Time the incumbent beside the candidate and, with no process of the candidate any more, alone.

    before_ns: what the yardstick read before the candidate's first process. Raises KernelFault, IncumbentFailed.
    """
    begun = time.perf_counter()
    assert trial.incumbent is not None, "nothing is kept for a gain over nothing"
    bout = Bout(preparation.workloads, preparation.seed)
    with pinned(trial.core), no_garbage_collection():
        progress("a gain; timing the incumbent beside the candidate", True)
        with preparation.others(trial.candidate, trial.incumbent) as (candidate, incumbent):
            beside = timed_rounds((candidate, incumbent), bout, ROUNDS, 0, transport_ns)
        progress("a gain; timing the incumbent alone", True)
        with preparation.others(trial.incumbent, trial.incumbent) as (one, other):
            alone = timed_rounds((one, other), bout, ROUNDS, 0, transport_ns)
    after_ns = yardstick.read_ns(trial.core)
    seconds = time.perf_counter() - begun
    check_answers(bout, trial.target.combos, trial.options.rtol)
    return compared(beside, alone, before_ns, after_ns, seconds=seconds)


def timed_rounds(
    pair: tuple[Side, Side], bout: Bout, most: int, asked: int, transport_ns: float
) -> NDArray[np.float64]:
    """Build and pack all anew, and time some rounds: mean log nanoseconds of each side over all combos, (rounds, 2).

    asked: how many queries of each workload are not new any more. Leaves the answers in the bout.
    """
    rng = random.Random(secrets.randbits(64))
    queries = [Queries(asked + NEEDED) for _ in bout.workloads]
    for dealer in queries:
        dealer.take(asked)
    warmups = [dealer.take(WARMUP_CALLS) for dealer in queries]
    for side in rng.sample(pair, 2):
        side.renew(bout.workloads, warmups)
    ends = time.perf_counter() + PAIR_SECONDS
    found: list[tuple[float, float]] = []
    sizes = [CALLS_PER_BLOCK] * len(queries)
    while len(found) < most and (len(found) < LEAST_ROUNDS or time.perf_counter() < ends):
        first, second, answers = time_round(pair, queries, sizes, transport_ns, rng)
        found.append((float(first.mean()), float(second.mean())))
        bout.keep(answers)
    return np.array(found)


def compared(
    beside: NDArray[np.float64],
    alone: NDArray[np.float64],
    before_ns: float,
    after_ns: float,
    *,
    seconds: float = 0.0,
) -> AloneEvidence:
    """The tests. beside, alone: mean log nanoseconds in each round, (rounds, 2), of candidate and incumbent, and of two
    processes of the incumbent; and two readings."""
    (there, its_error), (here, error) = centre(beside[:, 1]), centre(alone.reshape(-1))
    gain, error_of_gain = centre(beside[:, 1] - beside[:, 0])
    drift = abs(math.log(after_ns / before_ns))
    return AloneEvidence(
        slowdown=math.exp(there - here),
        explained=math.exp(by_noise(math.hypot(its_error, error)) + drift + OTHERS),
        gain=math.exp(gain),
        error=math.exp(by_noise(error_of_gain) + OTHERS),
        drift=math.exp(drift),
        seconds=seconds,
    )


def by_noise(standard_error: float) -> float:
    """What the noise of rounds explains, as a logarithm."""
    return min(T * standard_error, MOST_NOISE)


def centre(rounds: NDArray[np.float64]) -> tuple[float, float]:
    """The mean of the middle half, and its standard error, from the variance with the outer quarters drawn in."""
    count, outer = len(rounds), len(rounds) // 4
    inner = np.sort(rounds)
    inner[:outer], inner[count - outer :] = inner[outer], inner[count - outer - 1]
    error = float(inner.std(ddof=1)) / ((1 - 2 * outer / count) * math.sqrt(count))
    return float(inner[outer : count - outer].mean()), error
