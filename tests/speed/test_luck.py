"""A gain in new pairs of processes: what their luck lets through, and that they are new."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from pytest_lance_ar.speed import alone, luck
from pytest_lance_ar.speed.luck import PAIRS, of_pairs, time_in_new_processes
from pytest_lance_ar.speed.preparation import Preparation
from pytest_lance_ar.trial.kernel_source import Kernel
from tests.builders import CANDIDATE, INCUMBENT, trial_of

TRIALS = 2000


def shown_share(gain: float, sd: float) -> float:
    """How often a gain is shown, as a share, where so much is drawn with each pair of processes."""
    rng = np.random.default_rng(1)
    return sum(of_pairs(list(rng.normal(-gain, sd, PAIRS))).interval.high < 1 for _ in range(TRIALS)) / TRIALS


@pytest.mark.parametrize("sd", [0.002, 0.018, 0.1])
def test_luck_of_whatever_size_is_shown_in_one_of_twenty_cases(sd: float) -> None:
    assert shown_share(0.0, sd) == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize(("gain", "sd", "power"), [(0.01, 0.004, 0.99), (0.02, 0.008, 0.99), (0.03, 0.018, 0.95)])
def test_a_gain_is_shown(gain: float, sd: float, power: float) -> None:
    assert shown_share(gain, sd) > power


def test_the_interval_is_of_the_pairs_alone() -> None:
    found = of_pairs([-0.02, -0.02, -0.02])
    assert found.ratio == found.interval.low == found.interval.high == pytest.approx(np.exp(-0.02))
    assert found.pairs == 3


@dataclass
class Processes:
    """A preparation that tells what it started."""

    started: list[tuple[Kernel, ...]] = field(default_factory=list)
    alive: int = 0
    seed: int = 1
    workloads: tuple[object, ...] = ()

    @contextmanager
    def others(self, *kernels: Kernel) -> Iterator[tuple[int, ...]]:
        assert not self.alive
        self.started.append(kernels)
        self.alive = 2
        yield len(self.started), len(self.started)
        self.alive = 0


def test_each_pair_is_of_new_processes_and_its_answers_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    processes, checked = Processes(), []

    def timed_rounds(pair: tuple[int, int], bout: Any, most: int, *_: object) -> NDArray[np.float64]:
        assert processes.alive
        bout.answers.append(pair[0])
        return np.tile([1.0, 1.02 + 0.001 * pair[0]], (most, 1))

    monkeypatch.setattr(alone, "timed_rounds", timed_rounds)
    monkeypatch.setattr(luck, "check_answers", lambda bout, *_: checked.extend(bout.answers))
    trial = replace(trial_of(incumbent=INCUMBENT), core=None)
    found = time_in_new_processes(trial, cast(Preparation, processes), transport_ns=0.0)
    assert processes.started == [(CANDIDATE, INCUMBENT)] * PAIRS
    assert sorted(set(checked)) == list(range(1, PAIRS + 1))
    assert found.ratio == pytest.approx(np.exp(-0.0235))
    assert found.interval.low < found.ratio < found.interval.high < 1
