"""`python -m pytest_lance_ar replay CASE`: one case of the correctness suite, as a failure report names it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_lance_ar.commands.kernel import kernel_here
from pytest_lance_ar.correctness.examiner import ExaminationFailed, Examiner
from pytest_lance_ar.targets.registry import target_of
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.kernel_source import Kernel
from pytest_lance_ar.trial.options import MAX_RTOL
from pytest_lance_ar.trial.verdict import ExitCode

if TYPE_CHECKING:
    from pytest_lance_ar.commands import Commands

BUDGET_SECONDS: Final = 120.0


def add_to(commands: Commands) -> None:
    parser = commands.add_parser(
        "replay",
        help="replay one case of the correctness suite, as a failure report prints it",
        description="Exit status: 2 when the kernel fails the case, 5 when it passes (one case is no verdict).",
    )
    parser.add_argument("case", help="the case, e.g. 'shape=128,16,256 distribution=gaussian seed=7 n=40 k=10'")
    parser.add_argument("--kernel", type=Path, default=kernel_here(), metavar="PATH")
    parser.add_argument("--rtol", type=float, default=0.0, metavar="R")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Examine a kernel on one case and print what came of it."""
    try:
        kernel = Kernel.read(options.kernel, str(options.kernel))
        if not 0 <= options.rtol <= MAX_RTOL:
            raise ValueError(f"--rtol must be from 0 to {MAX_RTOL:g}")
        target = target_of(kernel.source)
        case = target.parse_case(options.case)
    except (OSError, ValueError) as error:
        print(f"replay: {error}", file=sys.stderr)
        return ExitCode.USAGE
    deadline = Deadline.after(BUDGET_SECONDS)
    with Examiner(kernel, target, deadline=deadline, rtol=options.rtol) as examiner:
        try:
            examiner.examine(case)
        except ExaminationFailed as failed:
            failure = failed.failure
            print("\n".join(filter(None, [f"fail: {failure}", failure.hint, failure.detail])))
            return ExitCode.INCORRECT
    print(f"pass: {case.where}")
    return ExitCode.NONE
