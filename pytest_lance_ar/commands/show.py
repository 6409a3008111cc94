"""`python -m pytest_lance_ar show TRIAL`: a trial's report, its lessons, and its diff against its incumbent."""

from __future__ import annotations

import argparse
import io
import json
import sys
from typing import TYPE_CHECKING

from pytest_lance_ar.commands.stored import add_state_to, store_at
from pytest_lance_ar.memory.single import as_json, as_text, single
from pytest_lance_ar.store.store import StoreError
from pytest_lance_ar.trial.verdict import ExitCode

if TYPE_CHECKING:
    from pytest_lance_ar.commands import Commands


def add_to(commands: Commands) -> None:
    parser = commands.add_parser(
        "show",
        help="a trial's report, lesson and diff against its incumbent",
        description="Trials are counted from 1, in the order of results.tsv. Exit status: 0, or 4 when there is none.",
    )
    parser.add_argument("trial", type=int, metavar="TRIAL")
    add_state_to(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as JSON")
    form.add_argument("--source", action="store_true", help="the kernel's source, and nothing else")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    try:
        trial = single(store_at(options.state), options.trial)
        if options.source and trial.source is None:
            raise StoreError(f"the source of trial {options.trial} is not stored any more")
    except (OSError, RuntimeError, ValueError, StoreError) as error:
        print(f"show: {error}", file=sys.stderr)
        return ExitCode.USAGE
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    if options.source:
        assert trial.source is not None
        sys.stdout.flush()
        sys.stdout.buffer.write(trial.source)
    else:
        print(json.dumps(as_json(trial), indent=1) if options.json else as_text(trial).rstrip("\n"))
    return 0
