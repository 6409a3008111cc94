"""The speed half of a trial: prepared while the suite runs, timed when it is this gate's turn."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace

from pytest_lance_ar.host import turns
from pytest_lance_ar.host.parent import KernelFault
from pytest_lance_ar.speed.alone import time_alone
from pytest_lance_ar.speed.duel import QUERIES, Progress, duel
from pytest_lance_ar.speed.foundry import Foundry
from pytest_lance_ar.speed.guards import time_guards
from pytest_lance_ar.speed.origin import time_against_first
from pytest_lance_ar.speed.preparation import Preparation
from pytest_lance_ar.speed.steps import with_steps
from pytest_lance_ar.speed.yardstick import Yardstick
from pytest_lance_ar.targets.protocol import Target
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.evidence import SpeedEvidence
from pytest_lance_ar.trial.kernel_source import Kernel
from pytest_lance_ar.trial.options import DEFAULT_MIN_GAIN
from pytest_lance_ar.trial.trial import Trial
from pytest_lance_ar.trial.verdict import compare, gains


def duel_in_turn(
    target: Target,
    candidate: Kernel,
    incumbent: Kernel,
    *,
    core: int | None,
    deadline: Deadline,
    progress: Progress,
    rtol: float = 0.0,
    min_gain_pct: float = DEFAULT_MIN_GAIN,
    only_figures: bool = False,
    guard: Callable[[SpeedEvidence, Preparation], SpeedEvidence] = lambda speed, _: speed,
) -> SpeedEvidence:
    """A duel outside a trial, from preparation to evidence, as `duel` has it, and what guards it."""
    with turns.turn(deadline, progress) as turn:
        preparation = Preparation(target, candidate, incumbent, queries=QUERIES, core=core, deadline=deadline)
        try:
            preparation.hurry()
            preparation.wait()
            speed = duel(
                preparation,
                core=core,
                deadline=deadline,
                rtol=rtol,
                min_gain_pct=min_gain_pct,
                only_figures=only_figures,
                when_timed=turn.release,
                progress=progress,
            )
            return guard(speed, preparation)
        finally:
            preparation.close()


class Measurement:
    """A duel of the candidate with the incumbent, or with itself where there is none."""

    def __init__(self, trial: Trial, code: Mapping[str, bytes] | None = None) -> None:
        """code: machine code of the trial's kernels that is known, by the hash of their source."""
        self.turn = turns.timing_turn()
        self._trial = trial
        self._known = code
        self._foundry: Foundry | None = None
        self._preparation: Preparation | None = None
        self._watch: threading.Thread | None = None
        self._yardstick = Yardstick()
        self._reading_ns = math.nan

    def prepare(self) -> bool:
        """Begin what the duel needs, unless another gate has the timing core: that is where kernels are compiled.

        When all is ready the core is left to others, until the suite is over.
        """
        if self._preparation is None and self.turn.attempt():
            self._begin()
            self._watch = threading.Thread(
                target=self._leave_when_ready, args=(self._preparation,), name="lance-ar turn", daemon=True
            )
            self._watch.start()
        return self._preparation is not None

    def run(self, progress: Progress) -> SpeedEvidence:
        """Raises KernelFault, IncumbentFailed."""
        trial, preparation = self._trial, self._preparation
        progress("preparing", True)
        if preparation is not None:
            preparation.hurry()
        if self._watch is not None:
            self._watch.join()
        turns.take(self.turn, trial.deadline, progress)
        if preparation is None:
            preparation = self._begin()
            preparation.hurry()
        preparation.wait()
        speed = duel(
            preparation,
            core=trial.core,
            deadline=trial.deadline,
            rtol=trial.options.rtol,
            min_gain_pct=trial.options.min_gain,
            only_figures=trial.incumbent is None,
            simplify=trial.simplify,
            # A baseline's steps are still to be timed.
            when_timed=self.turn.release if trial.incumbent is not None else lambda: None,
            progress=progress,
        )
        if trial.incumbent is not None:
            speed = self._confirmed(speed, preparation, progress)
        if trial.incumbent is None or compare(trial, speed).kept:
            speed = self._explained(speed, preparation)
        return speed

    def _confirmed(self, speed: SpeedEvidence, preparation: Preparation, progress: Progress) -> SpeedEvidence:
        """What a gain needs to be kept: guards, the incumbent alone, the first baseline."""
        trial = self._trial
        speed = guarded(trial, speed, preparation, progress)
        if not compare(trial, speed).kept:
            return speed
        transport_ns = speed.transport_ns
        for _ in range(2):
            alone = time_alone(
                trial,
                preparation,
                self._yardstick,
                self._reading_ns,
                transport_ns=transport_ns,
                progress=progress,
            )
            speed = replace(speed, alone=alone)
            if compare(trial, speed).kept:
                break
        if trial.origin is None or not compare(trial, speed).kept:
            return speed
        for _ in range(2):
            origin = time_against_first(trial, preparation, transport_ns=transport_ns, progress=progress)
            speed = replace(speed, origin=origin)
            if compare(trial, speed).kept:
                break
        return speed

    def _explained(self, speed: SpeedEvidence, preparation: Preparation) -> SpeedEvidence:
        """The same figures, with the steps that a kept kernel's time goes to; without, where those cannot be had."""
        trial = self._trial
        with suppress(KernelFault):
            speed = with_steps(
                speed,
                trial.candidate,
                trial.target,
                preparation.workloads,
                code=self.code_known_of(trial.candidate),
                core=trial.core,
                deadline=trial.deadline,
            )
        return speed

    def close(self) -> None:
        if self._preparation is not None:
            self._preparation.close()
            self._preparation = None
        if self._watch is not None:
            self._watch.join()
        self.turn.release()

    def _leave_when_ready(self, preparation: Preparation) -> None:
        with suppress(Exception):  # whoever waits for it next is told
            preparation.wait()
        self.turn.release()

    def code_of_candidate(self) -> bytes:
        """The candidate's machine code, once it is compiled. Raises KernelFault where that never ended."""
        return self._preparation.foundry.code_of(self._trial.candidate) if self._preparation else b""

    def code_known_of(self, kernel: Kernel) -> bytes:
        """A kernel's machine code as far as it is known now, also when all is over."""
        return self._foundry.known(kernel) if self._foundry else b""

    @property
    def unavoidable(self) -> Mapping[str, float]:
        """Seconds of the candidate's start and compile."""
        return self._foundry.costs.get(self._trial.candidate.sha256, {}) if self._foundry else {}

    def _begin(self) -> Preparation:
        trial = self._trial
        self._reading_ns = self._yardstick.read_ns(trial.core)
        self._preparation = Preparation(
            trial.target,
            trial.candidate,
            trial.incumbent or trial.candidate,
            queries=QUERIES,
            core=trial.core,
            deadline=trial.deadline,
            code=self._known,
        )
        self._foundry = self._preparation.foundry
        return self._preparation


def guarded(trial: Trial, speed: SpeedEvidence, preparation: Preparation, progress: Progress) -> SpeedEvidence:
    """What the duel measured and, where that is a gain, what the same kernels take on guard workloads.

    Raises KernelFault, IncumbentFailed.
    """
    if trial.incumbent is None or not gains(trial, speed).kept:
        return speed
    progress(f"{'no slower' if trial.simplify else 'a gain'}; looking at guard workloads")
    with preparation.two_pairs() as pairs:
        guards = time_guards(
            pairs,
            trial.target,
            transport_ns=speed.transport_ns,
            core=trial.core,
            deadline=trial.deadline,
            rtol=trial.options.rtol,
            progress=progress,
        )
    return replace(speed, guards=guards)
