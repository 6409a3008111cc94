"""`python -m pytest_lance_ar bench`: a kernel beside its target's scalar baseline and a library, in one run."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_lance_ar.bench.guards import as_text as workloads_as_text
from pytest_lance_ar.bench.guards import measure as time_workloads
from pytest_lance_ar.bench.measure import BASELINE, KERNEL, Contestant, ContestantFailed, Plan, Timed, measure
from pytest_lance_ar.bench.table import as_text, document
from pytest_lance_ar.bench.workloads import benchmarks_of, sections_of
from pytest_lance_ar.commands.kernel import kernel_here
from pytest_lance_ar.files import PUBLIC, write_atomically
from pytest_lance_ar.host import platform
from pytest_lance_ar.host.parent import HostError, KernelFault
from pytest_lance_ar.speed.duel import Progress
from pytest_lance_ar.speed.sides import IncumbentFailed
from pytest_lance_ar.store.store import Store, StoreError
from pytest_lance_ar.targets.benchmarks import Benchmarks, Section
from pytest_lance_ar.targets.protocol import Target
from pytest_lance_ar.targets.registry import target_of
from pytest_lance_ar.trial import git
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.evidence import Failure, FaultKind, GuardEvidence
from pytest_lance_ar.trial.kernel_source import Kernel
from pytest_lance_ar.trial.options import MAX_RTOL
from pytest_lance_ar.trial.places import DEFAULT_STATE, home_of, ledger_of
from pytest_lance_ar.trial.verdict import ExitCode

if TYPE_CHECKING:
    from pytest_lance_ar.commands import Commands

INCUMBENT: Final = "incumbent"
SECTION_SECONDS: Final = 1200.0
"""What a section may take; a call that hangs is ended long before."""
SECTIONS: Final = {
    "combos": "the gate's combos (default)",
    "sizes": "from few vectors to many, and what packing them takes",
    "shapes": "shapes that the gate does not time",
    "data": "other data: heavy-tailed and, with the extra [embeddings], real",
    "lance": "as an IVF_PQ index asks: a query visits many small partitions, a table for each",
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
        help="time a kernel beside its target's scalar baseline and, where it is installed, a library",
        description=(
            "Times kernel, baseline and, where the target has one, a library (the extra [faiss]) in turns on one core, "
            "compares the kernel's answers with the reference, and prints a table a section. Sections but --combos are "
            "there where the target brings them. With --workload it times guard workloads as the gate "
            "does, the kernel and the other one alone. It gives no verdict: only the gate does."
        ),
    )
    for name, what in SECTIONS.items():
        if name != "data":
            parser.add_argument(f"--{name}", action="append_const", dest="sections", const=name, help=what)
    parser.add_argument(
        "--data",
        action="append",
        nargs="?",
        const="",
        metavar="FILE.npz",
        help=f"{SECTIONS['data']}; with a file, your own: codebook float32 (M, K, dsub), codes uint8 (N, M), queries "
        "float32 (Q, M x dsub), as numpy.savez writes them",
    )
    parser.add_argument("--all", action="store_true", help="all of them")
    parser.add_argument(
        "--workload",
        action="append",
        metavar="SPEC",
        help="a guard workload, as a report names it, e.g. 'shape=128,16,256 distribution=clustered seed=7 n=700 k=100 "
        "queries=foreign'; may be given more than once",
    )
    parser.add_argument("--k", type=int, default=10, metavar="K", help="of --data FILE.npz (default 10)")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, and no set of 1,000,000 vectors")
    parser.add_argument("--kernel", type=Path, default=kernel_here(), metavar="PATH")
    parser.add_argument(
        "--against",
        metavar="PATH",
        help="another kernel in the baseline's place: a file, a git ref, or `incumbent`, the one that is stored",
    )
    parser.add_argument("--state", metavar="DIR", help="where the incumbent is stored")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the data (default 0)")
    parser.add_argument("--rtol", type=float, default=0.0, metavar="R", help="as --lance-ar-rtol")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file as well")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure the sections asked for and print each as soon as it is done."""
    try:
        if not 0 <= options.rtol <= MAX_RTOL:
            raise ValueError(f"--rtol must be from 0 to {MAX_RTOL:g}")
        kernel = Kernel.read(options.kernel, str(options.kernel))
        target = target_of(kernel.source)
        rival = _rival(options, target)
        guards = [target.parse_guard(spec) for spec in options.workload or ()]
        wanted = _sections(options, target, only_guards=bool(guards))
    except (OSError, ValueError, StoreError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return ExitCode.USAGE
    added = benchmarks_of(target)
    library = added.library if added and wanted else ""
    version = added.version() if added and library else None
    core = platform.timing_core()
    print(_header({KERNEL: kernel, BASELINE: rival}, core, _notes(added, library, version, wanted)))
    timed: dict[str, list[Timed]] = {}
    times: GuardEvidence | None = None
    try:
        if guards:
            times = time_workloads(
                target,
                kernel,
                rival,
                guards,
                core=core,
                deadline=Deadline.after(SECTION_SECONDS),
                rtol=options.rtol,
                progress=_progress("workloads"),
            )
            print(workloads_as_text(times, BASELINE if options.against is None else rival.name), flush=True)
        for name, section in wanted.items():
            timed[name] = measure(
                section.workloads,
                _contestants(kernel, rival, section, target, library if version else ""),
                QUICK if options.quick else LARGE if section.by_size else FULL,
                seed=options.seed,
                core=core,
                deadline=Deadline.after(SECTION_SECONDS),
                rtol=options.rtol,
                packing_driver=section.packing_driver,
                progress=_progress(name),
            )
            print(as_text(section.title, timed[name], by_size=section.by_size), flush=True)
            if section.afterwards is not None:
                _progress(name)("asking further")
                print(section.afterwards(), end="\n", flush=True)
    except ContestantFailed as failed:
        return _failed(str(failed), failed.failure, failed.name == KERNEL)
    except IncumbentFailed as failed:
        return _failed(f"{rival.name} failed: {failed.failure}", failed.failure, False)
    except HostError as error:
        print(f"bench: {error}", file=sys.stderr)
        return ExitCode.INTERNAL
    except KernelFault as fault:
        return _failed(f"the kernel failed: {fault.failure}", fault.failure, True)
    if options.json:
        host = {"host": platform.cpu_name(), "core": core, "seed": options.seed, "quick": options.quick}
        host |= {library: version} if library else {}
        both = {KERNEL: kernel, BASELINE: rival}
        kernels = {name: {"name": one.name, "sha256": one.sha256} for name, one in both.items()}
        more = {"workloads": [asdict(one) for one in times.workloads]} if times else {}
        try:
            text = json.dumps(document({**host, **kernels, **more}, timed), indent=1)
            write_atomically(options.json, text + "\n", PUBLIC)
        except OSError as error:
            print(f"bench: {error}", file=sys.stderr)
            return ExitCode.USAGE
    return 0


def _failed(sentence: str, failure: Failure, is_kernel: bool) -> int:
    print("\n".join(filter(None, [f"bench: {sentence}", failure.hint, failure.detail])), file=sys.stderr)
    if not is_kernel:
        return ExitCode.USAGE
    return ExitCode.TIMEOUT if failure.kind is FaultKind.TIMEOUT else ExitCode.INCORRECT


def _contestants(kernel: Kernel, rival: Kernel, section: Section, target: Target, library: str) -> list[Contestant]:
    driver = section.driver or target.driver
    both = [Contestant(KERNEL, kernel, driver), Contestant(BASELINE, rival, driver)]
    if not (library and section.library_driver):
        return both
    return [*both, Contestant(library, Kernel(library, b""), section.library_driver, library=True)]


def _rival(options: argparse.Namespace, target: Target) -> Kernel:
    """What stands in the baseline's place. Raises OSError, StoreError, and ValueError where there is no incumbent."""
    against = options.against
    if against is None:
        place = target.suite.with_name("baseline.py")
        return Kernel.read(place, place.name)
    if Path(against).is_file():
        return Kernel.read(Path(against), against)
    if against == INCUMBENT:
        here = Path.cwd()
        state = (here / options.state).resolve() if options.state else home_of(here) / DEFAULT_STATE
        incumbent = Store(state, ledger_of(here, state)).incumbent
        if incumbent is None:
            raise ValueError(f"{state} has no incumbent; name its directory with --state DIR, or a file with --against")
        return Kernel(f"incumbent {incumbent.kernel.sha256[:12]}", incumbent.kernel.source)
    source = git.source_at(options.kernel.resolve(), against)
    if source is None:
        return Kernel.read(Path(against), against)  # which says that there is no such file
    return Kernel(f"{against}:{options.kernel}", source)


def _sections(options: argparse.Namespace, target: Target, *, only_guards: bool) -> dict[str, Section]:
    """What to time, by name. Raises OSError and ValueError for what the target has not, or what is no file for it."""
    asked = [*(options.sections or ()), *("data" for name in options.data or () if not name)]
    files = [Path(name) for name in options.data or () if name]
    if not (asked or files or only_guards):
        asked = ["combos"]
    there, added = sections_of(target, options.quick), benchmarks_of(target)
    lacking = [f"--{name}" for name in asked if name not in there]
    if lacking:
        raise ValueError(f"the target {target.name} has no {', '.join(lacking)}; it has --{', --'.join(there)}")
    found = {name: one for name, one in there.items() if options.all or name in asked}
    if files and added is None:
        raise ValueError(f"the target {target.name} takes no file of your own")
    if files and added is not None:
        own = tuple(added.own(path, options.k) for path in files)
        found["own"] = replace(there["combos"], title="Your own data", workloads=own)
    return found


def _notes(added: Benchmarks | None, library: str, version: str | None, wanted: Collection[str]) -> list[str]:
    lines = []
    if version:
        lines.append(f"{library} {version}, one thread, asked the same")
    elif library:
        lines.append(f"{library} is not installed and left out: pip install 'pytest-lance-ar[{library}]'")
    return [*lines, *(added.notes(wanted) if added else [])]


def _header(kernels: Mapping[str, Kernel], core: int | None, notes: Sequence[str]) -> str:
    names = ", ".join(f"{name} {kernel.name} ({kernel.sha256[:12]})" for name, kernel in kernels.items())
    lines = [f"{platform.cpu_name()}, {'not pinned' if core is None else f'core {core}'}; {names}", *notes]
    load = os.getloadavg()[0]
    if load > BUSY:
        lines.append(f"The machine is busy (load {load:.1f}): times are too long, the longest most; ratios are noisy.")
    lines.append("Times are medians over rounds, of one query; in brackets the middle half of the rounds.")
    return "\n".join(lines) + "\n"


def _progress(section: str) -> Progress:
    def progress(text: str, _passing: bool = False, /) -> None:
        print(f"{section}: {text}", file=sys.stderr, flush=True)

    return progress
