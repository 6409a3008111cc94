"""A ranking from paired duels: least squares, their intervals, and which duels are fought."""

from __future__ import annotations

import math
import random
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_lance_ar.population.ranking import ALL_PAIRS_UP_TO, Pairing, follow_up, opening, rank
from pytest_lance_ar.trial.evidence import Interval


def pairing(first: int, second: int, log_ratio: float, half_width: float = 0.01) -> Pairing:
    return Pairing(first, second, log_ratio, half_width)


def consistent(logs: list[float], pairs: list[tuple[int, int]], half_width: float = 0.01) -> list[Pairing]:
    return [pairing(i, j, logs[i] - logs[j], half_width) for i, j in pairs]


@given(st.lists(st.floats(-2, 2), min_size=2, max_size=6))
def test_duels_that_agree_are_fitted_exactly(logs: list[float]) -> None:
    places = rank(0, consistent(logs, list(combinations(range(len(logs)), 2))))
    assert {place.kernel for place in places} == set(range(len(logs)))
    for place in places:
        assert math.log(place.speedup) == pytest.approx(logs[0] - logs[place.kernel], abs=1e-9)
        assert place.interval.low <= place.speedup <= place.interval.high
    assert [place.speedup for place in places] == sorted((place.speedup for place in places), reverse=True)


def test_one_duel_has_its_own_interval() -> None:
    first, second = rank(0, [Pairing.of(0, 1, 2.0, Interval(1.9, 2.0 * 2.0 / 1.9))])
    assert (first.kernel, second.kernel) == (1, 0)
    assert first.speedup == pytest.approx(2.0)
    assert (first.interval.low, first.interval.high) == pytest.approx((1.9, 4 / 1.9))
    assert second.interval == Interval(1.0, 1.0)


def test_an_indirect_comparison_adds_the_variances() -> None:
    places = rank(0, [pairing(0, 1, 0.1, 0.03), pairing(1, 2, 0.1, 0.04)])
    last = next(place for place in places if place.kernel == 2)
    assert math.log(last.interval.high / last.interval.low) / 2 == pytest.approx(0.05)


def test_the_better_measured_duel_weighs_more() -> None:
    places = rank(0, [pairing(1, 0, 0.0, 0.01), pairing(1, 0, 0.3, 0.02)])
    other = next(place for place in places if place.kernel == 1)
    assert math.log(other.speedup) == pytest.approx(-0.3 * 1 / 5)


def test_duels_that_disagree_widen_every_interval() -> None:
    def width(inconsistency: float) -> float:
        triangle = [pairing(0, 1, 0.1), pairing(1, 2, 0.1), pairing(0, 2, 0.2 + inconsistency)]
        place = next(place for place in rank(0, triangle) if place.kernel == 2)
        return math.log(place.interval.high / place.interval.low)

    assert width(0.0) == pytest.approx(width(0.001))
    assert width(0.1) == pytest.approx(width(0.0) * 0.1 / (0.01 / 1.96 * math.sqrt(3)), rel=1e-6)


def test_kernels_that_were_not_told_apart_share_their_ranks() -> None:
    logs = [0.0, 0.001, 0.5]
    places = rank(0, consistent(logs, [(0, 1), (0, 2), (1, 2)]))
    assert [(place.kernel, place.best, place.worst) for place in places] == [(0, 1, 2), (1, 1, 2), (2, 3, 3)]


def test_a_kernel_that_no_duel_connects_has_no_place() -> None:
    assert {place.kernel for place in rank(0, [pairing(0, 1, 0.1), pairing(2, 3, 0.1)])} == {0, 1}
    assert [place.kernel for place in rank(7, [])] == [7]


def test_the_intervals_cover_the_truth() -> None:
    """1,000 rankings of six equal kernels, errors of the stated size: 95% intervals miss in about 5%."""
    rng = random.Random(5)
    pairs = [(0, i) for i in range(1, 6)] + [(1, 2), (2, 3), (3, 4), (4, 5)]
    missed = total = 0
    for _ in range(1000):
        duels = [pairing(i, j, rng.gauss(0, 0.01 / 1.96)) for i, j in pairs]
        for place in rank(0, duels):
            if place.kernel != 0:
                total += 1
                missed += not place.interval.low <= 1.0 <= place.interval.high
    assert 0.01 < missed / total < 0.06  # chi-square above its expectation widens, so somewhat fewer than 5%


@pytest.mark.parametrize("count", range(1, ALL_PAIRS_UP_TO + 1))
def test_few_kernels_fight_every_pair(count: int) -> None:
    assert opening(range(count)) == list(combinations(range(count), 2))
    assert follow_up(range(count), []) == []


@pytest.mark.parametrize("count", [ALL_PAIRS_UP_TO + 1, 12, 40])
def test_many_kernels_fight_the_first_then_their_neighbours_then_the_leader(count: int) -> None:
    rng = random.Random(count)
    logs = [rng.gauss(0, 1) for _ in range(count)]
    begin = opening(range(count))
    assert begin == [(0, kernel) for kernel in range(1, count)]
    more = follow_up(range(count), consistent(logs, begin))
    pairs = [frozenset(pair) for pair in (*begin, *more)]
    assert len(set(pairs)) == len(pairs) <= 2 * count + 2
    order = sorted(range(count), key=lambda kernel: logs[kernel])
    assert {frozenset(pair) for pair in pairwise(order)} <= set(pairs)
    assert {frozenset((order[0], rival)) for rival in order[1:5]} <= set(pairs)
