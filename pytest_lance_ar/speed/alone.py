"""Is the incumbent as fast without the candidate as beside it? Asked once a gain is to be kept, not before.

Whatever the channel is by which a candidate slows its rival down, or by which an older edition of it knows that it is
to lose, there is none where no process of the candidate exists. So all processes of the duel are ended, and the
incumbent is timed again in two new ones beside each other, on the workloads of the stage that decided, with blocks as
long. New ones, since a process that has seen the candidate may remember it; and the other side of the comparison is the
very duel, since a candidate that knew when it is looked at could behave just then.

Test. The logarithm of the incumbent's time in the duel / alone must not exceed what the host explains:

    T x standard error of the rounds + drift of the host + OTHERS

- The rounds of each phase are taken as independent; their spread is the noise of seconds on this host. T is about the
  one-sided 0.5% of Student's t for the fewest rounds that there are on a kernel of common speed.
- Drift: how much the yardstick, which the gate times by itself, changed between two moments at which no candidate's
  process existed: before the first was started, and behind the end of the last. What it shows in between explains
  nothing, since what slows everything on the core is sabotage too.
- OTHERS: what another kernel's data in the caches, and the placement of arrays and code anew, may cost honestly.

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
from pytest_lance_ar.speed.sides import WARMUP_CALLS, Answer, Queries, Side, time_round
from pytest_lance_ar.speed.yardstick import Yardstick
from pytest_lance_ar.targets.protocol import Instance
from pytest_lance_ar.trial.evidence import AloneEvidence, SpeedEvidence
from pytest_lance_ar.trial.trial import Trial

T: Final = 3.0
OTHERS: Final = 0.03
ROUNDS: Final = 12
LEAST_ROUNDS: Final = 2
PAIR_SECONDS: Final = 0.8
"""What the rounds on one pair may take beyond the least."""


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
    trial: Trial,
    speed: SpeedEvidence,
    preparation: Preparation,
    yardstick: Yardstick,
    before_ns: float,
    *,
    progress: Progress = lambda _text, _passing=False: None,
) -> AloneEvidence:
    """Time the incumbent with no process of the candidate any more. Ends the preparation's processes.

    before_ns: what the yardstick read before the candidate's first process. Raises KernelFault, IncumbentFailed.
    """
    begun = time.perf_counter()
    assert trial.incumbent is not None, "nothing is kept for a gain over nothing"
    assert speed.rival is not None, "what was not timed shows no gain"
    progress("a gain; timing the incumbent alone", True)
    with preparation.others(trial.incumbent, trial.incumbent) as pair, pinned(trial.core), no_garbage_collection():
        found, _ = timed_rounds(
            (pair[0], pair[1]),
            preparation.workloads,
            [Queries(QUERIES) for _ in preparation.workloads],
            speed.rival.calls,
            ROUNDS,
            speed.transport_ns,
        )
    after_ns = yardstick.read_ns(trial.core)
    alone = [log for both in found for log in both]
    return compared(speed.rival.logs, alone, before_ns, after_ns, seconds=time.perf_counter() - begun)


def timed_rounds(
    pair: tuple[Side, Side],
    workloads: Sequence[Instance],
    queries: Sequence[Queries],
    calls: Sequence[int],
    most: int,
    transport_ns: float,
) -> tuple[list[NDArray[np.float64]], list[Answer]]:
    """Build and pack all anew, and time some rounds: mean log nanoseconds of each side over all combos, (rounds, 2),
    and the answers. calls: a block of each combo."""
    rng = random.Random(secrets.randbits(64))
    warmups = [dealer.take(WARMUP_CALLS) for dealer in queries]
    for side in rng.sample(pair, 2):
        side.renew(workloads, warmups)
    ends = time.perf_counter() + PAIR_SECONDS
    found: list[NDArray[np.float64]] = []
    answers: list[Answer] = []
    while len(found) < most and (len(found) < LEAST_ROUNDS or time.perf_counter() < ends):
        first, second, given = time_round(pair, queries, calls, transport_ns, rng)
        found.append(np.array([first.mean(), second.mean()]))
        answers += given
    return found, answers


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
