"""The corpus of honest kernels: none is refused, whatever walls there are."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pytest_lance_ar.correctness.examiner import Examiner
from pytest_lance_ar.targets.common.pq.cases import DrawnCase
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.pq_l2.metric import L2
from pytest_lance_ar.targets.pq_l2.target import TARGET
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.kernel_source import Kernel
from tests.corpus import honest
from tests.corpus.arena import Arena

CASES = [
    DrawnCase(L2, PqShape(24, 6, 100), "large_dynamic_range", seed=1, n=700, k=10),
    DrawnCase(L2, PqShape(16, 4, 256), "sparse", seed=2, n=3, k=10, structure="ties"),
    DrawnCase(L2, PqShape(12, 1, 256), "mostly_zero", seed=3, n=0, k=1),
]
TIMED = ("early abandoning", "lower bounds in 8 bits", "intrinsics", "parallel=True on one core")


@pytest.mark.parametrize("name", ["row-major codes, nothing packed", "dataclass, lru_cache, partial, print"])
def test_an_honest_kernel_passes_an_examination(name: str) -> None:
    kernel = Kernel("honest.py", honest.KERNELS[name].encode())
    with Examiner(kernel, TARGET, deadline=Deadline.after(100)) as examiner:
        for case in CASES:
            examiner.examine(case)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the supervisor reads /proc")
@pytest.mark.parametrize("name", honest.KERNELS)
def test_an_honest_kernel_is_correct(arena: Arena, tmp_path: Path, name: str) -> None:
    place = arena.copy(tmp_path / "arena")
    place.kernel.write_text(honest.KERNELS[name])
    outcome = place.run("--lance-ar-phase=correctness")
    assert outcome.status == 5, outcome.output
    assert outcome.report["correctness"] == "pass"
    assert not outcome.leftovers
    assert not outcome.rubbish


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the supervisor reads /proc")
@pytest.mark.parametrize("name", TIMED)
def test_an_honest_kernel_is_kept_or_discarded(arena: Arena, tmp_path: Path, name: str) -> None:
    place = arena.copy(tmp_path / "arena")
    place.kernel.write_text(honest.KERNELS[name])
    outcome = place.run()
    assert outcome.status in (0, 1), outcome.output
    assert outcome.rows == (outcome.verdict,)
