"""Duels of real kernels on a small target: what is asked, what is counted, and whose fault a fault is."""

from __future__ import annotations

import math
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from pytest_lance_ar.host import parent
from pytest_lance_ar.host.parent import KernelFault, KernelHost, Pack
from pytest_lance_ar.speed import duel as room
from pytest_lance_ar.speed.duel import QUERIES, duel, evidence_of
from pytest_lance_ar.speed.preparation import Preparation
from pytest_lance_ar.speed.sides import WARMUP_CALLS, Answer, IncumbentFailed, Queries, Side, time_round
from pytest_lance_ar.speed.statistics import FUTILITY_LOOKS, LOOKS, Outcome, Stage
from pytest_lance_ar.targets.common import inputs
from pytest_lance_ar.targets.common.pq import cases
from pytest_lance_ar.targets.common.pq.answers import instance_of
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.pq_l2.metric import L2
from pytest_lance_ar.targets.pq_l2.target import PqL2
from pytest_lance_ar.targets.protocol import Combo, Instance
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.evidence import FaultKind
from pytest_lance_ar.trial.kernel_source import Kernel
from tests import kernels

KERNEL = Kernel("kernel.py", kernels.PURE_PYTHON.encode())
SHAPE = PqShape(8, 2, 16)


class FakePack:
    """Answers nothing, in a microsecond, and remembers what it was asked."""

    instance = SimpleNamespace(bulky=("table",))

    def __init__(self) -> None:
        self.outputs = {"table": np.zeros(3), "ids": np.zeros(2)}
        self.asked: list[int] = []

    def call(self, query: int) -> float:
        self.asked.append(query)
        return 1000.0


class SmallTarget(PqL2):
    """The real target with small workloads."""

    combos = (Combo(str(SHAPE), "uniform"), Combo(str(SHAPE), "sparse"))

    def __init__(self) -> None:
        self.seeds: list[int] = []

    def workload(self, combo: Combo, queries: int, seed: int) -> Instance:
        self.seeds.append(seed)
        codebook, codes = cases.fixture(SHAPE, combo.distribution, seed, 200)
        drawn = inputs.vectors(combo.distribution, queries, SHAPE.dim, seed=seed, role="query")
        return instance_of(L2, SHAPE, codebook, [(codes, drawn)], 10)


@contextmanager
def prepared(candidate: Kernel, incumbent: Kernel = KERNEL, small: SmallTarget | None = None) -> Iterator[Preparation]:
    preparation = Preparation(
        small or SmallTarget(), candidate, incumbent, queries=QUERIES, core=None, deadline=Deadline.after(100)
    )
    try:
        yield preparation
    finally:
        preparation.close()


@pytest.fixture
def decided(monkeypatch: pytest.MonkeyPatch) -> Callable[[Outcome], None]:
    """Have every stage end at its first look with a given outcome: these tests are not about timings."""

    def decide(outcome: Outcome) -> None:
        monkeypatch.setattr(Stage, "outcome", lambda _self, *, last=False: outcome)

    return decide


