"""When is a kernel faster? Pure functions of timings: no clock, no process.

Model. Of two kernels timed beside each other, the logarithm of candidate / incumbent is

    gain of the code + luck of the epoch + noise of the round

- Round (ABBA): both sides answer the same queries on one core, milliseconds apart, in random order; what disturbs
  the machine for longer cancels. What is left has heavy tails: an interrupt hits one block, now and then.
- Epoch: a few rounds on two new processes. Where code, arrays and pages of a process come to lie lasts as long as it
  does: more rounds do not help, more processes do, so this luck is drawn once an epoch, at the highest level that
  varies. The code of both kernels lies at one place, drawn for each pair, so that what they have in common is as lucky
  in both. Of the shipped kernel, which answers in tens of microseconds, the luck of code has a standard deviation of 1
  to 2% where the places are drawn apart, and of 0.4 to 0.8% where they are one.

Estimate. Within an epoch each combo is the median of its block pairs, which a spike cannot move; an epoch is the mean
of its combos; a stage is the mean of its epochs. Epochs are independent, and Student's t on them is honest about every
luck, however much it is.

Stopping. A stage looks at its interval after 3, 6, 9, 12, 18, 27 and 40 epochs and stops when the interval lies below 1
(better) or above 1 (worse). An error of 5%, two-sided, is divided evenly among the looks (Bonferroni), so the interval
is valid whenever a stage stops. A stage thus calls an equal kernel better in at most 2.5% of cases.

Futility. A stage also gives up when a gain worth finding (1% unless the user says otherwise) has become unlikely: after
2, 3, 4, 6, 9, 12, 18, 27 or 40 epochs, when a one-sided bound excludes it. The error is 10% over all these looks: of
kernels with a true gain of just that size at most one stage in ten is given up, and of larger gains next to none. Each
look has the same nominal error, the one at which a Brownian motion crosses at any of them in 10% of cases (Pocock);
FUTILITY_TAIL is that error, and a test computes it again. Such a bound can only cost a gain, never keep a kernel, so it
may lean on more of the model: the combos' lucks of an epoch are independent, so each combo's spread over the epochs
tells of them, (epochs - 1) x combos degrees of freedom instead of epochs - 1. Of this standard error and the one of
the epochs themselves the larger one is taken: what the combos of an epoch share is not overlooked. What is better is
looked for first, at the looks above, and on the epochs alone.

Confirmation. What is better in one stage is measured again in a second: other processes, other data, same rules. Only
the second stage's figures are reported and decide, so that they are free of the first one's selection; an equal
kernel passes both in about 1 of 1,000 cases under the model.

Simplification. A smaller kernel must be shown to take less than NO_SLOWER of the time of the fastest kernel kept: the
same interval, against that limit in place of 1, and one stage, which looks later and less often, since most of these
kernels are equal and no look at them is decided early. A kernel that is 1% slower passes it
in at most 2.5% of cases, one that is 2% slower next to never; an equal one mostly. The fastest kernel, not the last one
kept, is what it is compared with, so that nothing adds up.

Sources: duet benchmarking (Bulej et al., ICPE 2020) for interleaving; Kalibera & Jones, "Rigorous benchmarking in
reasonable time" (ISMM 2013) for levels of variance; Armitage, McPherson & Rowe (1969) for what repeated looks cost;
Pocock, "Group sequential methods" (Biometrika 1977) for one nominal error at all looks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.trial.evidence import Interval
from pytest_lance_ar.trial.options import DEFAULT_MIN_GAIN
from pytest_lance_ar.trial.verdict import GUARD, NO_SLOWER

Floats = NDArray[np.float64]


LOOKS: Final = (3, 6, 9, 12, 18, 27, 40)
"""Epochs after which a stage may be called better."""
SIMPLER_LOOKS: Final = (12, 27, 40)
"""Epochs after which a smaller kernel may be called no slower."""
FUTILITY_LOOKS: Final = (2, 3, 4, 6, 9, 12, 18, 27, 40)
"""Epochs after which it may give up."""
STAGE_ERROR: Final = 0.05
"""Two-sided, of calling a kernel better or worse, over all looks."""
FUTILITY_TAIL: Final = 0.0225
"""What this leaves to each look."""
FIGURE_TAIL: Final = 0.0046
"""The same for 2.5%: the interval that is printed where a stage gives up errs on each side in at most so many cases."""


class Outcome(Enum):
    """What a stage has shown so far."""

    BETTER = "better"
    NOT_BETTER = "not better"
    FUTILE = "a gain worth finding has become unlikely"
    OPEN = "open"


def geomean(values: list[float]) -> float:
    """Geometric mean of positive numbers."""
    return math.exp(sum(map(math.log, values)) / len(values))


@cache
def students_t(freedom: int, tail: float) -> float:
    """What Student's t exceeds with a probability of `tail`. With t = sqrt(freedom) tan(a), a's density is a power."""
    angle = np.linspace(0.0, math.pi / 2, 20_001)
    density = np.cos(angle) ** (freedom - 1)
    mass = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    return math.sqrt(freedom) * math.tan(np.interp((1 - 2 * tail) * mass[-1], mass, angle))


@dataclass
class Stage:
    """Epochs, each of a pair of processes, as they come in.

    min_gain: the smallest gain worth finding, as a share: 0.01 is 1%. limit: what the ratio must be shown to lie below.
    looks: epochs after which the interval decides, some of LOOKS.
    candidate, incumbent: mean log nanoseconds of blocks, an array (rounds, combos, 2) an epoch; differences: log ratio
    of every combo, an array (combos,) an epoch.
    """

    min_gain: float = DEFAULT_MIN_GAIN / 100
    limit: float = 1.0
    looks: tuple[int, ...] = LOOKS
    candidate: list[Floats] = field(default_factory=list)
    incumbent: list[Floats] = field(default_factory=list)
    differences: list[Floats] = field(default_factory=list)

    def add(self, candidate: Floats, incumbent: Floats) -> None:
        """An epoch."""
        self.candidate.append(candidate)
        self.incumbent.append(incumbent)
        self.differences.append(_medians(candidate - incumbent))

    @classmethod
    def simplifying(cls) -> Stage:
        """For a smaller kernel, which must be shown to be no slower; a gain is not looked for."""
        return cls(min_gain=-math.inf, limit=NO_SLOWER, looks=SIMPLER_LOOKS)

    @property
    def epochs(self) -> int:
        return len(self.candidate)

    @property
    def combo_estimates(self) -> Floats:
        """Log ratio of every combo in every epoch: (epochs, combos)."""
        return np.array(self.differences)

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
        """Of the ratio, from the epochs alone, valid at every look."""
        error = students_t(self.epochs - 1, STAGE_ERROR / 2 / len(self.looks))
        return self._around(error * _standard_error(self.estimates))

    @property
    def pooled_interval(self) -> Interval:
        """Of the ratio, with the combos' spread pooled, valid whenever the stage gives up."""
        return self._around(self._pooled_error(FIGURE_TAIL))

    @property
    def largest_gain(self) -> float:
        """What the gain is at the most, at the error of futility: a share, negative where the kernel is slower."""
        return 1 / self._around(self._pooled_error(FUTILITY_TAIL)).low - 1

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
        half = self._figure_t * _standard_error(logs)
        return Interval(math.exp(logs.mean() - half), math.exp(logs.mean() + half))

    @property
    def noise_floor(self) -> float:
        """What an equal kernel may still differ by: twice the standard error of the log ratio."""
        return 2 * _standard_error(self.estimates)

    def outcome(self, *, last: bool = False) -> Outcome:
        """What the stage shows at this look; at the last one it is not open any more."""
        interval, deciding = self.interval, self.epochs in self.looks
        if deciding and interval.high < self.limit:
            return self._guards(last)
        if self.largest_gain < self.min_gain:
            return Outcome.FUTILE
        done = deciding and (interval.low > self.limit or last)
        return Outcome.NOT_BETTER if done else Outcome.OPEN

    def _guards(self, last: bool) -> Outcome:
        """A combo that may or may not have lost more than it is allowed to wants more epochs."""
        estimates = self.combo_estimates
        centre = estimates.mean(axis=0)
        error = self._figure_t * estimates.std(axis=0, ddof=1) / math.sqrt(self.epochs)
        limit = math.log(GUARD)
        if (centre > limit).any() if last else (centre - error > limit).any():
            return Outcome.NOT_BETTER
        return Outcome.BETTER if last or (centre + error <= limit).all() else Outcome.OPEN

    def _around(self, half: float) -> Interval:
        centre = float(self.estimates.mean())
        return Interval(math.exp(centre - half), math.exp(centre + half))

    @property
    def _figure_t(self) -> float:
        """Two-sided 10%, for what is printed."""
        return students_t(self.epochs - 1, 0.05)

    def _pooled_error(self, tail: float) -> float:
        combos = self.combo_estimates
        freedom = (self.epochs - 1) * combos.shape[1]
        pooled = math.sqrt(combos.var(axis=0, ddof=1).sum() / self.epochs) / combos.shape[1]
        return students_t(freedom, tail) * max(float(pooled), _standard_error(self.estimates))


def _medians(blocks: Floats) -> Floats:
    """(rounds, combos, 2) -> (combos,)"""
    rounds, combos, halves = blocks.shape
    return np.asarray(np.median(blocks.transpose(1, 0, 2).reshape(combos, rounds * halves), axis=1))


def _standard_error(values: Floats) -> float:
    return float(values.std(ddof=1)) / math.sqrt(len(values))
