"""The exploit corpus: no cheat is kept, none leaves a trace, and each is told in one sentence."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pytest_lance_ar.correctness.examiner import ExaminationFailed, Examiner
from pytest_lance_ar.targets import DEFAULT
from pytest_lance_ar.targets.common.pq.cases import DrawnCase, LiteralCase
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.common.pq.target import SPEED_VECTORS
from pytest_lance_ar.targets.pq_l2.metric import L2
from pytest_lance_ar.targets.pq_l2.target import TARGET
from pytest_lance_ar.targets.protocol import Instance, Target
from pytest_lance_ar.targets.registry import target_of, targets
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.kernel_source import Kernel, contract_failure
from tests.corpus.arena import Arena
from tests.corpus.baseline import QUICK
from tests.corpus.bases import GENERIC, Base, likenesses
from tests.corpus.cheats import GROUPS
from tests.corpus.cheats.cheat import CORRECTNESS, Cheat
from tests.corpus.judge import judge

CHEATS = {f"{group}: {cheat.name}": cheat for group, cheats in GROUPS.items() for cheat in cheats}
CHEAP = (
    "verdict: driver_says_done",
    "verdict: expectation_replaced",
    "verdict: forged_sentence",
    "clock: looks_like_an_array",
    "replay: by_shape",
    "memory: zeroes_its_codes",
    "two faces: lossy_when_timed",
    "sabotage: takes_every_descriptor",
    "numba: numba_replaced",
    "contract: class_reassigned",
)
"""One or two of a group: those that need no more than an examination, and no wall."""
IN_CI = ("verdict", "clock", "replay")
"""Groups that continuous integration has time for, as far as the suite finds them out: a duel costs a whole trial.

`pytest -m exhaustive` and `python -m tests.corpus` run all.
"""


OTHERS = [target for name, target in targets().items() if name != DEFAULT]
CHEAP_ELSEWHERE = ("verdict: driver_says_done", "verdict: driver_replaced", "sabotage: takes_every_descriptor")


@dataclass(frozen=True)
class StandIn:
    """What a target has for a first call, as a case."""

    target: Target
    spec: str = "a stand-in"
    where: str = "a stand-in"

    def instance(self) -> Instance:
        return self.target.stand_in(self.target.combos[0])


def marked(name: str, cheat: Cheat) -> object:
    quick = cheat.arguments == CORRECTNESS and name.partition(":")[0] in IN_CI
    return pytest.param(cheat, id=name, marks=pytest.mark.slow if quick else pytest.mark.exhaustive)


def examine_all(examiner: Examiner, cases: list[DrawnCase]) -> None:
    for case in cases:
        examiner.examine(case)


@pytest.mark.parametrize("cheat", [CHEATS[name] for name in CHEAP], ids=CHEAP)
def test_a_cheat_fails_its_examination(cheat: Cheat) -> None:
    """Two cases in one process: small, then of the size that is timed."""
    cases = [
        DrawnCase(L2, PqShape(32, 8, 256), "gaussian", seed=seed, n=n, k=10)
        for seed, n in enumerate((40, 40, SPEED_VECTORS))
    ]
    kernel = Kernel("cheat.py", cheat.kernel.encode())
    deadline = Deadline.after(100)
    with Examiner(kernel, TARGET, deadline=deadline) as examiner, pytest.raises(ExaminationFailed) as failed:
        examine_all(examiner, cases)
    assert failed.value.failure.sentence.isprintable()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it sets them by the C library of Linux")
def test_who_flushes_small_numbers_to_zero_spoils_its_own_answers_alone() -> None:
    """The modes are a thread's. The kernel sums 1e-20 squared to 0; the gate, and the next process, as ever."""
    case = LiteralCase(L2, (((1e-20,),),), ((0,),), ((0.0,),), 1)
    cheat = Kernel("cheat.py", CHEATS["float modes: small_numbers_are_zero"].kernel.encode())
    with Examiner(cheat, TARGET, deadline=Deadline.after(100)) as examiner, pytest.raises(ExaminationFailed) as failed:
        examiner.examine(case)
    assert "expected 1e-40, got 0.0" in str(failed.value.failure)
    with Examiner(Kernel("honest.py", QUICK.encode()), TARGET, deadline=Deadline.after(100)) as examiner:
        examiner.examine(case)
    assert np.float32(1e-39) + np.float32(1e-39) > 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the supervisor and most cheats need /proc")
@pytest.mark.parametrize("cheat", [marked(name, cheat) for name, cheat in CHEATS.items()])
def test_a_cheat_is_not_kept(arena: Arena, tmp_path: Path, cheat: Cheat) -> None:
    outcome, wrong = judge(arena, tmp_path / "arena", cheat)
    assert not wrong, f"{wrong}\n{outcome.sentence}\n{outcome.output}"


@pytest.mark.parametrize("target", OTHERS, ids=lambda target: target.name)
def test_most_of_what_attacks_the_gate_has_a_likeness_for_every_target(target: Target) -> None:
    likes = dict(likenesses(target))
    assert len(likes) >= 0.9 * sum(len(GROUPS[group]) for group in GENERIC)
    for cheat in likes.values():
        assert contract_failure(Kernel("cheat.py", cheat.kernel.encode()), target) is None
        assert target_of(cheat.kernel.encode()) is target


@pytest.mark.parametrize("name", CHEAP_ELSEWHERE)
@pytest.mark.parametrize("target", OTHERS, ids=lambda target: target.name)
def test_its_likeness_fails_its_examination(target: Target, name: str) -> None:
    kernel = Kernel("cheat.py", dict(likenesses(target))[name].kernel.encode())
    with Examiner(kernel, target, deadline=Deadline.after(100)) as examiner, pytest.raises(ExaminationFailed):
        examiner.examine(StandIn(target))


@pytest.mark.parametrize("target", OTHERS, ids=lambda target: target.name)
def test_the_baseline_that_likenesses_wrap_passes(target: Target) -> None:
    kernel = Kernel("honest.py", Base.of(target).scalar.encode())
    with Examiner(kernel, target, deadline=Deadline.after(100)) as examiner:
        examiner.examine(StandIn(target))


@pytest.mark.exhaustive
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the supervisor and most cheats need /proc")
@pytest.mark.parametrize("target", OTHERS, ids=lambda target: target.name)
def test_no_likeness_is_kept(tmp_path: Path, target: Target) -> None:
    prepared = Arena.prepared(tmp_path / "prepared", Base.of(target).scalar)
    for number, (name, cheat) in enumerate(likenesses(target)):
        outcome, wrong = judge(prepared, tmp_path / str(number), cheat)
        assert not wrong, f"{name}: {wrong}\n{outcome.sentence}\n{outcome.output}"
