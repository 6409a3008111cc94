"""The gate's own measurement, with synthetic duels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from pytest_lance_ar.speed.handicap import CLOCK_NS, handicapped, twin
from pytest_lance_ar.speed.selftest import CYCLES, GAINS_PCT, selftest
from pytest_lance_ar.targets.pq_l2.target import PqL2
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.evidence import SpeedEvidence
from pytest_lance_ar.trial.kernel_source import Kernel
from pytest_lance_ar.trial.trial import Trial
from tests.builders import speed_of, trial_of

TRIAL = replace(trial_of(), deadline=Deadline.after(1e6))


def duels(resolved_pct: float, false_keeps: int = 0) -> tuple[list[Trial], Callable[[Trial], SpeedEvidence]]:
    """A measurement that sees every gain from `resolved_pct` on, and none below but so many false ones."""
    seen: list[Trial] = []

    def measure(trial: Trial) -> SpeedEvidence:
        number = len(seen)
        seen.append(trial)
        gain = GAINS_PCT[number % len(GAINS_PCT)]
        false = gain == 0 and sum(1 for i in range(number) if GAINS_PCT[i % len(GAINS_PCT)] == 0) < false_keeps
        ratio = 1 / (1 + gain / 100)
        return speed_of(ratio, low=ratio * 0.99, high=0.999 if false or gain >= resolved_pct else 1.001)

    return seen, measure


@pytest.mark.parametrize(("resolved", "smallest"), [(1, "1"), (2, "2"), (3, "3"), (4, "none of the above")])
def test_the_smallest_gain_is_the_one_that_is_always_kept(resolved: int, smallest: str) -> None:
    seen, measure = duels(resolved)
    done = selftest(TRIAL, lambda *_: None, measure)
    text = done.as_text()
    assert f"smallest_gain_pct:     {smallest}\n" in text
    assert f"false_keeps:           0 of {2 * CYCLES}\n" in text
    assert "noise_floor_pct:       0.3\n" in text
    assert len(seen) == len(GAINS_PCT) * CYCLES
    assert len({trial.candidate.sha256 for trial in seen}) == len(seen)


def test_both_kernels_of_a_gain_have_what_it_costs_to_wait() -> None:
    seen, measure = duels(1)
    selftest(replace(TRIAL, deadline=Deadline.after(-1)), lambda *_: None, measure)
    for trial, gain in zip(seen, GAINS_PCT, strict=True):
        assert trial.incumbent is not None
        both = [kernel.source.decode() for kernel in (trial.candidate, trial.incumbent)]
        assert ["_Handicapped" in source for source in both] == [gain > 0] * 2
        assert ["perf_counter_ns" in source for source in both] == [False, gain > 0]


def test_false_keeps_are_counted() -> None:
    _, measure = duels(1, false_keeps=3)
    assert "false_keeps:           3 of 8\n" in selftest(TRIAL, lambda *_: None, measure).as_text()


def test_the_budget_ends_it_after_a_whole_cycle() -> None:
    seen, measure = duels(1)
    selftest(replace(TRIAL, deadline=Deadline.after(-1)), lambda *_: None, measure)
    assert len(seen) == len(GAINS_PCT)


def test_a_twin_is_the_same_kernel_with_another_hash() -> None:
    kernel = Kernel("kernel.py", b"class PqKernel: ...\n")
    assert twin(kernel, 1).sha256 not in (kernel.sha256, twin(kernel, 2).sha256)
    namespace: dict[str, Any] = {}
    exec(twin(kernel, 1).source, namespace)
    assert "PqKernel" in namespace


class Clock:
    now = 0

    def perf_counter_ns(self) -> int:
        self.now += 10
        return self.now


def test_a_kernel_of_one_step_is_handicapped_as_well() -> None:
    class Other(PqL2):
        kernel_class = "OtherKernel"
        steps: ClassVar[Mapping[str, str]] = {"search": "search"}

    source = b"class OtherKernel:\n    def search(self, a, b):\n        clock.now += 100_000\n        return a + b\n"
    clock = Clock()
    namespace: dict[str, Any] = {"clock": clock}
    exec(handicapped(Kernel("k.py", source), 0.03, Other()).source, namespace)
    namespace["_now"] = clock.perf_counter_ns
    assert namespace["OtherKernel"]().search(1, 2) == 3
    assert clock.now == pytest.approx(103_000, rel=0.005)


@pytest.mark.parametrize("share", [0, 0.005, 0.02])
def test_a_handicapped_kernel_takes_so_much_longer(share: float) -> None:
    source = b"""
class PqKernel:
    def distance_table(self, query, out):
        clock.now += 30_000

    def probe_top_k(self, table, codes, k):
        clock.now += 70_000
        return "the answer"
"""

    clock = Clock()
    namespace: dict[str, Any] = {"clock": clock}
    exec(handicapped(Kernel("k.py", source), share, TRIAL.target).source, namespace)
    if share:
        namespace["_now"] = clock.perf_counter_ns
    kernel = namespace["PqKernel"]()
    for _ in range(2):  # as a kernel that warms itself up does
        kernel.probe_top_k(None, None, 1)
        assert clock.now < 70_100
        clock.now = 0
    kernel.distance_table(None, None)
    assert kernel.probe_top_k(None, None, 1) == "the answer"
    assert clock.now == pytest.approx(100_000 * (1 + share) - (CLOCK_NS if share else 0), rel=0.0005)
