"""What a duel needs is made where nobody waits for the core."""

from __future__ import annotations

import os
import threading

import pytest

from pytest_lance_ar.host import platform
from pytest_lance_ar.speed import preparation
from pytest_lance_ar.speed.foundry import Foundry
from pytest_lance_ar.speed.preparation import Preparation
from pytest_lance_ar.speed.quarry import Quarry
from pytest_lance_ar.targets.pq_l2.target import TARGET
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.kernel_source import Kernel

CANDIDATE, INCUMBENT = Kernel("candidate.py", b"pass"), Kernel("incumbent.py", b"...")
CORE = platform.timing_core()


@pytest.mark.skipif(CORE is None or len(os.sched_getaffinity(0)) < 2, reason="there is one core to choose from")
def test_workloads_are_built_off_the_core_on_which_the_candidate_is_compiled_and_on_it_from_then_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quarries: list[Quarry] = []
    compiled: list[tuple[Kernel, set[int]]] = []
    over = threading.Event()

    class Noted(Quarry):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)  # type: ignore[arg-type]
            quarries.append(self)

    def forge(_self: Foundry, kernel: Kernel) -> None:
        compiled.append((kernel, os.sched_getaffinity(quarries[0]._diggers[0].pid)))
        if len(compiled) == 2:
            over.set()

    monkeypatch.setattr(preparation, "Quarry", Noted)
    monkeypatch.setattr(Foundry, "forge", forge)
    one = Preparation(TARGET, CANDIDATE, INCUMBENT, queries=3000, core=CORE, deadline=Deadline.after(100))
    try:
        assert over.wait(100)
    finally:
        one.close()
    (first, beside), (second, behind) = compiled
    assert (first, second) == (CANDIDATE, INCUMBENT)
    assert CORE not in beside
    assert behind == {CORE}
