"""`python -m pytest_lance_ar bench`: a kernel beside the Lance-shaped scalar baseline and faiss, in one run."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_lance_ar.bench.embeddings import word_embeddings
from pytest_lance_ar.bench.measure import BASELINE, FAISS, KERNEL, Contestant, ContestantFailed, Plan, Timed, measure
from pytest_lance_ar.bench.table import as_text, document
from pytest_lance_ar.bench.workloads import sections
from pytest_lance_ar.files import write_atomically
from pytest_lance_ar.host import platform
from pytest_lance_ar.host.parent import HostError
from pytest_lance_ar.speed.duel import Progress
from pytest_lance_ar.targets import pq_l2
from pytest_lance_ar.targets.pq_l2.target import SPEED_K
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.evidence import FaultKind
from pytest_lance_ar.trial.kernel_source import Kernel
from pytest_lance_ar.trial.options import DEFAULT_KERNEL, MAX_RTOL
from pytest_lance_ar.trial.verdict import ExitCode

if TYPE_CHECKING:
    from pytest_lance_ar.commands import Commands

BASELINE_FILE: Final = Path(pq_l2.__file__).with_name("baseline.py")
FAISS_DRIVER: Final = "pytest_lance_ar.bench.faiss_driver"
SECTION_SECONDS: Final = 1200.0
"""What a section may take; a call that hangs is ended long before."""
SECTIONS: Final = {
    "combos": "the gate's nine combos (default)",
    "sizes": "20,000 to 1,000,000 vectors, and what packing them takes",
    "shapes": "shapes that the gate does not time",
    "data": "other data: heavy-tailed and, with the extra [embeddings], real",
}
BUSY: Final = 1.0
"""Load average from which on others are likely to run on the core that is timed on."""
FULL: Final = Plan(epochs=5, rounds=16)
LARGE: Final = Plan(epochs=3, rounds=8)
"""For sections with large code sets, which take long to pack and to search."""
QUICK: Final = Plan(epochs=2, rounds=6)


def add_to(commands: Commands) -> None:
    parser = commands.add_parser(
        "bench",
        help="time a kernel beside the Lance-shaped scalar baseline and, where it is installed, faiss",
        description=(
            "Times kernel, baseline and faiss IndexPQ (the extra [faiss]) in turns on one core, compares the kernel's "
            "answers with the reference, and prints a table a section. It gives no verdict: only the gate does."
        ),
    )
    for name, what in SECTIONS.items():
        parser.add_argument(f"--{name}", action="append_const", dest="sections", const=name, help=what)
    parser.add_argument("--all", action="store_true", help="all of them")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, and no set of 1,000,000 vectors")
    parser.add_argument("--kernel", type=Path, default=Path(DEFAULT_KERNEL), metavar="PATH")
    parser.add_argument("--against", type=Path, metavar="PATH", help="another kernel in the baseline's place")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the data (default 0)")
    parser.add_argument("--rtol", type=float, default=0.0, metavar="R", help="as --lance-ar-rtol")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file as well")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure the sections asked for and print each as soon as it is done."""
    against = options.against or BASELINE_FILE
    try:
        if not 0 <= options.rtol <= MAX_RTOL:
            raise ValueError(f"--rtol must be from 0 to {MAX_RTOL:g}")
        contestants = [
            Contestant(KERNEL, Kernel.read(options.kernel, str(options.kernel))),
            Contestant(BASELINE, Kernel.read(against, against.name)),
        ]
    except (OSError, ValueError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return ExitCode.USAGE
    faiss = _faiss_version()
    if faiss:
        contestants.append(Contestant(FAISS, Kernel("faiss", b""), FAISS_DRIVER))
    known = sections(options.quick)
    wanted = [name for name in known if options.all or name in (options.sections or ["combos"])]
    core = platform.timing_core()
    print(_header(contestants, core, faiss, wanted))
    timed: dict[str, list[Timed]] = {}
    try:
        for name in wanted:
            section = known[name]
            timed[name] = measure(
                section.workloads,
                contestants,
                QUICK if options.quick else LARGE if section.by_size else FULL,
                seed=options.seed,
                core=core,
                deadline=Deadline.after(SECTION_SECONDS),
                rtol=options.rtol,
                packing=section.by_size,
                progress=_progress(name),
            )
            print(as_text(section.title, timed[name], by_size=section.by_size), flush=True)
    except ContestantFailed as failed:
        failure = failed.failure
        print("\n".join(filter(None, [f"bench: {failed}", failure.hint, failure.detail])), file=sys.stderr)
        if failed.name != KERNEL:
            return ExitCode.USAGE
        return ExitCode.TIMEOUT if failure.kind is FaultKind.TIMEOUT else ExitCode.INCORRECT
    except HostError as error:
        print(f"bench: {error}", file=sys.stderr)
        return ExitCode.INTERNAL
    if options.json:
        host = {"host": platform.cpu_name(), "core": core, "faiss": faiss, "seed": options.seed, "quick": options.quick}
        kernels = {c.name: {"name": c.source.name, "sha256": c.source.sha256} for c in contestants if c.name != FAISS}
        try:
            write_atomically(options.json, json.dumps(document({**host, **kernels}, timed), indent=1) + "\n")
        except OSError as error:
            print(f"bench: {error}", file=sys.stderr)
            return ExitCode.USAGE
    return 0


def _faiss_version() -> str | None:
    """The version of faiss, which only its own process imports; None where it is not installed."""
    if util.find_spec("faiss") is None:
        return None
    try:
        return metadata.version("faiss-cpu")
    except metadata.PackageNotFoundError:  # built by hand, or from another channel
        return "of unknown version"


def _header(contestants: Sequence[Contestant], core: int | None, faiss: str | None, wanted: Sequence[str]) -> str:
    names = ", ".join(f"{c.name} {c.source.name} ({c.source.sha256[:12]})" for c in contestants if c.name != FAISS)
    lines = [
        f"{platform.cpu_name()}, {'not pinned' if core is None else f'core {core}'}; k {SPEED_K}; {names}",
        f"faiss {faiss} IndexPQ, one thread, the same codebook and codes"
        if faiss
        else "faiss is not installed and left out: pip install 'pytest-lance-ar[faiss]'",
    ]
    if "data" in wanted and word_embeddings() is None:
        lines.append("real embeddings are not installed and left out: pip install 'pytest-lance-ar[embeddings]'")
    load = os.getloadavg()[0]
    if load > BUSY:
        lines.append(f"The machine is busy (load {load:.1f}): times are too long, the longest most; ratios are noisy.")
    lines.append("Times are medians over rounds, of one query; in brackets the middle half of the rounds.")
    return "\n".join(lines) + "\n"


def _progress(section: str) -> Progress:
    def progress(text: str, _passing: bool = False, /) -> None:
        print(f"{section}: {text}", file=sys.stderr, flush=True)

    return progress
