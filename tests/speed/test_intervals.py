"""Intervals of many workloads at once, on synthetic timings."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from pytest_lance_ar.speed import intervals
from pytest_lance_ar.speed.intervals import Estimate, estimate, geomean_interval
from pytest_lance_ar.trial.verdict import GUARD

Floats = NDArray[np.float64]


def epochs(
    rng: np.random.Generator, log: float, *, noise: float = 0.05, luck: float = intervals.LUCK_SD, pairs: int = 18
) -> list[Floats]:
    """Four epochs of block pairs, with luck of their own and one spike in ten."""
    drawn = []
    for _ in range(4):
        spikes = rng.exponential(6 * noise, pairs) * (rng.random(pairs) < 0.1) * rng.choice([-1, 1], pairs)
        drawn.append(log + rng.normal(0, luck) + rng.normal(0, noise, pairs) + spikes)
    return drawn


def test_an_estimate_is_the_mean_of_the_medians_of_epochs_alike() -> None:
    one = estimate([np.array([0.1, 0.2, 9.0]), np.array([0.3, 0.4, -9.0])])
    assert one.log == pytest.approx((0.2 + 0.3) / 2)


def test_a_longer_epoch_counts_more() -> None:
    few, many = np.array([0.2, 0.0, 0.1]), np.tile([-0.1, 0.1, 0.0], 20)
    assert abs(estimate([few, many]).log) < 0.05


def test_epochs_that_disagree_make_the_interval_wide() -> None:
    noise = np.tile([-0.01, 0.01, 0.0], 4)
    agreeing, disagreeing = estimate([noise, noise]), estimate([noise - 0.1, noise + 0.1])
    assert disagreeing.error > 2.9 * agreeing.error


def test_a_kernel_that_draws_lots_at_each_build_is_shown_to_be_slow() -> None:
    """By a fifth, or by a half more than that: one that was slow by a fifth alone would be found out."""
    fifth, half = math.log(1.2), math.log(1.5)
    for lots in ((0, half), (half, 0, 0, half), (0, half, half, half)):
        drawn = [np.tile([-0.01, 0.01, 0.0], 4) + fifth + lot for lot in lots]
        assert intervals.intervals([estimate(drawn)] * 14)[0].low > GUARD


def test_the_luck_of_an_epoch_is_never_taken_for_nothing() -> None:
    still = np.zeros(1000)
    assert estimate([still]).error == pytest.approx(intervals.LUCK_SD)
    assert estimate([still] * 4).error == pytest.approx(intervals.LUCK_SD / 2)


@pytest.mark.parametrize(
    ("freedom", "error", "critical"), [(10, 0.05, 2.228), (30, 0.05 / 14, 3.165), (1e9, 0.01, 2.576)]
)
def test_critical_values_are_students(freedom: float, error: float, critical: float) -> None:
    interval = Estimate(0.0, 1.0, freedom).interval(error)
    assert math.log(interval.high) == pytest.approx(critical, rel=0.01)
    assert interval.low == pytest.approx(1 / interval.high)


@pytest.mark.parametrize("noise", [0.02, 0.2])
def test_all_intervals_of_a_draw_hold_together(noise: float) -> None:
    rng = np.random.default_rng(1)
    truth, missed = 0.03, 0
    for _ in range(150):
        found = intervals.intervals([estimate(epochs(rng, truth, noise=noise)) for _ in range(14)])
        missed += any(not one.low <= math.exp(truth) <= one.high for one in found)
    assert missed < 150 * 0.07


def test_the_interval_of_the_geomean_holds() -> None:
    rng = np.random.default_rng(2)
    missed = 0
    for _ in range(200):
        found, interval = geomean_interval([estimate(epochs(rng, -0.02)) for _ in range(14)])
        assert interval.low < found < interval.high
        missed += not interval.low <= math.exp(-0.02) <= interval.high
    assert missed < 200 * 0.02


def test_a_workload_at_the_limit_is_shown_above_it_in_few_of_many_draws() -> None:
    """All fourteen as slow as they may be: that one is shown to be slower is what the family's error allows."""
    rng = np.random.default_rng(3)
    shown = 0
    for _ in range(150):
        found = intervals.intervals([estimate(epochs(rng, math.log(GUARD))) for _ in range(14)])
        shown += any(one.low > GUARD for one in found)
    assert shown < 150 * 0.045
