"""The steps of a call are told apart, combo by combo."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, cast

import numpy as np
import pytest

from pytest_lance_ar.host.parent import Pack
from pytest_lance_ar.speed.stages_driver import STAGES
from pytest_lance_ar.speed.steps import steps_of, with_steps
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


class Disturbed:
    """A pack of which two calls in three wait for somebody."""

    outputs: ClassVar = {"stages": np.zeros(STAGES, np.int64)}

    def call(self, i: int) -> int:
        waited = 50_000 if i % 3 else 0
        self.outputs["stages"][:2] = 3_000 + i, 6_000 + waited // 2
        return 11_000 + i + waited


def test_calls_that_others_disturb_do_not_count() -> None:
    steps = steps_of(cast("Pack", Disturbed()), range(12), TARGET, 1_000.0)
    assert steps == pytest.approx({"table": 3_004.5, "scan": 6_000, "call": 1_000})
