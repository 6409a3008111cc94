"""Which kept kernel is the fastest, and what the incumbent's gain is the product of."""

from __future__ import annotations

import math
import random

import pytest

from pytest_lance_ar.store.lineage import Lineage
from pytest_lance_ar.trial.evidence import Interval
from pytest_lance_ar.trial.remembered import Precedent

BASELINE = Precedent(1, "baseline")


def step(number: int, verdict: str, speedup: float, half: float = 0.005) -> Precedent:
    return Precedent(number, verdict, speedup, Interval(speedup * (1 - half), speedup * (1 + half)))


def lineage(*steps: Precedent) -> tuple[list[int], list[int]]:
    """The trials up to the fastest, and those since."""
    found = Lineage[Precedent]()
    for one in (BASELINE, *steps):
        found = found.after(one)
    return [one.trial for one in found.fast], [one.trial for one in found.since]


def test_without_simplifications_every_keep_is_the_fastest() -> None:
    assert lineage() == ([1], [])
    assert lineage(step(2, "keep", 1.1), step(5, "keep", 1.006)) == ([1, 2, 5], [])


def test_a_simplification_leaves_the_fastest_where_it_is_and_the_next_takes_its_place() -> None:
    first, second = step(3, "simpler", 0.997), step(4, "simpler", 1.002)
    assert lineage(step(2, "keep", 1.1), first) == ([1, 2], [3])
    assert lineage(step(2, "keep", 1.1), first, second) == ([1, 2], [4])


def test_what_comes_after_a_simplification_is_the_fastest_only_when_it_is_shown_to_be() -> None:
    simpler = step(3, "simpler", 0.993)
    assert lineage(step(2, "keep", 1.1), simpler, step(4, "keep", 1.006)) == ([1, 2], [3, 4])
    assert lineage(step(2, "keep", 1.1), simpler, step(4, "keep", 1.03)) == ([1, 2, 3, 4], [])
    assert lineage(step(2, "keep", 1.1), step(3, "simpler", 1.02)) == ([1, 2, 3], [])


def test_a_baseline_begins_anew_and_a_step_without_figures_promotes_nobody() -> None:
    assert lineage(step(2, "keep", 1.1), Precedent(3, "baseline")) == ([3], [])
    assert lineage(Precedent(2, "keep"), Precedent(3, "simpler"), Precedent(4, "keep")) == ([1, 2], [3, 4])


@pytest.mark.parametrize("seed", range(5))
def test_simplifications_never_add_up_to_a_loss(seed: int) -> None:
    """Two hundred of them, each a little slower than the incumbent, measured with noise and kept by the rule."""
    draw = random.Random(seed)
    true = {1: 0.0}  # log of the time, by trial
    found = Lineage[Precedent]().after(BASELINE)
    for number in range(2, 202):
        incumbent, fastest = found.steps[-1].trial, found.fast[-1].trial
        candidate = true[incumbent] + draw.uniform(0, 0.006)
        seen = candidate - true[fastest] + draw.gauss(0, 0.0025)
        if seen + 0.005 < math.log(1.01):
            true[number] = candidate
            found = found.after(step(number, "simpler", math.exp(-seen)))
    assert len(true) > 2, "some were kept"
    assert true[found.steps[-1].trial] < 0.02
