"""The evidence of one trial, as it comes in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from pytest_lance_ar.trial.evidence import CorrectnessEvidence, Evidence, Examination, Failure, SpeedEvidence
from pytest_lance_ar.trial.trial import Trial


class Findings:
    """`evidence`: what is known so far."""

    def __init__(self, trial: Trial, *, tampered: tuple[str, ...]) -> None:
        self._phase = trial.options.phase
        self.evidence = Evidence(
            CorrectnessEvidence(expected=trial.target.suite_tests),
            against_itself=trial.incumbent is None,
            tampered=tampered,
        )

    @property
    def will_measure(self) -> bool:
        """Whether speed is to be measured, once the kernel has proved correct."""
        return self._phase == "all" and not self.evidence.tampered

    @property
    def ready_to_measure(self) -> bool:
        correctness = self.evidence.correctness
        return self.will_measure and not correctness.failed and not correctness.missing

    def found_tampered(self, files: Iterable[str]) -> None:
        self.evidence = replace(self.evidence, tampered=tuple(dict.fromkeys((*self.evidence.tampered, *files))))

    def examination_ended(self, examination: Examination, seconds: float) -> None:
        """seconds: since the trial began, without waiting for others."""
        correctness = self.evidence.correctness
        examinations = (*correctness.examinations, examination)
        correctness = replace(correctness, examinations=examinations, seconds=seconds)
        self.evidence = replace(self.evidence, correctness=correctness)

    def measured(self, speed: SpeedEvidence) -> None:
        self.evidence = replace(self.evidence, speed=speed)

    def failed(self, failure: Failure, *, of_incumbent: bool) -> None:
        """A kernel failed while it was timed."""
        if of_incumbent:
            self.evidence = replace(self.evidence, incumbent_failure=failure)
        else:
            self.evidence = replace(self.evidence, speed_failure=failure)

    def interrupted(self) -> None:
        self.evidence = replace(self.evidence, interrupted=True)

    def broke(self, sentence: str) -> None:
        """The gate itself failed."""
        self.evidence = replace(self.evidence, internal_error=self.evidence.internal_error or sentence)

    def closed(
        self, *, tampered: Iterable[str], seconds: float, waited: float, unavoidable: Mapping[str, float]
    ) -> Evidence:
        """Nothing more will be found out. unavoidable: seconds of what no trial of this kernel can do without."""
        phases = {"correctness": self.evidence.correctness.seconds}
        speed = self.evidence.speed
        if speed:
            phases["speed"] = speed.seconds
            checks = {"guards": speed.guards, "alone": speed.alone, "origin": speed.origin}
            phases |= {name: check.seconds for name, check in checks.items() if check}
        phases["waiting"] = waited
        phases["other"] = seconds - sum(phases.values())
        self.found_tampered(tampered)
        self.evidence = replace(
            self.evidence,
            total_seconds=seconds,
            waited_seconds=waited,
            phases=phases,
            unavoidable=dict(unavoidable),
        )
        return self.evidence
