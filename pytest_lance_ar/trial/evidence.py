"""What a trial found out: frozen facts, from which the verdict is computed. No judgement here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final


class FaultKind(str, Enum):
    """Why a kernel gave no answer that could be compared, or a wrong one."""

    WRONG_ANSWER = "wrong answer"
    CONTRACT = "contract broken"
    RAISED = "exception"
    DIED = "process ended"
    TIMEOUT = "timeout"
    BUSY = "machine busy"
    MACHINE = "machine's fault"
    TAMPERED = "tampered"


NO_KERNELS: Final = frozenset({FaultKind.BUSY, FaultKind.MACHINE})
"""Faults of no kernel: nothing is known about it, and it can be judged another time."""


@dataclass(frozen=True)
class Failure:
    """One failed examination of a kernel.

    case: the specification that rebuilds the inputs, "" when no inputs were involved (the file did not load).
    where: the case in words: shape, distribution, seed, N, k.
    extent: from which sizes on it fails, in a sentence.
    """

    kind: FaultKind
    sentence: str
    where: str = ""
    case: str = ""
    hint: str = ""
    detail: str = ""
    extent: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.sentence}" if self.where else self.sentence
        return f"{self.extent}: {text}" if self.extent else text

    def as_dict(self) -> dict[str, str]:
        """Plain strings, which travel between processes."""
        return {**vars(self), "kind": self.kind.value}

    @classmethod
    def from_dict(cls, values: dict[str, str]) -> Failure:
        texts = {name: text for name, text in values.items() if name != "kind"}
        return cls(kind=FaultKind(values["kind"]), **texts)


@dataclass(frozen=True)
class Examination:
    """What one test of the correctness suite did: how many examples reached the kernel, and the failure, if any."""

    test: str
    passed: bool
    examples: int
    failure: Failure | None = None


@dataclass(frozen=True)
class CorrectnessEvidence:
    """The examinations of a trial beside the set that a full trial has."""

    expected: frozenset[str]
    examinations: tuple[Examination, ...] = ()
    seconds: float = 0.0

    @property
    def failure(self) -> Failure | None:
        return next((e.failure for e in self.examinations if e.failure), None)

    @property
    def failed(self) -> bool:
        return any(not e.passed for e in self.examinations)

    @property
    def examples(self) -> int:
        return sum(e.examples for e in self.examinations)

    @property
    def missing(self) -> frozenset[str]:
        """Expected tests that did not pass with at least one example."""
        return self.expected - {e.test for e in self.examinations if e.passed and e.examples > 0}


@dataclass(frozen=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float


@dataclass(frozen=True)
class ComboFigures:
    """One shape and distribution: ns per query of both sides, and candidate / incumbent as paired in each round.

    floor_ns: no honest kernel can be faster than that. steps: of a kept candidate, the share of each step in a call.
    """

    shape: str
    distribution: str
    candidate_ns: float
    incumbent_ns: float
    ratio: float
    floor_ns: float = 0.0
    steps: Mapping[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.shape} {self.distribution}"


@dataclass(frozen=True)
class GuardFigures:
    """One guard workload: ns per query of both sides, and candidate / incumbent with its interval.

    name: the workload in words; spec: what it is built from again. The intervals of all guards hold together.
    """

    name: str
    spec: str
    candidate_ns: float
    incumbent_ns: float
    ratio: float
    interval: Interval


@dataclass(frozen=True)
class GuardEvidence:
    """What candidate and incumbent take on guard workloads. ratio: the geomean of all, with its interval."""

    workloads: tuple[GuardFigures, ...]
    ratio: float
    interval: Interval
    seed: int
    timed_queries: int = 0
    seconds: float = 0.0

    @property
    def worst(self) -> GuardFigures:
        """Of those that are shown to be slowest: the largest low end, unless that shows nothing."""
        shown = max(self.workloads, key=lambda guard: guard.interval.low)
        return shown if shown.interval.low > 1 else max(self.workloads, key=lambda guard: guard.ratio)


@dataclass(frozen=True)
class AloneEvidence:
    """The incumbent beside the candidate and alone, as ratios of times.

    slowdown: beside / alone. explained: as much as the host accounts for, of which drift is what the timing core
    itself changed by meanwhile. gain: incumbent / candidate beside each other once more, and the factor of its error.
    """

    slowdown: float
    explained: float
    gain: float = math.inf
    error: float = 1.0
    drift: float = 1.0
    seconds: float = 0.0


@dataclass(frozen=True)
class OriginEvidence:
    """How many times as fast as the first baseline the candidate is, and the factor of error on either side."""

    gain: float
    error: float
    seconds: float = 0.0


@dataclass(frozen=True)
class SpeedEvidence:
    """What the duel of candidate and incumbent measured. All times are ns per query.

    ratio is candidate / incumbent. confirmed: the figures are those of a second stage, on other processes and data.
    workload_seeds: of the data of each stage. walls: what confined the candidate's process. largest_gain: what the gain
    is at the most (a share, at an error of 10%), where the duel ended because a gain worth finding had become unlikely.
    guards: None unless there was a gain to keep, and the target has guard workloads. alone: None unless there was;
    origin as well, and where nothing was kept since the first baseline.
    """

    combos: tuple[ComboFigures, ...]
    geomean_ns: float
    geomean_interval: Interval
    incumbent_geomean_ns: float
    ratio: float
    ratio_interval: Interval
    confirmed: bool
    noise_floor_pct: float
    rounds: int
    timed_queries: int
    transport_ns: float
    pack_seconds: float
    peak_mem_mb: float
    workload_seeds: tuple[int, ...] = ()
    walls: tuple[str, ...] = ()
    guards: GuardEvidence | None = None
    seconds: float = 0.0
    largest_gain: float | None = None
    alone: AloneEvidence | None = None
    origin: OriginEvidence | None = None

    @property
    def worst(self) -> ComboFigures:
        return max(self.combos, key=lambda combo: combo.candidate_ns)

    @property
    def best(self) -> ComboFigures:
        return min(self.combos, key=lambda combo: combo.candidate_ns)

    @property
    def incumbent_worst_ns(self) -> float:
        return max(combo.incumbent_ns for combo in self.combos)


@dataclass(frozen=True)
class Evidence:
    """All that a trial found out.

    against_itself: there was no incumbent to beat, so the candidate duelled with its own twin. waited_seconds: how much
    of the total went by waiting for other gates. unavoidable: seconds of the start of one process and of one compile of
    the candidate, where they were made apart.
    """

    correctness: CorrectnessEvidence
    speed: SpeedEvidence | None = None
    speed_failure: Failure | None = None
    incumbent_failure: Failure | None = None
    tampered: tuple[str, ...] = ()
    against_itself: bool = False
    interrupted: bool = False
    internal_error: str = ""
    total_seconds: float = 0.0
    waited_seconds: float = 0.0
    phases: dict[str, float] = field(default_factory=dict)
    unavoidable: dict[str, float] = field(default_factory=dict)
