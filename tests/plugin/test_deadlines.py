"""A run whose own computations never end is over at its deadline, and at an interrupt."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import kernels

pytestmark = pytest.mark.exhaustive

PROGRAM = """
import sys, pytest
from pytest_lance_ar.targets.common.pq import answers, cases

def forever(*_arguments, **_more):
    print("computing", file=sys.__stderr__, flush=True)
    while True:
        try:
            sum(range(1000))
        except Exception:
            pass

{what} = forever
sys.exit(pytest.main(["--lance-ar", "-s", "--rootdir=.", "--lance-ar-budget={budget}", "--lance-ar-json=report.json"]))
"""


def run(project: Path, what: str, budget: int) -> subprocess.Popen[str]:
    (project / "kernel").mkdir()
    (project / "kernel" / "pq_l2.py").write_text(kernels.PURE_PYTHON)
    program = PROGRAM.format(what=what, budget=budget)
    return subprocess.Popen(
        [sys.executable, "-c", program], cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("what", ["cases.DrawnCase.instance", "answers.compare_answer"])
def test_a_computation_that_never_ends_is_over_at_the_deadline(tmp_path: Path, what: str) -> None:
    with run(tmp_path, what, budget=20) as process:
        assert process.wait(120) == 3
    assert "time budget" in json.loads((tmp_path / "report.json").read_text())["first_failure"]


def test_a_computation_that_never_ends_is_over_at_an_interrupt(tmp_path: Path) -> None:
    with run(tmp_path, "cases.DrawnCase.instance", budget=600) as process:
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 130
