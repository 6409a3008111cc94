"""Is a gain more than the luck of processes? Asked before it is kept, of new pairs of processes.

Where the code and the data of a process come to lie is drawn once in its life, and what that is worth depends on the
kernel: little for the scalar baseline, two or three percent for one that answers in some tens of microseconds from the
caches. Each stage of a duel has one pair of processes, and its control arm shows one draw of this luck. So PAIRS new
pairs are timed, which nothing has selected; each is one observation, and Student's t on them is honest about all that
is drawn once a process, however much it is. The interval errs on the side of a gain in 5% of cases, and only what has
passed both stages is asked.

Source: Kalibera & Jones, "Rigorous benchmarking in reasonable time" (ISMM 2013): repeat at the highest level that
varies.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Final

import numpy as np

from pytest_lance_ar.speed.alone import centre, rounds_in_new_processes
from pytest_lance_ar.speed.duel import Bout, Progress, check_answers
from pytest_lance_ar.speed.preparation import Preparation
from pytest_lance_ar.speed.statistics import students_t
from pytest_lance_ar.trial.evidence import Interval, LuckEvidence
from pytest_lance_ar.trial.trial import Trial

LUCKY: Final = 0.95
"""A smaller ratio is not luck's alone: both stages would have drawn more than twice the spread that was ever seen."""
PAIRS: Final = 6
TAIL: Final = 0.05


def time_in_new_processes(
    trial: Trial,
    preparation: Preparation,
    *,
    transport_ns: float,
    progress: Progress = lambda _text, _passing=False: None,
) -> LuckEvidence:
    """Time candidate and incumbent beside each other in new pairs of processes. Ends the preparation's processes.

    Raises KernelFault, IncumbentFailed.
    """
    begun = time.perf_counter()
    assert trial.incumbent is not None, "nothing is kept for a gain over nothing"
    bout = Bout(preparation.workloads, preparation.seed)
    logs = []
    for number in range(PAIRS):
        progress(f"a gain; timing it in new processes, pair {number + 1} of {PAIRS}", True)
        kernels = trial.candidate, trial.incumbent
        rounds = rounds_in_new_processes(trial, preparation, kernels, bout, transport_ns)
        logs.append(centre(rounds[:, 0] - rounds[:, 1])[0])
    check_answers(bout, trial.target.combos, trial.options.rtol)
    return of_pairs(logs, seconds=time.perf_counter() - begun)


def of_pairs(logs: Sequence[float], *, seconds: float = 0.0) -> LuckEvidence:
    """The ratio and its interval, from the log ratio of candidate / incumbent in each pair of processes."""
    mean = float(np.mean(logs))
    half = students_t(len(logs) - 1, TAIL) * float(np.std(logs, ddof=1)) / math.sqrt(len(logs))
    return LuckEvidence(math.exp(mean), Interval(math.exp(mean - half), math.exp(mean + half)), len(logs), seconds)
