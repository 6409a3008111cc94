"""`python -m pytest_lance_ar progress`: the morning after: what was kept, what it adds up to, and the picture."""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Final

from pytest_lance_ar.files import PUBLIC, write_atomically
from pytest_lance_ar.progress.history import History, HistoryError, read
from pytest_lance_ar.progress.table import table
from pytest_lance_ar.store.running import running
from pytest_lance_ar.trial.places import DEFAULT_STATE, LEDGER, home_of
from pytest_lance_ar.trial.verdict import ExitCode

if TYPE_CHECKING:
    from pytest_lance_ar.commands import Commands


WATCH_SECONDS: Final = 5
CLEAR: Final = "\x1b[H\x1b[2J"
"""To the upper left corner, and away with what stands there."""


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
    parser.add_argument("--watch", action="store_true", help="keep table, picture and page up to date until Ctrl-C")
    ledger = parser.add_mutually_exclusive_group()
    ledger.add_argument(
        "--state", type=Path, metavar="DIR", help="what --lance-ar-state named: its results.tsv is read"
    )
    ledger.add_argument("--ledger", type=Path, metavar="FILE", help=LEDGER)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the table and write what was asked for, once or again and again."""
    for option, path, endings in (("--out", options.out, (".png",)), ("--html", options.html, (".html", ".htm"))):
        # No other file of the experiment ends so, and none can be overwritten.
        if path is not None and path.suffix.lower() not in endings:
            return _refuse(f"{option} {path} must end in {endings[0]}")
    if options.no_picture and options.html:
        return _refuse("--html draws the picture that --no-picture leaves out; choose one")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # notes may hold what the terminal's encoding has not
    if options.watch:
        return _watch(options)
    try:
        history = read(_ledger(options))
        print(table(history, _ledger(options)), end="", flush=True)
        Pictures(options).write(history)
    except (HistoryError, OutOfReach) as error:
        return _refuse(str(error))
    if not options.no_picture:
        print(f"wrote {' and '.join(str(path) for path in (options.out, options.html) if path)}")
    return 0


class OutOfReach(Exception):
    """What was asked for cannot be drawn or written; the message says why and what to do."""


def _watch(options: argparse.Namespace) -> int:
    """Until an interrupt: the table is drawn in its place, and the files are written anew whenever a trial ends."""
    ledger = _ledger(options)
    in_place = sys.stdout.isatty()
    told: tuple[str, str] | None = None
    pictures = Pictures(options)
    while True:
        try:
            history = read(ledger) if ledger.exists() else History()
            trial = running((options.state or ledger.parent / DEFAULT_STATE).resolve())
            now = f"now: {trial}" if trial else "no trial runs at this moment"
            text, seen = table(history, ledger), (trial.note, trial.phase) if trial else ("", "")
            if in_place:
                print(f"{CLEAR}{text}\n{now}", flush=True)
            elif told != (text, str(seen)):
                print(f"{text}{now}", flush=True)
            if told != (text, str(seen)) or options.html:
                pictures.write(history, now)
            told = (text, str(seen))
        except (HistoryError, OutOfReach) as error:
            return _refuse(str(error))
        sleep(WATCH_SECONDS)


class Pictures:
    """What was asked for, drawn once for each state of the ledger: who watches must not disturb what is timed."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._of: History | None = None
        self._drawn: dict[str, str] = {}

    def write(self, history: History, now: str = "") -> None:
        """Raises OutOfReach."""
        options = self._options
        if options.no_picture:
            return
        try:
            from pytest_lance_ar.progress import page, picture
        except ImportError as error:
            raise OutOfReach(
                f"the picture needs matplotlib ({error}): pip install 'pytest-lance-ar[plot]', or --no-picture"
            ) from error
        for path in filter(None, (options.out, options.html)):
            if not path.parent.is_dir():
                raise OutOfReach(f"{path} cannot be written (there is no {path.parent})")
        try:
            if self._of != history:
                write_atomically(options.out, picture.png(history), PUBLIC)
                layouts = {"wide": picture.WIDE, "narrow": picture.NARROW} if options.html else {}
                self._drawn = {name: picture.svg(history, layout) for name, layout in layouts.items()}
                self._of = history
            if options.html:
                reload_seconds = WATCH_SECONDS if options.watch else 0
                text = page.page(history, **self._drawn, now=now, reload_seconds=reload_seconds)
                write_atomically(options.html, text, PUBLIC)
        except OSError as error:
            raise OutOfReach(f"{error.filename} cannot be written ({error.strerror})") from error


def _refuse(sentence: str) -> int:
    print(f"progress: {sentence}", file=sys.stderr)
    return ExitCode.USAGE


def _ledger(options: argparse.Namespace) -> Path:
    return Path(options.state / LEDGER if options.state else options.ledger or _ledger_here())


def _ledger_here() -> Path:
    """The ledger of the project in the working directory, by the shortest name."""
    here = Path.cwd()
    home = home_of(here)
    return Path(LEDGER) if home == here else home / LEDGER
