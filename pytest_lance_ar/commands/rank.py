"""`python -m pytest_lance_ar rank FILE...`: which of these kernels is the fastest, and how sure is that?"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_lance_ar.files import PUBLIC, write_atomically
from pytest_lance_ar.host.parent import HostError, KernelFault
from pytest_lance_ar.population.examination import Order
from pytest_lance_ar.population.tournament import ExaminationBroke, examine, judge, real_duel
from pytest_lance_ar.targets.registry import target_of
from pytest_lance_ar.trial.kernel_source import Kernel
from pytest_lance_ar.trial.options import DEFAULT_BUDGET, MAX_RTOL, MAX_SEED
from pytest_lance_ar.trial.verdict import ExitCode

if TYPE_CHECKING:
    from pytest_lance_ar.commands import Commands

EPILOG = """\
Speed-ups are relative to the first correct kernel. A rank such as 2-3 is what
the 95% intervals of a kernel's differences from the others leave open: kernels
that share a rank were not told apart.

On several hosts: `rank FILE... --tx ssh=user@one --tx ssh=user@two`, which are
pytest-xdist's own gateway specifications. The kernels travel with the work, and
this package is copied to each host; what must be there is Python with numpy,
numba, hypothesis, pytest and pytest-xdist. Only correctness is spread: all
duels are fought on this host.

Exit status: 0 when at least one kernel is correct and ranked, 2 when none is,
4 for a usage error, 11 when other gates had the machine for too long, 70 when
the examination broke, 130 when interrupted.
"""


def add_to(commands: Commands) -> None:
    parser = commands.add_parser(
        "rank",
        help="rank a set of kernels: correctness spread over processes, then paired duels",
        description="Judge a set of kernels. Nothing is kept or stored.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="kernels; the first correct one is the reference")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("-n", dest="workers", metavar="N", help="spread correctness over N processes, as pytest -n does")
    where.add_argument("--tx", action="append", default=[], metavar="SPEC", help="... over these xdist gateways")
    parser.add_argument(
        "--seed", type=int, metavar="N", help="seed of the correctness suite's data (default: a fresh one)"
    )
    parser.add_argument("--rtol", type=float, default=0.0, metavar="R", help="as --lance-ar-rtol")
    parser.add_argument(
        "--budget",
        type=float,
        default=DEFAULT_BUDGET,
        metavar="SECONDS",
        help=f"for each examination and each duel (default: {DEFAULT_BUDGET:g})",
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the ranking as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    try:
        order = _order(options)
    except (OSError, ValueError) as error:
        print(f"rank: {error}", file=sys.stderr)
        return ExitCode.USAGE
    try:
        findings = examine(order, workers=options.workers, gateways=options.tx)
    except ExaminationBroke as error:
        print(f"rank: {error}", file=sys.stderr)
        return ExitCode.INTERNAL
    try:
        standings = judge(order, findings, real_duel(order, _progress), _progress)
    except HostError as error:
        print(f"rank: {error}", file=sys.stderr)
        return ExitCode.INTERNAL
    except KernelFault as fault:  # no kernel's: another gate had the machine
        print(f"rank: {fault.failure}", file=sys.stderr)
        return ExitCode.INCONCLUSIVE
    print(standings.as_text(), end="")
    if options.json is not None:
        try:
            write_atomically(options.json, json.dumps(standings.as_dict(), indent=1) + "\n", PUBLIC)
        except OSError as error:
            print(f"rank: {options.json} cannot be written: {error.strerror}", file=sys.stderr)
            return ExitCode.USAGE
    return 0 if standings.places else ExitCode.INCORRECT


def _order(options: argparse.Namespace) -> Order:
    seed = secrets.randbits(32) if options.seed is None else options.seed
    if not 0 <= seed <= MAX_SEED:
        raise ValueError("--seed must be from 0 to 2^63-1")
    if not 0 <= options.rtol <= MAX_RTOL:
        raise ValueError(f"--rtol must be from 0 to {MAX_RTOL:g}")
    if not 0 < options.budget < float("inf"):
        raise ValueError("--budget must be a number above 0")
    if options.workers is not None and options.workers not in ("auto", "logical") and not options.workers.isdigit():
        raise ValueError(f"-n must be a number or auto, not {options.workers!r}")
    if options.json is not None and not options.json.resolve().parent.is_dir():
        raise ValueError(f"--json {options.json} cannot be written: name a file in an existing directory")
    if len(set(options.files)) < len(options.files):
        raise ValueError("a kernel is named twice")
    kernels = tuple(Kernel.read(Path(name), name) for name in options.files)
    if len({target_of(kernel.source).name for kernel in kernels}) > 1:
        raise ValueError("the kernels are of several targets; rank those of one")
    return Order(kernels, seed, options.rtol, options.budget)


def _progress(text: str, _passing: bool = False, /) -> None:
    print(f"rank: {text}", file=sys.stderr, flush=True)
