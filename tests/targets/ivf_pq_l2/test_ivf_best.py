"""The kernel that this project ships for `ivf_pq_l2`: an experiment can begin with it, and it is correct."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_lance_ar.__main__ import main
from tests.kernels import IVF_SHIPPED
from tests.mutants.harness import judge_all
from tests.mutants.mutant import Mutant


def test_an_experiment_begins_with_it(tmp_path: Path) -> None:
    assert main(["init", str(tmp_path), "--target", "ivf_pq_l2", "--from", "best"]) == 0
    assert (tmp_path / "kernel" / "ivf_pq_l2.py").read_text() == IVF_SHIPPED


@pytest.mark.slow
def test_it_passes_the_suite() -> None:
    (outcome,) = judge_all([Mutant("honest", "shipped", "ivf_shipped")], seed=1, workers=1)
    assert outcome.passed, outcome.output
