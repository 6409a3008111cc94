"""Workloads built in processes of their own are those that would be built here, and are given up at once."""

from __future__ import annotations

import os

import numpy as np
import pytest

from pytest_lance_ar.speed.quarry import Cancelled, Quarry
from pytest_lance_ar.targets.common.pq.cases import DrawnCase
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.pq_l2.metric import L2
from pytest_lance_ar.targets.pq_l2.target import TARGET, PqL2
from pytest_lance_ar.targets.protocol import Combo, Instance


class Slow(PqL2):
    """A target that is not known to other processes, and does not end by itself."""

    built = 0

    def workload(self, combo: Combo, queries: int, seed: int) -> Instance:
        self.built += 1
        return DrawnCase(L2, PqShape(4, 2, 3), "gaussian", seed, n=5, k=2).instance()


@pytest.mark.parametrize("hurried", [False, True])
def test_workloads_are_the_targets(hurried: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [TARGET.workload(combo, 2, 5) for combo in TARGET.combos[:2]]
    monkeypatch.setattr(type(TARGET), "combos", TARGET.combos[:2])
    quarry = Quarry(TARGET, 2, 5)
    if hurried:
        quarry.hurry()
    monkeypatch.setattr(type(TARGET), "workload", lambda *_: pytest.fail("it was built here"))
    try:
        found = quarry.wait(lambda: 100.0)
    finally:
        quarry.close()
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.arrays["codebook"], other.arrays["codebook"])
        pack = one.packs[0]
        np.testing.assert_array_equal(pack.arrays["codes"], other.packs[0].arrays["codes"])
        pack.foresee([0, 1])
        wrong = {"table": np.zeros(pack.outputs["table"][1], np.float32)}
        assert pack.check(1, {**wrong, "ids": np.arange(10), "distances": np.zeros(10, np.float32)}, 0.0) is not None


def test_a_target_that_no_other_process_knows_is_served_here() -> None:
    slow = Slow()
    assert len(Quarry(slow, 1, 0).wait(lambda: 100.0)) == len(TARGET.combos) == slow.built


def test_who_waits_gives_up_in_time() -> None:
    quarry = Quarry(TARGET, 3000, 1)
    with pytest.raises(TimeoutError):
        quarry.wait(lambda: 0.05)
    quarry.close()
    with pytest.raises(Cancelled):
        quarry.wait(lambda: 100.0)


def test_a_target_that_is_slow_here_is_given_up_between_two_workloads() -> None:
    slow = Slow()
    left = iter([1.0, 1.0])
    with pytest.raises(TimeoutError):
        Quarry(slow, 1, 0).wait(lambda: next(left, 0.0))
    assert slow.built < len(TARGET.combos)


def test_in_a_hurry_both_ends_are_built_at_once_and_the_rest_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(TARGET), "combos", TARGET.combos[:3])
    quarry = Quarry(TARGET, 2, 5)
    quarry.hurry()
    quarry.hurry()
    assert len(quarry.wait(lambda: 100.0)) == 3
    assert len(quarry._diggers) == 2
    quarry.close()
    quarry.hurry()
    assert len(quarry._diggers) == 2, "what is given up needs no hurry"
    assert all(digger.returncode is not None for digger in quarry._diggers)


def test_what_is_built_needs_no_hurry() -> None:
    """Not even while the process that built it is ending: what is begun then would run beside what is timed."""
    quarry = Quarry(TARGET, 2, 5)
    try:
        with quarry._changed:
            quarry._built = dict.fromkeys(range(len(TARGET.combos)), TARGET.stand_in(TARGET.combos[0]))
        quarry.hurry()
        assert len(quarry._diggers) == 1
    finally:
        quarry.close()


def test_a_builder_is_sent_to_a_core_until_it_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind its end its number may be another process's."""
    sent: list[tuple[int, set[int]]] = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, cores: sent.append((pid, cores)), raising=False)
    quarry, here = Quarry(TARGET, 2, 5), Quarry(Slow(), 1, 0)
    try:
        for one in (quarry, here):
            one.keep_to(None)
            one.keep_to(7)
    finally:
        quarry.close()
    quarry.keep_to(8)
    assert sent == [(quarry._diggers[0].pid, {7})]
