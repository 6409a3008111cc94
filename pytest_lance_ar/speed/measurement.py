"""The speed half of a trial: prepared while the suite runs, timed when it is this gate's turn."""

from __future__ import annotations

from dataclasses import replace

from pytest_lance_ar.host.turns import turn
from pytest_lance_ar.speed.duel import QUERIES, Progress, duel
from pytest_lance_ar.speed.guards import time_guards
from pytest_lance_ar.speed.preparation import Preparation
from pytest_lance_ar.trial.evidence import SpeedEvidence
from pytest_lance_ar.trial.trial import Trial
from pytest_lance_ar.trial.verdict import gains


class Measurement:
    """A duel of the candidate with the incumbent, or with itself where there is none."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._preparation: Preparation | None = None

    def prepare(self) -> None:
        """Begin what the duel needs."""
        trial = self._trial
        self._preparation = Preparation(
            trial.target,
            trial.candidate,
            trial.incumbent or trial.candidate,
            queries=QUERIES,
            core=trial.core,
            deadline=trial.deadline,
        )

    def run(self, progress: Progress) -> SpeedEvidence:
        """Raises KernelFault, IncumbentFailed."""
        if self._preparation is None:
            self.prepare()
        assert self._preparation is not None
        trial = self._trial
        progress("preparing", True)
        self._preparation.wait()
        with turn(trial.deadline, progress):
            speed = duel(
                self._preparation,
                core=trial.core,
                deadline=trial.deadline,
                rtol=trial.options.rtol,
                min_gain_pct=trial.options.min_gain,
                only_figures=trial.incumbent is None,
                progress=progress,
            )
            return guarded(trial, speed, self._preparation, progress)

    def close(self) -> None:
        if self._preparation is not None:
            self._preparation.close()
            self._preparation = None


def guarded(trial: Trial, speed: SpeedEvidence, preparation: Preparation, progress: Progress) -> SpeedEvidence:
    """What the duel measured and, where that is a gain, what the same kernels take on guard workloads.

    Raises KernelFault, IncumbentFailed.
    """
    if trial.incumbent is None or not gains(trial, speed).kept:
        return speed
    progress("a gain; looking at guard workloads")
    guards = time_guards(
        preparation.pairs,
        trial.target,
        transport_ns=speed.transport_ns,
        core=trial.core,
        deadline=trial.deadline,
        rtol=trial.options.rtol,
        progress=progress,
    )
    return replace(speed, guards=guards)
