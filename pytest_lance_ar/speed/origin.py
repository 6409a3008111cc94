"""Is the gain that all kept kernels claim together real? Asked before one more is kept, of the first of them.

Two editions of a kernel can recognise each other by what no wall hides, and the older one let the newer one win; it can
also become slow at a date. Against the first baseline, which knows nothing of them, such a gain is none. So candidate
and first baseline are timed beside each other in new processes, with no process of the incumbent alive; what the ledger
claims, this gain included, must hold for the most part within the error of that. The candidate's answers are checked
here as well: it can tell this stage from the duel. So it is no excuse that it was unsteady here: noise explains as much
as in `alone`, and no more. What fails is asked once more, in new processes again.
"""

from __future__ import annotations

import math
import time
from typing import Final

import numpy as np

from pytest_lance_ar.host.platform import pinned
from pytest_lance_ar.speed.alone import NEEDED, by_noise, centre, timed_rounds
from pytest_lance_ar.speed.duel import Bout, Progress, check_answers, no_garbage_collection
from pytest_lance_ar.speed.preparation import Preparation
from pytest_lance_ar.speed.sides import IncumbentFailed
from pytest_lance_ar.trial.evidence import OriginEvidence
from pytest_lance_ar.trial.trial import Trial
from pytest_lance_ar.trial.verdict import OTHERS

EPOCHS: Final = 2
ROUNDS: Final = 4
"""Of an epoch; all is built and packed anew before each."""


def time_against_first(
    trial: Trial,
    preparation: Preparation,
    *,
    transport_ns: float,
    progress: Progress = lambda _text, _passing=False: None,
) -> OriginEvidence | None:
    """Time the candidate beside the first baseline. None where that baseline does not run any more.

    Raises KernelFault.
    """
    begun = time.perf_counter()
    assert trial.origin is not None, "nothing was kept since the first baseline"
    progress("a gain; timing the candidate against the first baseline", True)
    bout = Bout(preparation.workloads, preparation.seed)
    try:
        with (
            preparation.others(trial.candidate, trial.origin.kernel) as (one, other),
            pinned(trial.core),
            no_garbage_collection(),
        ):
            epochs = [timed_rounds((one, other), bout, ROUNDS, epoch * NEEDED, transport_ns) for epoch in range(EPOCHS)]
        check_answers(bout, trial.target.combos, trial.options.rtol)
    except IncumbentFailed:
        return None
    rounds = np.concatenate(epochs)
    gain, error = centre(rounds[:, 1] - rounds[:, 0])
    seconds = time.perf_counter() - begun
    return OriginEvidence(gain=math.exp(gain), error=math.exp(by_noise(error) + OTHERS), seconds=seconds)
