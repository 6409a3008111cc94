"""The decision procedure on synthetic timings: its error rates, its power, and what it makes of each kind of noise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pytest_lance_ar.speed.statistics import (
    FIGURE_TAIL,
    FUTILITY_LOOKS,
    FUTILITY_TAIL,
    LOOKS,
    STAGE_ERROR,
    Outcome,
    Stage,
    geomean,
    students_t,
)
from pytest_lance_ar.trial.verdict import FUTILITY_ERROR, GUARD
from tests.speed.worlds import COMBOS, ROUNDS, WORLDS, Floats, World, gain

each_world = pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)


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
def test_a_simplification_is_kept_when_it_is_as_fast_and_not_when_it_is_two_percent_slower(world: World) -> None:
    """The contract's figures: in fewer than 5 of 100 cases, and in 80 of 100."""
    rng = np.random.default_rng(12)

    def simpler(percent: float) -> int:
        stages = [world.stage(rng, gain(percent), begun=Stage.simplifying())[1] for _ in range(100)]
        return stages.count(Outcome.BETTER)

    assert simpler(0) >= 80
    assert simpler(-100 * (1 - 1 / 1.02)) < 5


def test_a_simplification_that_is_one_percent_slower_passes_at_its_nominal_rate() -> None:
    rng = np.random.default_rng(13)
    one = -100 * (1 - 1 / 1.01)
    stages = [WORLDS["as measured"].stage(rng, gain(one), begun=Stage.simplifying())[1] for _ in range(120)]
    # Nominal is 2.5% of 120, 3; with a true rate of that, 10 or more come once in 1,000 runs.
    assert stages.count(Outcome.BETTER) < 10


@each_world
def test_losses_are_never_kept(world: World) -> None:
    assert kept(world, gain(-1), 100) == 0


def test_the_interval_is_valid_whenever_a_stage_stops() -> None:
    rng = np.random.default_rng(3)
    for percent in (0.0, 0.7, 2.0):
        ended = [WORLDS["as measured"].stage(rng, gain(percent)) for _ in range(200)]
        intervals = [stage.pooled_interval if outcome is Outcome.FUTILE else stage.interval for stage, outcome in ended]
        truth = 1 / (1 + percent / 100)
        covered = sum(interval.low <= truth <= interval.high for interval in intervals)
        assert covered >= 0.95 * 200


@pytest.mark.parametrize(
    "world", [*WORLDS.values(), World(shared=0.003)], ids=[*WORLDS, "combos share half of their luck"]
)
def test_a_gain_worth_finding_is_given_up_at_its_nominal_rate(world: World) -> None:
    given_up = outcomes(world, gain(1), 100, seed=9).count(Outcome.FUTILE)
    # Nominal is 10% of 100, 10, if nothing else ended a stage; at that rate 20 or more come once in 500 runs.
    assert given_up < 20


def test_what_is_worth_finding_is_the_users_choice() -> None:
    rng = np.random.default_rng(9)
    stages = [WORLDS["noisy"].stage(rng, gain(3), 0.03)[1] for _ in range(100)]
    assert stages.count(Outcome.FUTILE) < 20
    assert [WORLDS["noisy"].stage(rng, gain(3), 0.2)[1] for _ in range(20)].count(Outcome.FUTILE) == 20


@pytest.mark.parametrize(
    ("world", "median", "most"), [("as measured", 4, 12), ("noisy", 9, 27), ("fast kernel", 9, 27)]
)
def test_an_equal_kernel_is_given_up_after_a_few_epochs(world: str, median: int, most: int) -> None:
    rng = np.random.default_rng(10)
    stages = [WORLDS[world].stage(rng, gain(0)) for _ in range(100)]
    epochs = sorted(stage.epochs for stage, _ in stages)
    assert epochs[50] <= median
    assert epochs[85] <= most
    assert [outcome for _, outcome in stages].count(Outcome.FUTILE) >= 85


def test_a_larger_gain_worth_finding_is_given_up_sooner() -> None:
    def epochs(min_gain: float) -> float:
        rng = np.random.default_rng(11)
        return float(np.mean([WORLDS["noisy"].stage(rng, gain(0), min_gain)[0].epochs for _ in range(40)]))

    assert epochs(0.03) < 4 < epochs(0.01) < epochs(0.0)


