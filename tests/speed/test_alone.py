"""The incumbent beside the candidate and without it: what is refused, what is not, and that it is alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from pytest_lance_ar.host.parent import KernelFault
from pytest_lance_ar.speed import alone
from pytest_lance_ar.speed.alone import compared, time_alone
from pytest_lance_ar.speed.preparation import Preparation
from pytest_lance_ar.speed.sides import Answer, Side
from pytest_lance_ar.speed.yardstick import Yardstick
from pytest_lance_ar.targets.mismatch import Mismatch
from pytest_lance_ar.trial.kernel_source import Kernel
from pytest_lance_ar.trial.verdict import OTHERS, shows_again
from tests.builders import CANDIDATE, trial_of

TRIALS = 1000


def refused_share(
    rng: np.random.Generator,
    *,
    noise: float,
    slowdown: float = 1.0,
    placement: float = 0.01,
    drift: float = 0.0,
    gain: float = 0.05,
    shown: float = 1.0,
    spikes: float = 0.0,
) -> float:
    """The share of keeps that are refused. noise: sd of a round; placement: sd of a phase; drift: sd of the host;
    gain: in the duel, of which so much is shown once more; spikes: how many rounds something else hits."""

    def rounds(count: int) -> NDArray[np.float64]:
        return rng.normal(0, noise, count) + (rng.random(count) < spikes) * rng.exponential(0.15, count)

    refused = 0
    for _ in range(TRIALS):
        host = rng.normal(0, drift)
        beside = math.log(slowdown) + rng.normal(0, placement) + rounds(alone.ROUNDS)
        candidate = -shown * gain + rng.normal(0, placement) + rounds(alone.ROUNDS)
        there = host + np.repeat(rng.normal(0, placement, 2), alone.ROUNDS)
        there += rounds(2 * alone.ROUNDS)
        found = compared(np.stack([candidate, beside], axis=1), there.reshape(2, -1).T, 1.0, math.exp(host))
        refused += found.slowdown > found.explained or not shows_again(math.exp(gain), found)
    return refused / TRIALS


@pytest.mark.parametrize("noise", [0.005, 0.02, 0.06])
@pytest.mark.parametrize("drift", [0.0, 0.05])
@pytest.mark.parametrize("spikes", [0.0, 0.2])
def test_an_honest_gain_is_refused_in_less_than_one_of_a_hundred(noise: float, drift: float, spikes: float) -> None:
    assert refused_share(np.random.default_rng(1), noise=noise, drift=drift, spikes=spikes) < 0.01


@pytest.mark.parametrize(("noise", "slowdown"), [(0.005, 1.08), (0.02, 1.12), (0.06, 1.25)])
@pytest.mark.parametrize("spikes", [0.0, 0.2])
def test_a_candidate_that_slows_its_rival_down_is_refused(noise: float, slowdown: float, spikes: float) -> None:
    assert refused_share(np.random.default_rng(2), noise=noise, slowdown=slowdown, spikes=spikes) > 0.9


@pytest.mark.parametrize("noise", [0.005, 0.02, 0.06])
@pytest.mark.parametrize("gain", [0.3, 1.2])
def test_a_large_gain_may_show_smaller_by_a_tenth_of_it(noise: float, gain: float) -> None:
    rng = np.random.default_rng(3)
    assert refused_share(rng, noise=noise, gain=gain, shown=0.9) < 0.01
    assert refused_share(rng, noise=noise, gain=gain, shown=0.3) > 0.9


def logs(first_ns: float, second_ns: float) -> NDArray[np.float64]:
    return np.log([[first_ns, second_ns]] * 12)


def test_a_gain_that_is_none_is_refused_whatever_the_noise() -> None:
    """A candidate as slow as the incumbent that is kept beside it: its whole gain is the slowdown."""
    found = compared(logs(120.0, 120.0), logs(100.0, 100.0), 1.0, 1.0)
    assert found.slowdown == pytest.approx(1.2)
    assert found.explained == pytest.approx(math.exp(OTHERS))


def test_a_candidate_that_behaves_when_it_is_looked_at_shows_no_gain_then() -> None:
    found = compared(logs(100.0, 100.0), logs(100.0, 100.0), 1.0, 1.0)
    assert found.slowdown < found.explained
    assert found.gain * found.error == pytest.approx(math.exp(OTHERS))


def test_a_candidate_that_is_now_fast_and_now_slow_explains_no_more_by_it() -> None:
    unsteady = np.log([[50.0, 125.0], [250.0, 125.0]] * 6)
    found = compared(unsteady, logs(100.0, 100.0), 1.0, 1.0)
    assert found.error == pytest.approx(math.exp(alone.MOST_NOISE + OTHERS))
    shaken = np.log([[100.0, 100.0], [100.0, 200.0]] * 6)
    found = compared(shaken, logs(100.0, 100.0), 1.0, 1.0)
    assert found.slowdown > found.explained


def test_what_the_yardstick_shows_of_the_host_is_explained_either_way() -> None:
    for after in (0.8, 1.25):
        found = compared(logs(100.0, 125.0), logs(100.0, 100.0), 1.0, after)
        assert found.drift == pytest.approx(1.25)
        assert found.slowdown < found.explained


class FakePack:
    def foresee(self, numbers: object) -> None:
        pass

    def check(self, *_: object) -> Mismatch | None:
        return None


@dataclass(frozen=True)
class FakeWorkload:
    packs: tuple[FakePack, ...] = (FakePack(),)


@dataclass(eq=False)
class FakeSide:
    kernel: Kernel
    renewed: int = 0
    is_candidate: bool = False

    def renew(self, workloads: object, warmups: object) -> float:
        self.renewed += 1
        return 0.0


@dataclass
class FakePreparation:
    log: list[str]
    seed: int = 1
    workloads: tuple[FakeWorkload, ...] = (FakeWorkload(),) * 9

    @contextmanager
    def others(self, *kernels: Kernel) -> Iterator[list[FakeSide]]:
        self.log.append("all ended")
        yield [FakeSide(kernel, is_candidate=kernel is CANDIDATE) for kernel in kernels]
        self.log.append("all ended")


@pytest.fixture
def preparation(monkeypatch: pytest.MonkeyPatch) -> FakePreparation:
    """Of a candidate that slows its incumbent down."""
    preparation = FakePreparation([])

    def time_round(pair: tuple[FakeSide, FakeSide], *_: object) -> tuple[Any, ...]:
        assert [side.renewed for side in pair] == [1, 1]
        kernels = [side.kernel for side in pair]
        preparation.log.append("beside" if CANDIDATE in kernels else "alone")
        slow = math.log(1.3 if CANDIDATE in kernels else 1.0)
        answers = [Answer(cast(Side, pair[0]), 0, 7, {}, checked=CANDIDATE in kernels)]
        return np.zeros((9, 2)), np.full((9, 2), slow), answers

    monkeypatch.setattr(alone, "time_round", time_round)
    return preparation


TRIAL = replace(trial_of(), core=None)


def test_no_process_that_met_the_candidate_is_left_when_the_incumbent_is_alone(preparation: FakePreparation) -> None:
    found = time_alone(TRIAL, cast(Preparation, preparation), Yardstick(), 1.0, transport_ns=0.0)
    phases = [what for what, before in zip(preparation.log, ["", *preparation.log], strict=False) if what != before]
    assert phases == ["all ended", "beside", "all ended", "alone", "all ended"]
    assert found.slowdown == pytest.approx(1.3)
    assert found.gain == pytest.approx(1.3)


def test_what_the_candidate_answers_here_is_checked(
    preparation: FakePreparation, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = Mismatch("ids", (0,), "1", "2")
    monkeypatch.setattr(FakePack, "check", lambda *_: wrong)
    with pytest.raises(KernelFault, match="ids"):
        time_alone(TRIAL, cast(Preparation, preparation), Yardstick(), 1.0, transport_ns=0.0)


def test_the_yardstick_reads_nanoseconds() -> None:
    yardstick = Yardstick()
    assert 1_000 < yardstick.read_ns(None) < 100_000_000
