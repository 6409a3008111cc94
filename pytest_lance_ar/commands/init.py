"""`python -m pytest_lance_ar init`: an experiment, ready to run, in a directory of yours."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_lance_ar.start.directory import Made, make
from pytest_lance_ar.start.kernels import NoKernel, baseline_of, best_of
from pytest_lance_ar.targets import DEFAULT
from pytest_lance_ar.targets.registry import TargetError, named
from pytest_lance_ar.trial.verdict import ExitCode

if TYPE_CHECKING:
    from pytest_lance_ar.commands import Commands

KERNELS = {"baseline": baseline_of, "best": best_of}


def add_to(commands: Commands) -> None:
    parser = commands.add_parser(
        "init",
        help="make a directory ready for an experiment",
        description="Writes a kernel to start from, program.md for the agent, AGENTS.md, a workflow for CI and lines "
        "of .gitignore. What is there already stays as it is. Exit status: 0 when all is there, 4 when it cannot be.",
    )
    parser.add_argument("directory", nargs="?", type=Path, default=Path(), metavar="DIR", help="default: here")
    parser.add_argument("--target", default=DEFAULT, metavar="NAME", help="%(default)s")
    parser.add_argument(
        "--from",
        dest="origin",
        choices=KERNELS,
        default="baseline",
        help="the target's scalar kernel (default), or the best one that this project ships",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    try:
        target = named(options.target)
        made = make(options.directory, target, KERNELS[options.origin](target))
    except (TargetError, NoKernel) as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(f"{error.filename or options.directory} cannot be written ({error.strerror})")
    print(_told(made, options.directory))
    return 0


def _told(made: Made, directory: Path) -> str:
    go = [] if directory.resolve() == Path.cwd() else [f"cd {shlex.quote(str(directory))}"]
    lines = [f"wrote {', '.join(made.written)}" if made.written else "nothing was missing"]
    if made.left:
        lines.append(f"left as it was: {', '.join(made.left)}")
    return "\n".join([*lines, *made.remarks, f"next: {' && '.join([*go, made.command])}"])


def _refuse(sentence: str) -> int:
    print(f"init: {sentence}", file=sys.stderr)
    return ExitCode.USAGE
