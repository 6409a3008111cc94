"""The speed half of a trial: prepared while the suite runs, timed when it is this gate's turn."""

from __future__ import annotations

from pytest_lance_ar.host.turns import turn
from pytest_lance_ar.speed.duel import QUERIES, Progress, duel
from pytest_lance_ar.speed.preparation import Preparation
from pytest_lance_ar.trial.evidence import SpeedEvidence
from pytest_lance_ar.trial.trial import Trial


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
            return duel(
                self._preparation,
                core=trial.core,
                deadline=trial.deadline,
                rtol=trial.options.rtol,
                min_gain_pct=trial.options.min_gain,
                only_figures=trial.incumbent is None,
                progress=progress,
            )

    def close(self) -> None:
        if self._preparation is not None:
            self._preparation.close()
            self._preparation = None