def test_a_gain_is_confirmed_on_other_processes_and_other_data(
    decided: Callable[[Outcome], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    decided(Outcome.BETTER)
    pids: list[int] = []
    close = Side.close

    def closing(side: Side) -> None:
        assert len(side.packs) == len(SmallTarget.combos)
        pids.append(side.host.pid)
        close(side)

    monkeypatch.setattr(Side, "close", closing)
    said: list[str] = []
    small = SmallTarget()
    with prepared(KERNEL, small=small) as preparation:
        evidence = duel(
            preparation, core=None, deadline=Deadline.after(100), progress=lambda text, *_: said.append(text)
        )
    assert evidence.confirmed
    first, second = evidence.workload_seeds
    assert small.seeds == [first, first, second, second]
    assert first != second
    assert any("confirming" in line for line in said)
    assert len(set(pids)) == len(pids) == 4 * min(FUTILITY_LOOKS), "an epoch is two new processes"
    assert evidence.timed_queries > 0
    assert math.isfinite(evidence.pack_seconds)
    assert evidence.transport_ns > 0


def test_what_is_not_better_needs_no_confirmation(decided: Callable[[Outcome], None]) -> None:
    decided(Outcome.NOT_BETTER)
    with prepared(KERNEL) as preparation:
        evidence = duel(preparation, core=None, deadline=Deadline.after(100))
    assert not evidence.confirmed
    assert [combo.distribution for combo in evidence.combos] == ["uniform", "sparse"]
    assert evidence.geomean_ns == pytest.approx(np.sqrt(np.prod([combo.candidate_ns for combo in evidence.combos])))
    assert evidence.incumbent_geomean_ns == pytest.approx(evidence.geomean_ns / evidence.ratio)


def test_a_duel_that_gives_up_says_so_and_prints_the_pooled_interval(
    decided: Callable[[Outcome], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    decided(Outcome.FUTILE)
    monkeypatch.setattr(room, "round_trip_ns", lambda *_: 0.0)  # a busy machine's may be longer than these calls
    with prepared(KERNEL) as preparation:
        evidence = duel(preparation, core=None, deadline=Deadline.after(100))
    assert evidence.rounds >= min(FUTILITY_LOOKS) * room.MIN_ROUNDS
    assert evidence.rounds < min(LOOKS) * room.MAX_ROUNDS
    assert evidence.largest_gain is not None
    assert evidence.ratio_interval.low < 1 / (1 + evidence.largest_gain) < evidence.ratio


def test_a_duel_gives_up_the_gain_that_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    gains = []

    def outcome(stage: Stage, *, last: bool = False) -> Outcome:
        gains.append(stage.min_gain)
        return Outcome.BETTER if len(gains) == 1 else Outcome.FUTILE

    monkeypatch.setattr(Stage, "outcome", outcome)
    with prepared(KERNEL) as preparation:
        evidence = duel(preparation, core=None, deadline=Deadline.after(100), min_gain_pct=7.0)
    assert gains == [0.07, 0.07]
    assert evidence.confirmed
    assert evidence.largest_gain is not None


@pytest.mark.parametrize("outcome", [Outcome.BETTER, Outcome.FUTILE])
def test_figures_alone_take_no_decision(decided: Callable[[Outcome], None], outcome: Outcome) -> None:
    decided(outcome)
    with prepared(KERNEL) as preparation:
        evidence = duel(preparation, core=None, deadline=Deadline.after(100), only_figures=True)
    assert not evidence.confirmed
    assert evidence.largest_gain is None
    assert evidence.rounds >= room.BASELINE_EPOCHS * room.MIN_ROUNDS


def test_a_wrong_answer_in_a_timed_call_is_the_candidates_fault(decided: Callable[[Outcome], None]) -> None:
    decided(Outcome.NOT_BETTER)
    lazy = kernels.with_answer("ids, distance[ids] * (1 if self.calls() < 40 else np.float32(1.001))")
    lazy += "    n = 0\n    def calls(self):\n        PqKernel.n += 1\n        return PqKernel.n\n"
    with prepared(Kernel("lazy.py", lazy.encode())) as preparation, pytest.raises(KernelFault) as caught:
        duel(preparation, core=None, deadline=Deadline.after(100))
    failure = caught.value.failure
    assert failure.kind is FaultKind.WRONG_ANSWER
    assert "probe_top_k distances[0]" in failure.sentence
    assert failure.where.startswith("timed call on (8,2,16) ")


@pytest.mark.parametrize("outcome", [Outcome.BETTER, Outcome.NOT_BETTER])
@pytest.mark.parametrize("limits", [(10, 20), (10, 10_000), (10_000, 10_000)])
def test_so_many_timed_answers_are_checked_of_what_is_kept_and_of_what_is_not(
    decided: Callable[[Outcome], None], monkeypatch: pytest.MonkeyPatch, outcome: Outcome, limits: tuple[int, int]
) -> None:
    decided(outcome)
    monkeypatch.setattr(room, "SAMPLED", limits[0])
    monkeypatch.setattr(room, "MOST_CHECKED", limits[1])
    timed: list[int] = []

    def timing(pair: tuple[Side, Side], *arguments: Any) -> Any:
        logs, others, answers = time_round(pair, *arguments)
        timed.append(sum(answer.checked for answer in answers))
        return logs, others, answers

    monkeypatch.setattr(room, "time_round", timing)
    with prepared(KERNEL) as preparation:
        evidence = duel(preparation, core=None, deadline=Deadline.after(100), simplify=True)
    sample = limits[outcome is Outcome.BETTER] * len(SmallTarget.combos)
    assert evidence.timed_queries == min(sum(timed), sample)
    assert 20 * len(SmallTarget.combos) < sum(timed) < 10_000


def test_a_sample_of_the_timed_answers_finds_what_is_wrong_as_often_as_it_takes_to_gain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One wrong answer in a hundred, which is what a gain of 1% takes: the chance to miss it is 1 in 30,000."""
    combos = [Combo(str(SHAPE), str(number)) for number in range(9)]
    bout = room.Bout([cast("Instance", SimpleNamespace(packs=[None])) for _ in combos], 1)
    bout.keep(
        [
            Answer(cast("Side", None), combo, query, {}, checked=query % 8 > 0)
            for combo in range(len(combos))
            for query in range(3000)
        ]
    )
    seen: list[list[int]] = []
    monkeypatch.setattr(
        room, "check", lambda groups, _: seen.extend([answer.query for answer in given] for _, _, given in groups)
    )
    assert room.check_answers(bout, combos, 0.0, most=room.SAMPLED) == room.SAMPLED * len(combos)
    assert any(query % 100 == 0 for queries in seen for query in queries)
    assert len({tuple(queries) for queries in seen}) == len(combos), "nobody knows which"


def test_of_very_many_answers_a_sample_is_kept_in_which_each_is_as_likely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_CHECKED", 20)
    kept = Counter[int]()
    for _ in range(500):
        bout = room.Bout([], 1)
        for epoch in range(4):
            bout.keep([Answer(cast("Side", None), 0, 10 * epoch + i, {}, checked=True) for i in range(10)])
        assert len({answer.query for answer in bout.answers[0]}) == 20
        kept.update(answer.query for answer in bout.answers[0])
    # 250 each; a standard deviation is 11.
    assert set(kept) == set(range(40))
    assert min(kept.values()) > 190
    assert max(kept.values()) < 310


def test_the_code_of_what_is_timed_beside_each_other_lies_alike_and_that_of_another_pair_elsewhere(
    decided: Callable[[Outcome], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    decided(Outcome.BETTER)
    shifts: dict[Side, int] = {}
    load, places = Side.load, iter(range(100))

    def loading(side: Side, *, shift: int = 0) -> None:
        shifts[side] = shift
        load(side, shift=shift)

    def timing(pair: tuple[Side, Side], *arguments: Any) -> Any:
        timed.append({shifts[side] for side in pair})
        return time_round(pair, *arguments)

    timed: list[set[int]] = []
    monkeypatch.setattr(Side, "load", loading)
    monkeypatch.setattr(room, "time_round", timing)
    monkeypatch.setattr("secrets.randbelow", lambda _: next(places))
    with prepared(KERNEL) as preparation:
        duel(preparation, core=None, deadline=Deadline.after(100))
        with preparation.two_pairs() as pairs:
            timed += [{shifts[side] for side in pair} for pair in pairs]
    assert {len(pair) for pair in timed} == {1}
    assert len(set(map(frozenset, timed))) == 2 * min(FUTILITY_LOOKS) + 2


def test_a_wrong_table_in_a_timed_call_is_found(decided: Callable[[Outcome], None]) -> None:
    decided(Outcome.NOT_BETTER)
    two_faced = kernels.changed(
        kernels.PURE_PYTHON,
        "        distance = np.zeros(count, np.float32)\n",
        "        distance = np.zeros(count, np.float32)\n        table = table.copy()\n",
    )
    two_faced = kernels.changed(two_faced, "return ids, distance[ids]", "self.out[:] = 0; return ids, distance[ids]")
    two_faced = kernels.changed(two_faced, "        out[:] = 0\n", "        out[:] = 0\n        self.out = out\n")
    with prepared(Kernel("two_faced.py", two_faced.encode())) as preparation, pytest.raises(KernelFault) as caught:
        duel(preparation, core=None, deadline=Deadline.after(100))
    assert "distance_table[" in caught.value.failure.sentence


def test_an_incumbent_that_fails_is_not_the_candidates_fault() -> None:
    broken = Kernel("broken.py", kernels.with_table("raise ValueError").encode())
    with prepared(KERNEL, broken) as preparation, pytest.raises(IncumbentFailed) as caught:
        duel(preparation, core=None, deadline=Deadline.after(100))
    assert "distance_table raised ValueError" in caught.value.failure.sentence


def test_a_candidate_that_fails_in_preparation_is_told_when_it_is_waited_for() -> None:
    with (
        prepared(Kernel("gone.py", b"raise SystemExit")) as preparation,
        pytest.raises(KernelFault, match="import raised"),
    ):
        preparation.wait()


def test_what_the_workloads_need_beside_the_stand_ins_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-ins have 20,000 vectors, the workloads 200: of those alone a function is called."""
    source = "from numba import njit\n" + kernels.PURE_PYTHON
    source += "\n\nclass PqKernel(PqKernel):\n    def pack_codes(self, codes):\n"
    source += "        if len(codes) == 200: doubled(len(codes))\n        return codes\n"
    source += "\n\n@njit\ndef doubled(x):\n    return 2 * x\n"
    candidate, known = Kernel("lazy.py", source.encode()), []
    load = Side.load

    def loading(side: Side, *, shift: int = 0) -> None:
        if side.is_candidate:
            known.append(side.code)
        load(side, shift=shift)

    monkeypatch.setattr(Side, "load", loading)
    with prepared(candidate) as preparation:
        preparation.wait()
        with preparation.pair(), preparation.pair(), preparation.pair():
            pass
        learnt = preparation.foundry.known(candidate)
    assert [code == learnt for code in known] == [False, True, True]
    assert len(learnt) > len(known[0])


def test_pairs_pack_once_and_twice_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = Counter[Side]()
    renew = Side.renew

    def renewing(side: Side, workloads: Sequence[Instance], warmups: Sequence[range]) -> None:
        packed[side] += 1
        renew(side, workloads, warmups)

    monkeypatch.setattr(Side, "renew", renewing)
    times = []
    with prepared(KERNEL) as preparation:
        preparation.wait()
        for _ in range(5):
            with preparation.pair() as pair:
                times.append([packed[side] for side in pair])
    assert times in ([[1, 1], [2, 2], [1, 1], [2, 2], [1, 1]], [[2, 2], [1, 1], [2, 2], [1, 1], [2, 2]])


def test_the_processes_of_a_pair_are_over_behind_it() -> None:
    with prepared(KERNEL) as preparation:
        preparation.wait()
        assert preparation.pair_seconds > 0
        with preparation.pair() as pair:
            pids = [side.host.pid for side in pair]
        assert all(not side.packs for side in pair)
        for pid in pids:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)


def test_preparation_can_be_given_up_at_any_moment() -> None:
    endless = Kernel("endless.py", kernels.with_table("while True: pass").encode())
    with prepared(endless) as preparation:
        pass
    assert preparation._thread is not None
    preparation._thread.join(30)
    assert not preparation._thread.is_alive()


def test_both_sides_answer_the_same_new_queries_in_random_order() -> None:
    asked: list[tuple[str, int, int]] = []

    class Recorder(Side):
        def __init__(self, name: str) -> None:
            self.name = name

        def block(
            self, combo: int, queries: range, transport_ns: float, rng: random.Random
        ) -> tuple[float, list[Answer]]:
            asked.extend((self.name, combo, query) for query in queries)
            return float(len(queries)), []

    pair = Recorder("a"), Recorder("b")
    queries = [Queries(1000), Queries(1000)]
    orders = set()
    for seed in range(20):
        asked.clear()
        first, second, _ = time_round(pair, queries, [3, 2], 0.0, random.Random(seed))
        np.testing.assert_array_equal(first, [[3, 3], [2, 2]])
        np.testing.assert_array_equal(second, first)
        for combo, size in ((0, 3), (1, 2)):
            of = [(name, query) for name, c, query in asked if c == combo]
            a, b = ([query for name, query in of if name == which] for which in "ab")
            assert a == b
            assert len(set(a)) == 2 * size, "every query once to each side"
            order = "".join(name for name, _ in of[::size])
            assert order in ("abba", "baab")
            orders.add((combo, order))
    assert len(orders) == 4
    with pytest.raises(IndexError, match="no more queries"):
        Queries(2).take(3)


@pytest.mark.parametrize("is_candidate", [True, False])
def test_the_gate_does_the_same_between_the_calls_of_both_sides(is_candidate: bool) -> None:
    """What it copies and keeps decides how cold the next call is: the candidate once looked 2% slower by it."""
    side = Side(KERNEL, cast("KernelHost", None), is_candidate=is_candidate)
    side.packs = [cast("Pack", FakePack())]
    logs, answers = side.block(0, range(200), 0.0, random.Random(1))
    assert logs == pytest.approx(math.log(1000))
    assert [answer.query for answer in answers] == list(range(200))
    assert all("ids" in answer.outputs for answer in answers)
    with_table = [answer for answer in answers if "table" in answer.outputs]
    assert 10 < len(with_table) < 50
    assert [answer for answer in answers if answer.checked] == (answers if is_candidate else with_table)


def test_a_process_is_warmed_up_before_it_is_timed(
    decided: Callable[[Outcome], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been waiting: a cold cache is no property of a kernel. And no query comes twice."""
    decided(Outcome.NOT_BETTER)
    warm: set[Side] = set()
    asked: list[int] = []
    warm_up, timed = Side.warm_up, time_round

    def warming(side: Side, warmups: Sequence[range]) -> None:
        if len(warmups[0]) == WARMUP_CALLS:
            warm.add(side)
            asked.extend(warmups[0])
        warm_up(side, warmups)

    def timing(pair: tuple[Side, Side], *arguments: Any) -> Any:
        assert warm >= set(pair)
        logs, others, answers = timed(pair, *arguments)
        asked.extend(answer.query for answer in answers if answer.combo == 0)
        return logs, others, answers

    monkeypatch.setattr(Side, "warm_up", warming)
    monkeypatch.setattr(room, "time_round", timing)
    with prepared(KERNEL) as preparation:
        duel(preparation, core=None, deadline=Deadline.after(100))
    assert {asked.count(query) for query in asked} == {2}, "by each side"


def test_warming_up_asks_every_combo() -> None:
    packs = [FakePack(), FakePack()]
    side = Side(KERNEL, cast("KernelHost", None), is_candidate=True)
    side.packs = [cast("Pack", pack) for pack in packs]
    side.warm_up([range(2), range(5, 8)])
    assert [pack.asked for pack in packs] == [[0, 1], [5, 6, 7]]


def test_every_call_of_a_pack_is_another_query() -> None:
    workload = SmallTarget().workload(SmallTarget.combos[0], QUERIES, 5)
    assert len({bytes(call["query"]) for call in workload.packs[0].calls}) == QUERIES


def test_the_evidence_is_that_of_the_last_stage() -> None:
    rng = np.random.default_rng(1)
    stages = []
    for ratio in (0.5, 0.9):
        stage = Stage()
        for _ in range(3):
            noise = rng.normal(0, 0.001, (2, 4, 2, 2))
            stage.add(np.log(1000 * ratio) + noise[0], np.log(1000) + noise[1])
        stages.append(stage)
    evidence = evidence_of(
        stages,
        SmallTarget(),
        timed_queries=1,
        transport_ns=1.0,
        pack_seconds=1.0,
        peak_mem_mb=1.0,
        workload_seeds=(1, 2),
        walls=(),
        seconds=1.0,
    )
    assert evidence.confirmed
    assert evidence.ratio == pytest.approx(0.9, rel=0.01)
    assert evidence.geomean_ns == pytest.approx(900, rel=0.01)
    assert evidence.rounds == 24


def test_the_transport_is_measured_without_a_kernel() -> None:
    assert 100 < room.round_trip_ns(None, Deadline.after(100)) < parent.CALL_SECONDS * 1e9