def test_no_gain_is_too_small_where_all_are_worth_finding() -> None:
    rng = np.random.default_rng(12)
    stages = [WORLDS["as measured"].stage(rng, gain(1), 0.0)[1] for _ in range(40)]
    assert Outcome.FUTILE not in stages


def test_what_is_better_is_not_given_up_for_being_small() -> None:
    stage = Stage(min_gain=0.5)
    for _ in range(max(LOOKS)):
        blocks = np.random.default_rng(stage.epochs).normal(0, 0.01, (2, ROUNDS, COMBOS, 2))
        stage.add(blocks[0] - 0.02, blocks[1])
    assert stage.largest_gain < stage.min_gain
    assert stage.outcome() is Outcome.BETTER


def test_luck_that_the_combos_share_is_not_overlooked() -> None:
    """Their spread over the epochs is tiny, that of the epochs is not: nothing is known of a gain of 1%."""
    stage = Stage()
    for luck in (-0.05, 0.05, -0.04, 0.06):
        noise = np.random.default_rng(stage.epochs).normal(0, 0.001, (2, ROUNDS, COMBOS, 2))
        stage.add(noise[0] + luck, noise[1])
    assert stage.largest_gain > 0.03
    assert stage.outcome() is Outcome.OPEN


def test_what_is_clear_is_decided_at_the_first_look() -> None:
    rng = np.random.default_rng(4)
    for percent in (-40.0, -20.0, -5.0, 20.0, 40.0):
        stages = [WORLDS["as measured"].stage(rng, gain(percent)) for _ in range(30)]
        first = min(LOOKS if percent > 0 else FUTILITY_LOOKS)
        assert [stage.epochs for stage, _ in stages].count(first) >= 27
        assert {outcome for _, outcome in stages} == {Outcome.BETTER if percent > 0 else Outcome.FUTILE}


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


def test_one_spike_does_not_move_an_epoch() -> None:
    rng = np.random.default_rng(7)
    candidate, incumbent = rng.normal(0, 0.01, (2, ROUNDS, COMBOS, 2))
    quiet, hit = Stage(), Stage()
    quiet.add(candidate, incumbent)
    candidate = candidate.copy()
    candidate[1, 3, 0] += 5.0
    hit.add(candidate, incumbent)
    assert hit.ratio == pytest.approx(quiet.ratio, abs=0.01)


def test_the_ratio_is_the_geomean_of_the_combos() -> None:
    stage, _ = WORLDS["noisy"].stage(np.random.default_rng(8), gain(1))
    assert geomean(list(stage.combo_ratios)) == pytest.approx(stage.ratio)
    assert stage.interval.low < stage.ratio < stage.interval.high
    low, high = stage.geomean_interval.low, stage.geomean_interval.high
    assert low < geomean(list(stage.candidate_ns)) < high


@pytest.mark.parametrize(
    ("freedom", "tail", "value"),
    [(1, 0.05, 6.3138), (2, 0.05, 2.9200), (39, 0.05, 1.6849), (5, 0.025, 2.5706), (120, 0.01, 2.3578), (9, 0.5, 0.0)],
)
def test_students_t_is_that_of_the_tables(freedom: int, tail: float, value: float) -> None:
    assert students_t(freedom, tail) == pytest.approx(value, abs=1e-4)


def test_a_look_errs_so_often_that_all_of_them_keep_to_their_error() -> None:
    """Student's t of many epochs is a Brownian motion's; with few epochs the looks have less in common."""
    walks = np.random.default_rng(13).standard_normal((100_000, max(FUTILITY_LOOKS))).cumsum(axis=1)
    looks = np.array(FUTILITY_LOOKS)
    furthest = np.sort((walks[:, looks - 1] / np.sqrt(looks)).max(axis=1))
    for tail, error in ((FUTILITY_TAIL, FUTILITY_ERROR), (FIGURE_TAIL, STAGE_ERROR / 2)):
        limit = students_t(10_000, tail)
        assert 1 - np.searchsorted(furthest, limit) / len(furthest) == pytest.approx(error, rel=0.03)


def test_geomean() -> None:
    assert geomean([1.0, 100.0]) == pytest.approx(10.0)
