"""`python -m pytest_lance_ar finalize`: what was kept, as the text of a pull request, and a checklist."""

from __future__ import annotations

import argparse
import platform as python_platform
import sys
from contextlib import closing
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_lance_ar import __version__
from pytest_lance_ar.commands.audit import Duel, Gain, claim, duel_again, judge, kernel_of, rtol_of
from pytest_lance_ar.commands.stored import add_state_to, store_at
from pytest_lance_ar.files import PUBLIC, write_atomically
from pytest_lance_ar.host import platform
from pytest_lance_ar.host.parent import KernelFault
from pytest_lance_ar.memory.upstream import Replay, checklist, pull_request, verdict_on_porting
from pytest_lance_ar.speed.sides import IncumbentFailed
from pytest_lance_ar.store.memory import Tried, lineage
from pytest_lance_ar.store.store import Store, StoreError
from pytest_lance_ar.targets.protocol import Target
from pytest_lance_ar.targets.registry import named
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.evidence import FaultKind, Interval
from pytest_lance_ar.trial.options import DEFAULT_BUDGET
from pytest_lance_ar.trial.verdict import ExitCode

if TYPE_CHECKING:
    from pytest_lance_ar.commands import Commands


def add_to(commands: Commands) -> None:
    parser = commands.add_parser(
        "finalize",
        help="the kept trials as the text of a pull request, with the total gain timed once more",
        description="Writes PULL_REQUEST.md and CHECKLIST.md. Exit status: 0 when they are written, 1 when the ledger "
        "does not verify or nothing was kept, 4 usage, 11 too busy to replay.",
    )
    add_state_to(parser)
    parser.add_argument("--out", type=Path, default=Path("pull-request"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--no-replay", action="store_true", help="do not time the first baseline against the incumbent")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    try:
        store = store_at(options.state)
        store.open_to_audit()
    except (OSError, RuntimeError, ValueError, StoreError) as error:
        print(f"finalize: {error}", file=sys.stderr)
        return ExitCode.USAGE
    with closing(store):
        measure = None if options.no_replay else partial(duel_again, Deadline.after(DEFAULT_BUDGET))
        return finalize(store, options.out, measure)


def finalize(store: Store, out: Path, measure: Duel | None) -> int:
    """Write both files; `measure` times the incumbent against the first baseline."""
    try:
        store.recover()
        problem, steps = store.problem(), lineage(store.memory.trials()).steps
        if problem:
            return _refuse(f"the ledger does not verify: {problem}", ExitCode.DISCARD)
        if len(steps) < 2:
            return _refuse("no kernel was kept since the last baseline", ExitCode.DISCARD)
        replay = _replay(store, steps, measure) if measure else None
        record = steps[-1].record
        kernel = str(record.report["kernel"]) if record else "the kernel"
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(out / "PULL_REQUEST.md", pull_request(kernel, steps, replay, _host()), PUBLIC)
        write_atomically(out / "CHECKLIST.md", checklist(_target(store)), PUBLIC)
    except (KernelFault, IncumbentFailed) as error:
        in_time = error.failure.kind not in (FaultKind.TIMEOUT, FaultKind.BUSY)
        return _refuse(f"not replayed: {error}", ExitCode.DISCARD if in_time else ExitCode.INCONCLUSIVE)
    except (OSError, StoreError) as error:
        return _refuse(str(error), ExitCode.USAGE)
    print(f"{verdict_on_porting(replay)}\nwrote {out / 'PULL_REQUEST.md'} and {out / 'CHECKLIST.md'}")
    return 0


def _target(store: Store) -> Target:
    incumbent = store.incumbent
    assert incumbent is not None, "verified before"
    return named(incumbent.target)


def _replay(store: Store, steps: tuple[Tried, ...], measure: Duel) -> Replay:
    rows = [(tried.line, dict(tried.row)) for tried in steps]
    baseline, incumbent = (kernel_of(store.source_of, row) for _, row in (rows[0], rows[-1]))
    assert baseline is not None, "verified before"
    assert incumbent is not None, "verified before"
    speed = measure(incumbent, baseline, max(rtol_of(row) for _, row in rows))
    measured = Gain(1 / speed.ratio, Interval(1 / speed.ratio_interval.high, 1 / speed.ratio_interval.low))
    claimed = claim(rows)
    sentence = judge(claimed, measured)[1] if claimed else "a kept row claims no speed-up"
    return Replay(speed, str(claimed or "-"), sentence)


def _host() -> list[str]:
    core = platform.timing_core()
    return [
        f"{platform.cpu_name()}, {'not pinned' if core is None else 'one core'}",
        f"{python_platform.system()} {python_platform.machine()}, Python {python_platform.python_version()}",
        f"numba {version('numba')}, numpy {version('numpy')}, pytest-lance-ar {__version__}",
    ]


def _refuse(sentence: str, code: ExitCode) -> int:
    print(f"finalize: {sentence}", file=sys.stderr)
    return code
