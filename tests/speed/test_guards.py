"""Guards are timed with real kernels in real processes; what the timings say is not looked at here, but simulated."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from pytest_lance_ar.host.parent import KernelFault, KernelHost
from pytest_lance_ar.speed import guards as room
from pytest_lance_ar.speed.guards import Bout, Plan, build, suspects, time_guards
from pytest_lance_ar.speed.sides import IncumbentFailed, Queries, Side
from pytest_lance_ar.targets.common.pq.guards import GuardWorkload
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.pq_l2.metric import L2
from pytest_lance_ar.targets.pq_l2.target import TARGET, PqL2
from pytest_lance_ar.targets.protocol import Guard, Instance
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.evidence import FaultKind, GuardEvidence
from pytest_lance_ar.trial.kernel_source import Kernel
from tests import kernels

PLAIN = kernels.PURE_PYTHON
PLAN = Plan(rounds=2, focus=1, focus_rounds=3, least=1)
WORKLOADS = (
    GuardWorkload(L2, PqShape(8, 2, 16), "uniform", seed=1, n=30, k=5),
    GuardWorkload(L2, PqShape(8, 2, 16), "clustered", seed=2, n=40, k=100, queries="foreign", code_sets=2),
)
Pairs = list[tuple[Side, Side]]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def pairs_of(stack: ExitStack, candidate: str, incumbent: str = PLAIN, count: int = 1) -> Pairs:
    def side(source: str, is_candidate: bool) -> Side:
        host = stack.enter_context(KernelHost(TARGET.driver, core=None, deadline=Deadline.after(100)))
        one = Side(Kernel("kernel.py", source.encode()), host, is_candidate=is_candidate)
        one.load()
        return one

    return [(side(candidate, True), side(incumbent, False)) for _ in range(count)]


def timed(pairs: Pairs, **options: object) -> GuardEvidence | None:
    given = {"guards": WORKLOADS, "plan": PLAN, **options}
    return time_guards(
        pairs,
        TARGET,
        transport_ns=1.0,
        core=None,
        deadline=Deadline.after(100),
        **given,  # type: ignore[arg-type]
    )


def test_guards_are_timed_on_every_pair_and_named(stack: ExitStack) -> None:
    said: list[str] = []
    evidence = timed(pairs_of(stack, PLAIN, count=2), progress=lambda text, *_: said.append(text))
    assert evidence is not None
    assert [guard.spec for guard in evidence.workloads] == [workload.spec for workload in WORKLOADS]
    assert [guard.name for guard in evidence.workloads] == [workload.name for workload in WORKLOADS]
    for guard in evidence.workloads:
        assert guard.interval.low < guard.ratio < guard.interval.high
        assert guard.candidate_ns / guard.incumbent_ns == pytest.approx(guard.ratio)
    assert evidence.timed_queries > 2 * room.CHECKED // 2
    assert any("processes 2 of 2" in text for text in said)


def test_the_workloads_are_drawn_anew_each_time_and_not_with_a_seed_that_anybody_knew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seeds: list[int] = []

    class Asked(PqL2):
        def guards(self, seed: int) -> tuple[Guard, ...]:
            seeds.append(seed)
            return ()

    for _ in range(2):
        found = time_guards([], Asked(), transport_ns=1.0, core=None, deadline=Deadline.after(9))
        assert found is None, "a target without a family has nothing to time"
    assert len(set(seeds)) == 2
    assert max(seeds) > 2**40


def test_a_wrong_answer_on_a_guard_is_the_candidates_fault(stack: ExitStack) -> None:
    wrong = kernels.with_answer("ids, distance[ids] * (1 if count < 35 else np.float32(1.01))")
    with pytest.raises(KernelFault) as caught:
        timed(pairs_of(stack, wrong))
    failure = caught.value.failure
    assert failure.kind is FaultKind.WRONG_ANSWER
    assert WORKLOADS[1].spec in failure.where


def test_a_wrong_table_on_a_guard_is_found(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "KEPT_SHARE", 0.9)  # an eighth misses all tables of two workloads in 4% of runs
    wrong = kernels.changed(
        PLAIN,
        "        distance = np.zeros(count, np.float32)\n",
        "        distance = np.zeros(count, np.float32)\n        table, self.out[:] = table.copy(), 0\n",
    )
    wrong = kernels.changed(wrong, "        out[:] = 0\n", "        out[:] = 0\n        self.out = out\n")
    with pytest.raises(KernelFault, match="distance_table"):
        timed(pairs_of(stack, wrong))


def test_an_incumbent_that_fails_on_a_guard_is_not_the_candidates_fault(stack: ExitStack) -> None:
    broken = kernels.with_answer("ids, distance[ids] / (1 if count < 35 else None)")
    with pytest.raises(IncumbentFailed):
        timed(pairs_of(stack, PLAIN, broken))


class FakePack:
    """Takes its side's time, and remembers what it was asked."""

    def __init__(self, asked: list[tuple[str, int, int]], name: str, code_set: int) -> None:
        self.asked, self.name, self.code_set = asked, name, code_set
        self.instance = SimpleNamespace(bulky=("table",))
        self.outputs = {"table": np.zeros(2), "ids": np.zeros(2)}

    def call(self, number: int) -> float:
        self.asked.append((self.name, self.code_set, number))
        return 2000.0 if self.name == "candidate" else 1000.0


