"""Runs the gate's correctness phase on kernels that are wrong, and tells which of them it lets pass.

Each kernel is judged as a user would have it judged: `pytest --lance-ar --lance-ar-phase correctness`, in a process and
a project of its own, with nothing left of the trial before. It is killed when the exit status says incorrect.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.mutants.corpus import Mutant

INCORRECT: Final = 2
PASSED: Final = 5
WORKERS: Final = 2


@dataclass(frozen=True)
class Outcome:
    """What the gate said of a kernel. seconds: the gate's own, from its start to its verdict."""

    mutant: Mutant
    status: int
    seconds: float
    first_failure: str
    hint: str
    output: str

    @property
    def killed(self) -> bool:
        return self.status == INCORRECT

    @property
    def passed(self) -> bool:
        return self.status == PASSED


def judge(mutant: Mutant, seed: int) -> Outcome:
    """Judge one kernel."""
    with tempfile.TemporaryDirectory() as directory:
        project = Path(directory)
        project.joinpath("pytest.ini").write_text("[pytest]\n")
        project.joinpath("kernel").mkdir()
        project.joinpath("kernel", "pq_l2.py").write_text(mutant.source)
        options = ["--lance-ar-phase=correctness", f"--lance-ar-seed={seed}", "--lance-ar-json=report.json"]
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "--lance-ar", "-q", "-p", "no:cacheprovider", *options],
            cwd=project,
            capture_output=True,
            text=True,
            check=False,
        )
        report = project / "report.json"
        facts = json.loads(report.read_text()) if report.exists() else {}
    return Outcome(
        mutant,
        done.returncode,
        facts.get("total_seconds", time.monotonic() - started),
        facts.get("first_failure") or "",
        facts.get("hint") or "",
        done.stdout + done.stderr,
    )


def judge_all(mutants: Iterable[Mutant], seed: int, workers: int = WORKERS) -> Iterator[Outcome]:
    """Judge many, some at a time; the outcomes come in the order of the mutants."""
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(lambda mutant: judge(mutant, seed), mutants)


def table(outcomes: Iterable[Outcome]) -> str:
    """Killed and total by family, with the seconds that a kill took."""
    outcomes = list(outcomes)
    families = dict.fromkeys(outcome.mutant.family for outcome in outcomes)
    lines = [f"{'family':<24}{'killed':>8}{'total':>7}{'mean s':>8}{'max s':>7}"]
    for family in (*families, "all"):
        of_family = [o for o in outcomes if family in ("all", o.mutant.family)]
        seconds = [o.seconds for o in of_family if o.killed] or [0.0]
        mean = sum(seconds) / len(seconds)
        lines.append(
            f"{family:<24}{sum(o.killed for o in of_family):>8}{len(of_family):>7}{mean:>8.1f}{max(seconds):>7.1f}"
        )
    survivors = [f"survived: {o.mutant.family}: {o.mutant.name} (status {o.status})" for o in outcomes if not o.killed]
    return "\n".join([*lines, *survivors])
