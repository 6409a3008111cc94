"""The steps of a call are told apart, combo by combo."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_lance_ar.speed.steps import with_steps
from pytest_lance_ar.targets.pq_l2.target import TARGET
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.kernel_source import Kernel
from tests.builders import combos_of, speed_of
from tests.kernels import SLOW_TABLE


def test_each_combo_has_the_share_of_every_step() -> None:
    combo = TARGET.combos[0]
    speed = speed_of(0.9, combos=combos_of(0.9)[:1])
    workloads = [TARGET.workload(combo, 15, seed=0)]
    kernel = Kernel("kernel.py", SLOW_TABLE.encode())
    told = with_steps(speed, kernel, TARGET, workloads, code=b"", core=None, deadline=Deadline.after(60))
    (figures,) = told.combos
    assert list(figures.steps) == ["table", "scan", "call"]
    assert sum(figures.steps.values()) == pytest.approx(1)
    assert figures.steps["table"] > 0.1
    assert replace(figures, steps=speed.combos[0].steps) == speed.combos[0]
