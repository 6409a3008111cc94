"""When is a kernel faster? Pure functions of timings: no clock, no process.

Model. Of two kernels timed beside each other, the logarithm of candidate / incumbent is

    gain of the code + luck of the processes + luck of the placement + noise of the round

- Round (ABBA): both sides answer the same queries on one core, milliseconds apart, in random order; what disturbs
  the machine for longer cancels. What is left has heavy tails: an interrupt hits one block, now and then.
- Placement: all arrays are allocated anew at the start of an epoch of a few rounds: this luck is drawn once an epoch.
- Processes: code layout and page colours last as long as a process. More rounds do not help; more processes do.

Estimate. Within an epoch each combo is the median of its block pairs, which a spike cannot move; an epoch is the mean
of its combos; a stage is the mean of its epochs. Epochs are independent, and Student's t on them is honest about every
luck but the last. For that one the interval is widened by PROCESS_SD, or by what the control arm shows where that is
more: in every epoch one of the kernels, chosen at random, is timed against its own twin in another process. Processes
are started with fixed addresses, which takes the largest part of that luck away.

Stopping. A stage looks at its interval after 3, 6, 9, 12, 18, 27 and 40 epochs and stops when the interval lies below 1
(better), above 1 (worse), or when even a perfect measurement could not bring it below 1 any more (hopeless). An error
of 5%, two-sided, is divided evenly among the looks (Bonferroni), so the interval is valid whenever a stage stops. A
stage thus calls an equal kernel better in about 2.5% of cases.

Confirmation. What is better in one stage is measured again in a second: other processes, other data, same rules. Only
the second stage's figures are reported and decide, so that they are free of the first one's selection; an equal
kernel passes both in about 1 of 1,000 cases under the model.

Sources: duet benchmarking (Bulej et al., ICPE 2020) for interleaving; Kalibera & Jones, "Rigorous benchmarking in
reasonable time" (ISMM 2013) for levels of variance; Armitage, McPherson & Rowe (1969) for what repeated looks cost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.trial.evidence import Interval
from pytest_lance_ar.trial.verdict import GUARD

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Look:
    """Critical values of Student's t with (epochs - 1) degrees of freedom.

    decision: two-sided error 5% / 7 looks. figure: two-sided error 10%, for the figures printed.
    """

    decision: float
    figure: float


LOOKS: Final = {
    3: Look(11.7687, 2.9200),
    6: Look(4.3818, 2.0150),
    9: Look(3.5844, 1.8595),
    12: Look(3.2949, 1.7959),
    18: Look(3.0563, 1.7396),
    27: Look(2.9199, 1.7056),
    40: Look(2.8394, 1.6849),
}
STAGE_ERROR: Final = 0.05
PROCESS_SD: Final = 0.0025
"""Spread of log(candidate / incumbent) of one and the same kernel over pairs of processes."""
PROCESS_Z: Final = 1.96
"""Two-sided 5%. The luck of the processes is drawn once a stage, so the looks do not divide it."""


class Outcome(Enum):
    """What a stage has shown so far."""

    BETTER = "better"
    NOT_BETTER = "not better"
    OPEN = "open"


def geomean(values: list[float]) -> float:
    """Geometric mean of positive numbers."""
    return math.exp(sum(map(math.log, values)) / len(values))


@dataclass
class Stage:
    """Epochs of one pair of processes, as they come in.

    candidate, incumbent: mean log nanoseconds of blocks, an array (rounds, combos, 2) an epoch; control: log ratios of
    a kernel's twin to the kernel itself, of the same shape.
    """

    candidate: list[Floats] = field(default_factory=list)
    incumbent: list[Floats] = field(default_factory=list)
    control: list[Floats] = field(default_factory=list)

    def add(self, candidate: Floats, incumbent: Floats, control: Floats) -> None:
        self.candidate.append(candidate)
        self.incumbent.append(incumbent)
        self.control.append(control)

    @property
    def epochs(self) -> int:
        return len(self.candidate)

    @property
    def combo_estimates(self) -> Floats:
        """Log ratio of every combo in every epoch: (epochs, combos)."""
        return np.array([_medians(c - i) for c, i in zip(self.candidate, self.incumbent, strict=True)])

    @property
    def estimates(self) -> Floats:
        """Log ratio of every epoch: (epochs,)."""
        return np.asarray(self.combo_estimates.mean(axis=1))

    @property
    def ratio(self) -> float:
        """Candidate / incumbent."""
        return math.exp(self.estimates.mean())

    @property
    def interval(self) -> Interval:
        """Of the ratio. Defined at a look, valid at every one."""
        centre = float(self.estimates.mean())
        half = math.hypot(self._sampling_error, self._process_error)
        return Interval(math.exp(centre - half), math.exp(centre + half))

    @property
    def combo_ratios(self) -> Floats:
        """Candidate / incumbent of every combo; their geomean is `ratio`."""
        return np.asarray(np.exp(self.combo_estimates.mean(axis=0)))

    @property
    def candidate_ns(self) -> Floats:
        """Nanoseconds of every combo."""
        return np.asarray(np.exp(np.mean([_medians(logs) for logs in self.candidate], axis=0)))

    @property
    def geomean_interval(self) -> Interval:
        """90% interval of the geomean of the candidate's nanoseconds."""
        logs = np.array([_medians(epoch).mean() for epoch in self.candidate])
        half = LOOKS[self.epochs].figure * _standard_error(logs)
        return Interval(math.exp(logs.mean() - half), math.exp(logs.mean() + half))

    @property
    def noise_floor(self) -> float:
        """What an equal kernel may still differ by: the control's log ratio and twice its standard error."""
        control = self._control_estimates
        return abs(float(control.mean())) + 2 * _standard_error(control)

    def outcome(self, *, last: bool = False) -> Outcome:
        """What the stage shows at this look; at the last one it is not open any more."""
        interval, centre = self.interval, float(self.estimates.mean())
        if interval.high < 1.0:
            return self._guards(last)
        hopeless = centre - self._sampling_error > -self._process_error
        return Outcome.NOT_BETTER if interval.low > 1.0 or hopeless or last else Outcome.OPEN

    def _guards(self, last: bool) -> Outcome:
        """A combo that may or may not have lost more than it is allowed to wants more epochs."""
        estimates = self.combo_estimates
        centre = estimates.mean(axis=0)
        error = LOOKS[self.epochs].figure * np.array([_standard_error(combo) for combo in estimates.T])
        limit = math.log(GUARD)
        if (centre > limit).any() if last else (centre - error > limit).any():
            return Outcome.NOT_BETTER
        return Outcome.BETTER if last or (centre + error <= limit).all() else Outcome.OPEN

    @property
    def _sampling_error(self) -> float:
        return LOOKS[self.epochs].decision * _standard_error(self.estimates)

    @property
    def _process_error(self) -> float:
        control = self._control_estimates
        shown = abs(float(control.mean())) - 2 * _standard_error(control)
        return PROCESS_Z * max(PROCESS_SD, shown)

    @property
    def _control_estimates(self) -> Floats:
        # The same code on both sides: the combos differ by luck alone, so one median is over all of them.
        return np.array([np.median(epoch) for epoch in self.control])


def _medians(blocks: Floats) -> Floats:
    """(rounds, combos, 2) -> (combos,)"""
    rounds, combos, halves = blocks.shape
    return np.asarray(np.median(blocks.transpose(1, 0, 2).reshape(combos, rounds * halves), axis=1))


def _standard_error(values: Floats) -> float:
    return float(values.std(ddof=1)) / math.sqrt(len(values))
