"""Is the gain that all kept kernels claim together real? Asked before one more is kept, of the first of them.

Two editions of a kernel can recognise each other by what no wall hides, and the older one let the newer one win; it can
also become slow at a date. Against the first baseline, which knows nothing of them, such a gain is none. So candidate
and first baseline are timed beside each other in new processes, with no process of the incumbent alive; what the ledger
claims, this gain included, must hold for the most part within the error of that.
"""

from __future__ import annotations

import math
import random
import secrets
import time
from typing import Final

import numpy as np

from pytest_lance_ar.host.parent import KernelHost
from pytest_lance_ar.host.platform import pinned
from pytest_lance_ar.speed.alone import CALLS_PER_BLOCK, OTHERS, WARMUP_CALLS, T, timed_rounds
from pytest_lance_ar.speed.duel import Progress, no_garbage_collection
from pytest_lance_ar.speed.preparation import Preparation
from pytest_lance_ar.speed.sides import IncumbentFailed, Queries, Side
from pytest_lance_ar.trial.evidence import OriginEvidence
from pytest_lance_ar.trial.kernel_source import Kernel
from pytest_lance_ar.trial.trial import Trial

EPOCHS: Final = 2
ROUNDS: Final = 4
"""In each epoch; all is built and packed anew before it."""
_QUERIES: Final = EPOCHS * (WARMUP_CALLS + 2 * ROUNDS * CALLS_PER_BLOCK)


def time_against_first(
    trial: Trial,
    first: Kernel,
    preparation: Preparation,
    *,
    transport_ns: float,
    progress: Progress = lambda _text, _passing=False: None,
) -> OriginEvidence | None:
    """Time the candidate beside the first baseline. Ends the preparation's processes. None where that baseline does
    not run any more.

    Raises KernelFault.
    """
    begun = time.perf_counter()
    rng = random.Random(secrets.randbits(64))
    progress("a gain; timing the candidate against the first baseline", True)
    preparation.end_processes()
    sides: list[Side] = []
    try:
        for is_candidate in rng.sample((True, False), 2):
            host = KernelHost(trial.target.driver, core=trial.core, deadline=trial.deadline)
            side = Side(trial.candidate if is_candidate else first, host, is_candidate=is_candidate)
            side.code = preparation.foundry.known(side.kernel)
            sides.append(side)
        for side in sides:
            side.load()
        candidate, baseline = sorted(sides, key=lambda side: not side.is_candidate)
        queries = [Queries(_QUERIES) for _ in preparation.workloads]
        with pinned(trial.core), no_garbage_collection():
            rounds = [
                one
                for _ in range(EPOCHS)
                for one in timed_rounds(
                    (candidate, baseline), preparation.workloads, queries, ROUNDS, transport_ns, rng
                )
            ]
    except IncumbentFailed:
        return None
    finally:
        for side in sides:
            side.host.close()
    logs = np.array([theirs - ours for ours, theirs in rounds])
    error = T * float(logs.std(ddof=1)) / math.sqrt(len(logs)) + OTHERS
    return OriginEvidence(gain=math.exp(logs.mean()), error=math.exp(error), seconds=time.perf_counter() - begun)
