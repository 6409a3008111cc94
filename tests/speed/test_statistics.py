"""The decision procedure on synthetic timings: its error rates, its power, and what it makes of each kind of noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from pytest_lance_ar.speed.statistics import LOOKS, STAGE_ERROR, Outcome, Stage, geomean
from pytest_lance_ar.trial.verdict import GUARD

COMBOS, ROUNDS = 9, 4
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """A machine: standard deviations of logarithms, and how often a block is hit by something else."""

    block: float = 0.03
    placement: float = 0.003
    process: float = 0.0025
    drift: float = 0.0
    spikes: float = 0.0

    def stage(self, rng: np.random.Generator, gains: Floats) -> tuple[Stage, Outcome]:
        """Run a stage to its end. gains: the true log ratio of every combo."""
        stage, luck, twin_luck = Stage(), rng.normal(0, self.process), rng.normal(0, self.process)
        level = 0.0
        while True:
            level += rng.normal(0, self.drift)
            here = rng.normal(0, self.placement, (3, COMBOS))
            candidate = level + self._blocks(rng, ROUNDS) + (gains + luck + here[0])[:, None]
            incumbent = level + self._blocks(rng, ROUNDS) + here[1][:, None]
            control = self._blocks(rng, 1) - self._blocks(rng, 1) + (twin_luck + here[2] - here[1])[:, None]
            stage.add(candidate, incumbent, control)
            if stage.epochs in LOOKS:
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
    "placement bias": World(placement=0.02),
}
each_world = pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)


def gain(percent: float) -> Floats:
    return np.full(COMBOS, -math.log1p(percent / 100))


def outcomes(world: World, gains: Floats, number: int, seed: int = 1) -> list[Outcome]:
    rng = np.random.default_rng(seed)
    return [world.stage(rng, gains)[1] for _ in range(number)]


def kept(world: World, gains: Floats, number: int, seed: int = 2) -> int:
    """How many of so many trials pass both stages."""
    rng = np.random.default_rng(seed)
    return sum(all(world.stage(rng, gains)[1] is Outcome.BETTER for _ in range(2)) for _ in range(number))


@each_world
def test_a_stage_calls_equal_kernels_better_at_its_nominal_rate(world: World) -> None:
    better = outcomes(world, gain(0), 300).count(Outcome.BETTER)
    # Nominal is 2.5% of 300, 7.5; with a true rate of that, 17 or more come once in 1,000 runs.
    assert better < 17


@each_world
def test_equal_kernels_are_not_kept(world: World) -> None:
    assert kept(world, gain(0), 200) <= 1


@each_world
def test_gains_are_kept(world: World) -> None:
    assert kept(world, gain(3), 100) >= 95
    assert kept(world, gain(2), 100) >= 80


def test_a_gain_of_one_percent_is_mostly_kept_on_a_machine_as_measured() -> None:
    assert kept(WORLDS["as measured"], gain(1), 100) >= 60


@each_world
def test_losses_are_never_kept(world: World) -> None:
    assert kept(world, gain(-1), 100) == 0


def test_the_interval_is_valid_whenever_a_stage_stops() -> None:
    rng = np.random.default_rng(3)
    for percent in (0.0, 0.7, 2.0):
        intervals = [WORLDS["as measured"].stage(rng, gain(percent))[0].interval for _ in range(200)]
        truth = 1 / (1 + percent / 100)
        covered = sum(interval.low <= truth <= interval.high for interval in intervals)
        assert covered >= 0.95 * 200


def test_what_is_clear_is_decided_at_the_first_look() -> None:
    rng = np.random.default_rng(4)
    for percent in (-40.0, -20.0, 20.0, 40.0):
        stages = [WORLDS["as measured"].stage(rng, gain(percent)) for _ in range(30)]
        assert [stage.epochs for stage, _ in stages].count(min(LOOKS)) >= 27
        assert {outcome for _, outcome in stages} == {Outcome.BETTER if percent > 0 else Outcome.NOT_BETTER}


@each_world
def test_a_true_loss_of_8_percent_on_one_combo_trips_the_guard(world: World) -> None:
    gains = gain(10)
    gains[4] = math.log(1.08)
    # The luck of a placement is part of what a combo's figure is made of; the worlds with little of it are sure.
    assert kept(world, gains, 40) <= (2 if world.placement > 0.01 else 0)


@each_world
def test_noise_alone_does_not_trip_the_guard(world: World) -> None:
    assert kept(world, gain(4), 60) >= 58


def test_a_combo_at_the_edge_of_the_guard_wants_more_epochs() -> None:
    rng = np.random.default_rng(5)
    gains = gain(30)
    gains[0] = math.log(GUARD)
    epochs = [WORLDS["as measured"].stage(rng, gains)[0].epochs for _ in range(20)]
    assert np.median(epochs) > min(LOOKS)


def test_a_control_arm_that_differs_widens_the_interval() -> None:
    rng = np.random.default_rng(6)
    for shown, expected in ((0.0, Outcome.BETTER), (0.03, Outcome.NOT_BETTER)):
        stage = Stage()
        for _ in range(max(LOOKS)):
            blocks = rng.normal(0, 0.01, (3, ROUNDS, COMBOS, 2))
            stage.add(blocks[0] - 0.02, blocks[1], blocks[2, :1] + shown)
        assert stage.outcome(last=True) is expected
        assert stage.noise_floor == pytest.approx(shown, abs=0.005)


def test_one_spike_does_not_move_an_epoch() -> None:
    rng = np.random.default_rng(7)
    candidate, incumbent, control = rng.normal(0, 0.01, (3, ROUNDS, COMBOS, 2))
    quiet, hit = Stage(), Stage()
    quiet.add(candidate, incumbent, control)
    candidate = candidate.copy()
    candidate[1, 3, 0] += 5.0
    hit.add(candidate, incumbent, control)
    assert hit.ratio == pytest.approx(quiet.ratio, abs=0.01)


def test_the_ratio_is_the_geomean_of_the_combos() -> None:
    stage, _ = WORLDS["noisy"].stage(np.random.default_rng(8), gain(1))
    assert geomean(list(stage.combo_ratios)) == pytest.approx(stage.ratio)
    assert stage.interval.low < stage.ratio < stage.interval.high
    low, high = stage.geomean_interval.low, stage.geomean_interval.high
    assert low < geomean(list(stage.candidate_ns)) < high


def test_the_critical_values_are_those_of_students_t() -> None:
    grid = np.linspace(0, 2_000, 4_000_001)
    for epochs, look in LOOKS.items():
        df = epochs - 1
        scale = math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2)) / math.sqrt(df * math.pi)
        density = scale * (1 + grid**2 / df) ** (-(df + 1) / 2)
        within = np.cumsum(density) * (grid[1] - grid[0]) - density[0] * (grid[1] - grid[0]) / 2
        for critical, error in ((look.decision, STAGE_ERROR / len(LOOKS)), (look.figure, 0.10)):
            two_sided = 1 - 2 * within[np.searchsorted(grid, critical)]
            assert two_sided == pytest.approx(error, rel=0.01)


def test_geomean() -> None:
    assert geomean([1.0, 100.0]) == pytest.approx(10.0)
