"""The incumbent beside the candidate and without it: what is refused, what is not, and that it is alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import pytest

from pytest_lance_ar.speed import alone
from pytest_lance_ar.speed.alone import compared, time_alone
from pytest_lance_ar.speed.duel import MIN_ROUNDS
from pytest_lance_ar.speed.preparation import Preparation
from pytest_lance_ar.speed.statistics import LOOKS
from pytest_lance_ar.speed.yardstick import Yardstick
from pytest_lance_ar.trial.evidence import RivalRounds
from pytest_lance_ar.trial.kernel_source import Kernel
from tests.builders import INCUMBENT, speed_of, trial_of

TRIALS = 3000


def refused_share(
    rng: np.random.Generator, *, noise: float, slowdown: float = 1.0, placement: float = 0.01, drift: float = 0.0
) -> float:
    """The share of keeps that are refused. noise: sd of a round; placement: sd of a phase; drift: sd of the host."""
    refused = 0
    for _ in range(TRIALS):
        host = rng.normal(0, drift)
        beside = math.log(slowdown) + rng.normal(0, noise, min(LOOKS) * MIN_ROUNDS)
        beside += np.repeat(rng.normal(0, placement, min(LOOKS)), MIN_ROUNDS)
        there = host + np.repeat(rng.normal(0, placement, 2), alone.ROUNDS)
        found = compared(list(beside), list(there + rng.normal(0, noise, 2 * alone.ROUNDS)), 1.0, math.exp(host))
        refused += found.slowdown > found.explained
    return refused / TRIALS


@pytest.mark.parametrize("noise", [0.005, 0.02, 0.06])
@pytest.mark.parametrize("drift", [0.0, 0.05])
def test_an_honest_gain_is_refused_in_less_than_one_of_a_hundred(noise: float, drift: float) -> None:
    assert refused_share(np.random.default_rng(1), noise=noise, drift=drift) < 0.01


@pytest.mark.parametrize(("noise", "slowdown"), [(0.005, 1.08), (0.02, 1.12), (0.06, 1.25)])
def test_a_candidate_that_slows_its_rival_down_is_refused(noise: float, slowdown: float) -> None:
    assert refused_share(np.random.default_rng(2), noise=noise, slowdown=slowdown) > 0.95


def test_a_gain_that_is_none_is_refused_whatever_the_noise() -> None:
    """A candidate as slow as the incumbent that is kept beside it: its whole gain is the slowdown."""
    found = compared([math.log(120.0)] * 12, [math.log(100.0)] * 24, 1.0, 1.0)
    assert found.slowdown == pytest.approx(1.2)
    assert found.explained == pytest.approx(math.exp(alone.OTHERS))


def test_what_the_yardstick_shows_of_the_host_is_explained_either_way() -> None:
    for after in (0.8, 1.25):
        found = compared([math.log(125.0)] * 12, [math.log(100.0)] * 24, 1.0, after)
        assert found.drift == pytest.approx(1.25)
        assert found.slowdown < found.explained


@dataclass(eq=False)
class FakeSide:
    kernel: Kernel
    renewed: int = 0

    def renew(self, workloads: object, warmups: object) -> float:
        self.renewed += 1
        return 0.0


@dataclass
class FakePreparation:
    log: list[str]
    workloads: tuple[None, ...] = (None,) * 9

    @contextmanager
    def others(self, *kernels: Kernel) -> Iterator[list[FakeSide]]:
        self.log += ["all ended", *(kernel.name for kernel in kernels)]
        yield [FakeSide(kernel) for kernel in kernels]
        self.log.append("all ended")


def test_the_duel_is_compared_with_new_processes_of_the_incumbent_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the incumbent took in the duel itself: a candidate that behaves when it is looked at gains nothing."""
    preparation, blocks = FakePreparation([]), (2, 3, 4, 5, 6, 2, 3, 4, 5)

    def time_round(pair: tuple[FakeSide, FakeSide], _: object, calls: object, *__: object) -> tuple[Any, ...]:
        assert [side.kernel for side in pair] == [INCUMBENT, INCUMBENT]
        assert [side.renewed for side in pair] == [1, 1]
        assert calls == blocks
        preparation.log.append("timed")
        return np.full((9, 2), math.log(1.0)), np.full((9, 2), math.log(1.1)), []

    monkeypatch.setattr(alone, "time_round", time_round)
    speed = replace(speed_of(0.8), rival=RivalRounds((math.log(1.3),) * 12, blocks))
    trial = replace(trial_of(), core=None)
    found = time_alone(trial, speed, cast(Preparation, preparation), Yardstick(), 1.0)
    name = INCUMBENT.name
    assert list(dict.fromkeys(preparation.log)) == ["all ended", name, "timed"]
    assert preparation.log[-1] == "all ended"
    assert found.slowdown == pytest.approx(1.3 / math.sqrt(1.1))


def test_the_yardstick_reads_nanoseconds() -> None:
    yardstick = Yardstick()
    assert 1_000 < yardstick.read_ns(None) < 100_000_000
