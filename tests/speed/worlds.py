"""Synthetic machines: timings of known gains, with the kinds of luck and noise that real ones have."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.speed.statistics import FUTILITY_LOOKS, LOOKS, Outcome, Stage

COMBOS, ROUNDS = 9, 4
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """A machine: standard deviations of logarithms, and how often a block is hit by something else.

    placement: of the luck of each combo of an epoch, on each side; shared: of what its combos have in common.
    """

    block: float = 0.03
    placement: float = 0.003
    drift: float = 0.0
    spikes: float = 0.0
    shared: float = 0.0018

    def stage(
        self, rng: np.random.Generator, gains: Floats, min_gain: float = 0.01, *, begun: Stage | None = None
    ) -> tuple[Stage, Outcome]:
        """Run a stage to its end. gains: the true log ratio of every combo; begun: an empty stage of another kind."""
        stage, level = begun or Stage(min_gain), 0.0
        while True:
            level += rng.normal(0, self.drift)
            here = rng.normal(0, self.placement, (2, COMBOS)) + rng.normal(0, self.shared, (2, 1))
            candidate = level + self._blocks(rng, ROUNDS) + (gains + here[0])[:, None]
            incumbent = level + self._blocks(rng, ROUNDS) + here[1][:, None]
            stage.add(candidate, incumbent)
            if stage.epochs in (*LOOKS, *FUTILITY_LOOKS):
                outcome = stage.outcome(last=stage.epochs == max(LOOKS))
                if outcome is not Outcome.OPEN:
                    return stage, outcome

    def _blocks(self, rng: np.random.Generator, rounds: int) -> Floats:
        shape = rounds, COMBOS, 2
        hit = rng.random(shape) < self.spikes
        return rng.normal(0, self.block, shape) + hit * rng.exponential(0.5, shape)


WORLDS = {
    "as measured": World(),
    "noisy": World(block=0.06, placement=0.006),
    "heavy tails": World(spikes=0.1),
    "drift": World(drift=0.2),
    "fast kernel": World(placement=0.02),
}


def gain(percent: float) -> Floats:
    return np.full(COMBOS, -math.log1p(percent / 100))
