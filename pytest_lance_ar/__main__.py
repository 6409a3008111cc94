"""`python -m pytest_lance_ar`: what is done beside a run of the gate."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pytest_lance_ar.correctness import ExaminationFailed, Examiner
from pytest_lance_ar.host.parent import Deadline
from pytest_lance_ar.kernel_source import Kernel
from pytest_lance_ar.options import DEFAULT_KERNEL, MAX_RTOL
from pytest_lance_ar.targets.registry import target_of
from pytest_lance_ar.verdict import ExitCode

REPLAY_BUDGET_SECONDS = 120.0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m pytest_lance_ar", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    replay_command = commands.add_parser(
        "replay",
        help="replay one case of the correctness suite, as a failure report prints it",
        description="Exit status: 2 when the kernel fails the case, 5 when it passes (one case is no verdict).",
    )
    replay_command.add_argument("case", help="the case, e.g. 'shape=128,16,256 distribution=gaussian seed=7 n=40 k=10'")
    replay_command.add_argument("--kernel", type=Path, default=Path(DEFAULT_KERNEL), metavar="PATH")
    replay_command.add_argument("--rtol", type=float, default=0.0, metavar="R")
    replay_command.set_defaults(run=replay)
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


def replay(options: argparse.Namespace) -> int:
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
    deadline = Deadline.after(REPLAY_BUDGET_SECONDS)
    with Examiner(kernel, target, deadline=deadline, rtol=options.rtol) as examiner:
        try:
            examiner.examine(case)
        except ExaminationFailed as failed:
            failure = failed.failure
            print("\n".join(filter(None, [f"fail: {failure}", failure.hint, failure.detail])))
            return ExitCode.INCORRECT
    print(f"pass: {case.where}")
    return ExitCode.NONE


if __name__ == "__main__":
    sys.exit(main())
