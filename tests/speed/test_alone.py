"""The incumbent beside the candidate and without it: what is refused, what is not, and that it is alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pytest

from pytest_lance_ar.speed import alone
from pytest_lance_ar.speed.alone import compared, time_alone
from pytest_lance_ar.speed.preparation import Preparation
from pytest_lance_ar.speed.yardstick import Yardstick

TRIALS = 3000


def refused_share(
    rng: np.random.Generator, *, noise: float, slowdown: float = 1.0, placement: float = 0.01, drift: float = 0.0
) -> float:
    """The share of keeps that are refused. noise: sd of a round; placement: sd of a phase; drift: sd of the host."""
    refused = 0
    for _ in range(TRIALS):
        host = rng.normal(0, drift)
        beside = math.log(slowdown) + rng.normal(0, noise, 2 * alone.ROUNDS)
        beside += np.repeat(rng.normal(0, placement, 2), alone.ROUNDS)
        there = host + np.repeat(rng.normal(0, placement, 2), 2 * alone.ROUNDS)
        found = compared(list(beside), list(there + rng.normal(0, noise, 4 * alone.ROUNDS)), 1.0, math.exp(host))
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
    name: str
    log: list[str]
    dead: bool = False
    host: Any = field(init=False)

    def __post_init__(self) -> None:
        self.host = self

    def close(self) -> None:
        self.dead = True
        self.log.append(f"{self.name} ended")

    def renew(self, workloads: object, warmups: object) -> float:
        assert not self.dead
        return 0.0


def test_no_process_of_the_candidate_is_left_when_the_incumbent_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    pairs = [tuple(FakeSide(f"{side}{number}", log) for side in ("candidate", "incumbent")) for number in (1, 2)]

    def time_round(pair: tuple[FakeSide, FakeSide], *_: object) -> tuple[Any, Any, list[object]]:
        assert not any(side.dead for side in pair)
        log.append(" ".join(side.name for side in pair))
        slow = any("candidate" in side.name for side in pair)
        return np.zeros((9, 2)), np.full((9, 2), math.log(1.3 if slow else 1.0)), []

    monkeypatch.setattr(alone, "time_round", time_round)

    @dataclass
    class Fake:
        pairs: list[Any]
        workloads: list[None]

    preparation = cast(Preparation, Fake(pairs, [None] * 9))
    found = time_alone(preparation, Yardstick(), 1.0, transport_ns=0.0, core=None)
    kinds = list(dict.fromkeys(log))
    assert set(kinds[:2]) == {"candidate1 incumbent1", "candidate2 incumbent2"}
    assert kinds[2:] == ["candidate1 ended", "candidate2 ended", "incumbent1 incumbent2"]
    assert found.slowdown > 1.1


def test_the_yardstick_reads_nanoseconds() -> None:
    yardstick = Yardstick()
    assert 1_000 < yardstick.read_ns(None) < 100_000_000
