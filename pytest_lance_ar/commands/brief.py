"""`python -m pytest_lance_ar brief`: what was tried so far, in at most 40 lines."""

from __future__ import annotations

import argparse
import io
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_lance_ar.commands.kernel import kernel_here
from pytest_lance_ar.commands.stored import add_state_to, store_at
from pytest_lance_ar.memory.brief import brief
from pytest_lance_ar.memory.story import story
from pytest_lance_ar.store.store import StoreError
from pytest_lance_ar.trial.verdict import ExitCode

if TYPE_CHECKING:
    from pytest_lance_ar.commands import Commands


def add_to(commands: Commands) -> None:
    parser = commands.add_parser(
        "brief",
        help="what was tried so far, in at most 40 lines, for who starts or resumes",
        description="The incumbent, where its time goes, what was kept, what was tried in vain and by how much, "
        "lessons, and what is wrong with the state, if anything. Exit status: 0, or 4 when it cannot be read.",
    )
    add_state_to(parser)
    parser.add_argument("--kernel", type=Path, default=kernel_here(), metavar="PATH", help="%(default)s")
    parser.add_argument("--json", action="store_true", help="all of it, as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    try:
        told = story(store_at(options.state), Path.cwd() / options.kernel, str(options.kernel))
    except (OSError, RuntimeError, ValueError, StoreError) as error:
        print(f"brief: {error}", file=sys.stderr)
        return ExitCode.USAGE
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # notes may hold what the terminal's encoding has not
    print(json.dumps(asdict(told), indent=1) if options.json else brief(told).rstrip("\n"))
    return 0
