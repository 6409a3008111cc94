"""`python -m pytest_lance_ar`: what is done beside a run of the gate."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Final, NoReturn

from pytest_lance_ar.commands import (
    admit,
    audit,
    bench,
    brief,
    evaluate,
    export,
    finalize,
    init,
    new_target,
    profile,
    progress,
    rank,
    replay,
    show,
)
from pytest_lance_ar.targets.registry import TargetError
from pytest_lance_ar.trial.verdict import ExitCode

COMMANDS = (
    *(init, brief, show, replay, audit, progress, finalize, rank, evaluate, export, bench, profile, admit),
    new_target,
)


NOBODY_READS: Final = 141
"""As a shell says it, 128 + SIGPIPE: who read what is printed has read enough, as `head` does."""


class Parser(argparse.ArgumentParser):
    """Ends a user's mistake with the gate's exit status for one."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(ExitCode.USAGE, f"{self.prog}: error: {message}\n")


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(prog="python -m pytest_lance_ar", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_to(commands)
    options = parser.parse_args(arguments)
    try:
        status = int(options.run(options))
        sys.stdout.flush()
        return status
    except TargetError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return ExitCode.USAGE
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python tries once more, at its end
        return NOBODY_READS


if __name__ == "__main__":
    sys.exit(main())
