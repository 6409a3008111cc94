"""The exploit corpus: no cheat is kept, none leaves a trace, and each is told in one sentence."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pytest_lance_ar.correctness.examiner import ExaminationFailed, Examiner
from pytest_lance_ar.targets.common.pq.cases import DrawnCase
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.common.pq.target import SPEED_VECTORS
from pytest_lance_ar.targets.pq_l2.metric import L2
from pytest_lance_ar.targets.pq_l2.target import TARGET
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.kernel_source import Kernel
from tests.corpus.arena import Arena
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


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the supervisor and most cheats need /proc")
@pytest.mark.parametrize("cheat", [marked(name, cheat) for name, cheat in CHEATS.items()])
def test_a_cheat_is_not_kept(arena: Arena, tmp_path: Path, cheat: Cheat) -> None:
    outcome, wrong = judge(arena, tmp_path / "arena", cheat)
    assert not wrong, f"{wrong}\n{outcome.sentence}\n{outcome.output}"