def fake_pair(asked: list[tuple[str, int, int]]) -> tuple[Side, Side]:
    def side(name: str) -> Side:
        host = SimpleNamespace(build=lambda _instance: 0, drop=lambda *_: asked.append((name, -1, -1)))
        host.pack = lambda _kernel, pack: (FakePack(asked, name, pack), 0.0)
        return Side(Kernel("k", b""), cast("KernelHost", host), is_candidate=name == "candidate")

    return side("candidate"), side("incumbent")


def bout_of(code_sets: int) -> Bout:
    instance = cast("Instance", SimpleNamespace(packs=list(range(code_sets))))
    return Bout(WORKLOADS[0], instance, Queries(10_000))


def test_an_epoch_is_interleaved_and_asks_both_sides_the_same_new_queries() -> None:
    asked: list[tuple[str, int, int]] = []
    bouts = [bout_of(2)]
    room.epoch(fake_pair(asked), bouts, 8, Plan(least=8), 0.0, Deadline.after(9), random.Random(1))
    (logs,) = bouts[0].logs
    np.testing.assert_allclose(logs, np.log([[2000, 1000]] * 16))
    by_side = {name: [one[1:] for one in asked if one[0] == name] for name in ("candidate", "incumbent")}
    assert by_side["candidate"] == by_side["incumbent"]
    calls = [number for code_set, number in by_side["candidate"] if code_set >= 0]
    assert len(set(calls)) == len(calls), "no query comes twice"
    assert all(code_set == number % 2 for code_set, number in by_side["candidate"][:-1]), "code sets take turns"
    assert asked[-1][1] == asked[-2][1] == -1, "what was packed is dropped"
    names = "".join(name[0] for name, code_set, _ in asked if code_set >= 0)[2 * 4 :][:: room.MAX_CALLS_PER_BLOCK + 1]
    rounds = {names[i : i + 4] for i in range(0, len(names), 4)}
    assert rounds == {"ciic", "icci"}


def test_an_epoch_that_takes_long_ends_early_but_not_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(0, 10_000, 10))
    monkeypatch.setattr(room, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    bouts = [bout_of(1)]
    room.epoch(fake_pair([]), bouts, 8, Plan(least=3, seconds=1.0), 0.0, Deadline.after(99), random.Random(1))
    assert len(bouts[0].logs[0]) == 2 * 3


def test_those_that_look_slowest_are_looked_at_again() -> None:
    def bout(log: float) -> Bout:
        one = bout_of(1)
        one.logs = [np.column_stack([np.full(12, log), np.zeros(12)])] * 2
        return one

    fast, fine, slow, slower = bouts = [bout(log) for log in (-0.5, -0.1, 0.04, 0.2)]
    assert suspects(bouts, 5) == [slower, slow]
    assert suspects(bouts, 1) == [slower]
    assert suspects([fast, fine], 5) == []


def test_what_is_built_has_enough_queries_for_all_that_may_be_asked() -> None:
    plan = Plan(rounds=2, focus=5, focus_rounds=3)
    bouts = build(WORKLOADS, plan)
    assert [len(pack.calls) for bout in bouts for pack in bout.instance.packs] == [plan.calls] * 3
    most = 2 * (2 * 2 * room.WARMUP_CALLS + 2 * (1 + room.MAX_CALLS_PER_BLOCK) * (2 + 3))
    assert plan.calls >= most


def test_guards_have_no_more_than_the_seconds_that_the_gate_promises() -> None:
    plan = room.PLAN
    assert 4 * plan.seconds <= 4.0, "four epochs, besides building, packing and checking"
