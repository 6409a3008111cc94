"""Runs the gate's correctness phase on kernels that are wrong, and tells which of them it lets pass.

Each kernel is judged as a user would have it judged: `pytest --lance-ar --lance-ar-phase correctness`, in a process and
a project of its own, with nothing left of the trial before. It is killed when the exit status says incorrect. The
processes are forked from one that has imported what a trial needs, which saves most of a trial's start.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from pytest_lance_ar.correctness import examiner
from pytest_lance_ar.host import turns
from tests.mutants.mutant import Mutant

INCORRECT: Final = 2
PASSED: Final = 5
WORKERS: Final = 2
PRELOADED: Final = [
    "pytest",
    "pytest_lance_ar.gate",
    "pytest_lance_ar.plugin.suite",
    "pytest_lance_ar.targets.pq_l2.test_pq_l2",
    "pytest_lance_ar.targets.common.pq.quantizer",
]


@dataclass(frozen=True)
class Outcome:
    """What the gate said of a kernel. seconds: the gate's own, from its start to its verdict."""

    mutant: Mutant
    status: int
    seconds: float
    first_failure: str
    hint: str
    replay: str
    output: str

    @property
    def killed(self) -> bool:
        """Whether the kernel was found wrong; one that never started was not examined."""
        return self.status == INCORRECT and " in start" not in self.first_failure

    @property
    def passed(self) -> bool:
        return self.status == PASSED


def judge(mutant: Mutant, seed: int, arguments: tuple[str, ...] = (), quick: bool = False) -> Outcome:
    """Judge one kernel, in this process: it should be a new one.

    quick: the first failure will do, no smaller one is looked for.
    """
    if quick:
        examiner.SHRINK_SECONDS = examiner.DRAW_SECONDS = 0.0  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as directory:
        project = Path(directory)
        turns.place = lambda: project / turns.NAME  # how many work at once is said here, not by the machine's gates
        project.joinpath("pytest.ini").write_text("[pytest]\n")
        project.joinpath("kernel").mkdir()
        project.joinpath("kernel", "pq_l2.py").write_text(mutant.source)
        os.chdir(project)
        with project.joinpath("output").open("wb") as output:
            for descriptor in (1, 2):
                os.dup2(output.fileno(), descriptor)
        options = ["--lance-ar-phase=correctness", f"--lance-ar-seed={seed}", "--lance-ar-json=report.json"]
        status = int(pytest.main(["--lance-ar", "-q", "-p", "no:cacheprovider", *options, *arguments]))
        report = project / "report.json"
        facts = json.loads(report.read_text()) if report.exists() else {}
        text = project.joinpath("output").read_text(errors="replace")
    names = ("first_failure", "hint", "replay")
    failure = {name: facts.get(name) or "" for name in names}
    return Outcome(mutant, status, facts.get("total_seconds", 0.0), output=text, **failure)


def judge_all(
    mutants: Iterable[Mutant],
    seed: int,
    workers: int = WORKERS,
    arguments: tuple[str, ...] = (),
    *,
    quick: bool = False,
) -> Iterator[Outcome]:
    """Judge many, some at a time; the outcomes come in the order of the mutants."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with context.Pool(workers, maxtasksperchild=1) as pool:
        yield from pool.imap(partial(judge, seed=seed, arguments=arguments, quick=quick), mutants, chunksize=1)


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
