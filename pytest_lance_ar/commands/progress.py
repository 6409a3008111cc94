"""`python -m pytest_lance_ar progress`: the morning after: what was kept, what it adds up to, and the picture."""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_lance_ar.progress.history import HistoryError, read
from pytest_lance_ar.progress.table import table
from pytest_lance_ar.trial.places import LEDGER, home_of
from pytest_lance_ar.trial.verdict import ExitCode

if TYPE_CHECKING:
    from pytest_lance_ar.commands import Commands


def add_to(commands: Commands) -> None:
    parser = commands.add_parser(
        "progress",
        help="the kept experiments as a table, and all trials as a picture",
        description="Exit status: 0 when all is written, 4 when something is missing. The picture needs matplotlib "
        "(pip install 'pytest-lance-ar[plot]'); the table needs nothing.",
    )
    parser.add_argument("--out", type=Path, default=Path("progress.png"), metavar="FILE.png", help="%(default)s")
    parser.add_argument("--html", type=Path, metavar="FILE.html", help="also one page with the picture and all trials")
    parser.add_argument("--no-picture", action="store_true", help="the table only")
    ledger = parser.add_mutually_exclusive_group()
    ledger.add_argument(
        "--state", type=Path, metavar="DIR", help="what --lance-ar-state named: its results.tsv is read"
    )
    ledger.add_argument("--ledger", type=Path, metavar="FILE", help=LEDGER)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the table and write what was asked for."""
    ledger = options.state / LEDGER if options.state else options.ledger or _ledger_here()
    for option, path, endings in (("--out", options.out, (".png",)), ("--html", options.html, (".html", ".htm"))):
        # No other file of the experiment ends so, and none can be overwritten.
        if path is not None and path.suffix.lower() not in endings:
            return _refuse(f"{option} {path} must end in {endings[0]}")
    if options.no_picture and options.html:
        return _refuse("--html draws the picture that --no-picture leaves out; choose one")
    try:
        history = read(ledger)
    except HistoryError as error:
        return _refuse(str(error))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # notes may hold what the terminal's encoding has not
    print(table(history, ledger), end="", flush=True)
    if options.no_picture:
        return 0
    try:
        from pytest_lance_ar.progress import page, picture
    except ImportError as error:
        return _refuse(f"the picture needs matplotlib ({error}): pip install 'pytest-lance-ar[plot]', or --no-picture")
    try:
        options.out.write_bytes(picture.png(history))
        if options.html:
            pictures = {"wide": picture.WIDE, "narrow": picture.NARROW}
            drawn = {name: picture.svg(history, layout) for name, layout in pictures.items()}
            options.html.write_text(page.page(history, **drawn), encoding="utf-8")
    except OSError as error:
        return _refuse(f"{error.filename} cannot be written ({error.strerror})")
    print(f"wrote {' and '.join(str(path) for path in (options.out, options.html) if path)}")
    return 0


def _refuse(sentence: str) -> int:
    print(f"progress: {sentence}", file=sys.stderr)
    return ExitCode.USAGE


def _ledger_here() -> Path:
    """The ledger of the project in the working directory, by the shortest name."""
    here = Path.cwd()
    home = home_of(here)
    return Path(LEDGER) if home == here else home / LEDGER
