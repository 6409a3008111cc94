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

from pytest_lance_ar.speed.alone import by_noise, centre, rounds_in_new_processes
from pytest_lance_ar.speed.duel import Bout, Progress, check_answers
from pytest_lance_ar.speed.preparation import Preparation
from pytest_lance_ar.speed.sides import IncumbentFailed
from pytest_lance_ar.trial.evidence import OriginEvidence
from pytest_lance_ar.trial.trial import Trial
from pytest_lance_ar.trial.verdict import OTHERS


def time_against_first(
    trial: Trial,
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
    assert trial.origin is not None, "nothing was kept since the first baseline"
    progress("a gain; timing the candidate against the first baseline", True)
    bout = Bout(preparation.workloads, preparation.seed)
    try:
        kernels = trial.candidate, trial.origin.kernel
        rounds = rounds_in_new_processes(trial, preparation, kernels, bout, transport_ns)
        check_answers(bout, trial.target.combos, trial.options.rtol)
    except IncumbentFailed:
        return None
    gain, error = centre(rounds[:, 1] - rounds[:, 0])
    seconds = time.perf_counter() - begun
    return OriginEvidence(gain=math.exp(gain), error=math.exp(by_noise(error) + OTHERS), seconds=seconds)
