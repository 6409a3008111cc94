"""`python -m pytest_lance_ar new-target NAME [DIR]`: a package with a target of your own, which works at once."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_lance_ar.start.new_target import Refused, new_target
from pytest_lance_ar.trial.verdict import ExitCode

if TYPE_CHECKING:
    from pytest_lance_ar.commands import Commands


def add_to(commands: Commands) -> None:
    parser = commands.add_parser(
        "new-target",
        help="write a package with a kernel target of your own, which works at once",
        description="Writes a package that offers a working target, squared L2 distances of uint8 vectors, to be made "
        "into yours: target, driver, suite, baseline, tests, a kernel to judge. Nothing that is there is overwritten. "
        "Exit status: 0 when all is there, 4 when it cannot be.",
    )
    parser.add_argument("name", metavar="NAME", help="of target and package: lower-case words joined by _")
    parser.add_argument("directory", nargs="?", type=Path, metavar="DIR", help="a new directory (default: NAME)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    directory = options.directory or Path(options.name)
    try:
        written = new_target(options.name, directory)
    except Refused as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(f"{directory} cannot be written ({error.strerror})")
    except ValueError as error:  # no path, with a NUL character in it
        return _refuse(f"{str(directory)!r} is no path ({error})")
    print(f"wrote {', '.join(written)}")
    print(f"next: cd {shlex.quote(str(directory))} && pip install -e . && pytest && pytest --lance-ar")
    return 0


def _refuse(sentence: str) -> int:
    print(f"new-target: {sentence}", file=sys.stderr)
    return ExitCode.USAGE
