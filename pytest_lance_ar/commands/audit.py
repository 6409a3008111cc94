"""`python -m pytest_lance_ar audit`: is the ledger what the gate wrote, and is the gain that it adds up to real?"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_lance_ar.commands.kernel import kernel_here
from pytest_lance_ar.host import platform
from pytest_lance_ar.host.parent import KernelFault
from pytest_lance_ar.seal.fingerprints import fingerprint
from pytest_lance_ar.speed.guards import time_guards
from pytest_lance_ar.speed.measurement import duel_in_turn
from pytest_lance_ar.speed.preparation import Preparation, fresh_seed
from pytest_lance_ar.speed.sides import IncumbentFailed
from pytest_lance_ar.store.memory import lineage
from pytest_lance_ar.store.store import Row, Store, StoreError
from pytest_lance_ar.targets.registry import target_of
from pytest_lance_ar.text import one_line
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.evidence import NO_KERNELS, FaultKind, GuardEvidence, Interval, SpeedEvidence
from pytest_lance_ar.trial.kernel_source import Kernel
from pytest_lance_ar.trial.options import DEFAULT_BUDGET, MAX_RTOL
from pytest_lance_ar.trial.places import DEFAULT_STATE, home_of, ledger_of, witness_of
from pytest_lance_ar.trial.verdict import GUARD, ExitCode

if TYPE_CHECKING:
    from pytest_lance_ar.commands import Commands

REAL_SHARE: Final = 0.8
"""Of a claimed gain, as a logarithm, how much a replay must not exclude. The rest is what the luck of a process pair
and another day on the same machine may take; a sum of false keeps, which is to be found, loses nearly all of it."""

DRAWS: Final = 5
"""How often guard workloads are drawn for a replay: of fourteen each, 70 workloads."""

SourceOf = Callable[[str], "bytes | None"]
Duel = Callable[[Kernel, Kernel, float], SpeedEvidence]


@dataclass(frozen=True)
class Gain:
    """How many times as fast, with an interval."""

    ratio: float
    interval: Interval

    def __str__(self) -> str:
        return f"{self.ratio:.4f} [{self.interval.low:.4f}, {self.interval.high:.4f}]"


def add_to(commands: Commands) -> None:
    parser = commands.add_parser(
        "audit",
        help="verify results.tsv, and with --replay the total gain that it claims",
        description="Exit status: 0 all rows verify, the gain is real, and no guard workload is shown to have become "
        f"more than {GUARD} x as slow; 1 not so; 4 usage; 11 too noisy to say (--replay, --restore).",
    )
    parser.add_argument("--state", type=Path, metavar="DIR")
    parser.add_argument(
        "--replay",
        action="store_true",
        help="time the first baseline against the incumbent once more, on the combos and on 70 guard workloads",
    )
    parser.add_argument(
        "--restore",
        action="store_true",
        help="when the incumbent is lost: restore it and the ledger's head from ledger and sources, if a replay "
        "confirms the gain; what is sealed is sealed anew",
    )
    parser.add_argument("--budget", type=float, default=DEFAULT_BUDGET, metavar="SECONDS")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Audit a state directory and its ledger, and print what was found."""
    try:
        here = Path.cwd()
        state = (here / options.state).resolve() if options.state else home_of(here) / DEFAULT_STATE
        if not (math.isfinite(options.budget) and options.budget > 0):
            raise ValueError("--budget must be a number above 0")
        path = ledger_of(here, state)
        store = Store(state, path, None if options.state else witness_of(here))
        store.open_to_audit()
    except (OSError, RuntimeError, ValueError, StoreError) as error:
        print(f"audit: {error}", file=sys.stderr)
        return ExitCode.USAGE
    with closing(store):
        return _audit(store, path, options)


def _audit(store: Store, path: Path, options: argparse.Namespace) -> int:
    try:
        if store.recover():
            print("a run was cut short while it stored its outcome, which is complete now")
        problem = store.problem()
        kept = _since_baseline(store)
    except StoreError as error:
        problem, kept = str(error), []
    if problem:
        print(f"not verified: {path.name}: {problem}")
        return _lost(store, kept, options)
    if options.restore:
        print("nothing to restore: there is an incumbent")
    head = store.head()
    if head.forgotten:
        print(f"{path.name} was started anew; {head.forgotten} rows written before are not in it")
    print(f"verified: {head.rows} rows of {path}")
    if not options.replay:
        return ExitCode.KEPT
    return replay(store.source_of, kept, _measure(options))


def _lost(store: Store, kept: Sequence[Row], options: argparse.Namespace) -> ExitCode:
    """Say what can be restored where the incumbent is lost, and restore it, should that be asked for."""
    root = Path.cwd()
    kernel = root / kernel_here()
    try:
        if not store.lost:
            return ExitCode.DISCARD
        planned = store.restoration(kernel)
    except StoreError as error:
        print(f"not restorable: {one_line(error)}")
        return ExitCode.DISCARD
    named = f"{planned.incumbent.kernel.sha256[:12]}, kept in line {planned.line}"
    for line in planned.missing:
        print(f"lost for good: the source of the kernel that was kept in line {line}")
    if not options.restore:
        print(f"restorable: the incumbent {named}, and the head of {planned.head.rows} rows; add --restore")
        return ExitCode.DISCARD
    code = replay(lambda sha256: planned.source_of(sha256) or store.source_of(sha256), kept, _measure(options))
    if code is not ExitCode.KEPT:
        print("not restored")
        return code
    try:
        store.restore(planned, fingerprint(root, unsealed=frozenset({kernel.resolve()})))
    except StoreError as error:
        print(f"audit: {error}", file=sys.stderr)
        return ExitCode.USAGE
    print(f"restored: the incumbent {named}, and the head of {planned.head.rows} rows")
    print("the sealed files are those of now: compare them with what you trust (git status, git diff)")
    return ExitCode.KEPT


def _measure(options: argparse.Namespace) -> Duel:
    return partial(duel_again, Deadline.after(options.budget))


def _since_baseline(store: Store) -> list[Row]:
    """The last baseline, and what was kept after it and counts: the speed-ups that the incumbent's gain is made of."""
    try:
        return [(tried.line, dict(tried.row)) for tried in lineage(store.memory.trials()).steps]
    except OSError as error:
        raise StoreError(str(error)) from error


def replay(source_of: SourceOf, kept: Sequence[Row], measure: Duel) -> ExitCode:
    """Time the last baseline against the incumbent, and hold the outcome against what the ledger claims."""
    if len(kept) < 2:
        print("nothing to replay: no kernel was kept since the last baseline")
        return ExitCode.KEPT
    claimed = claim(kept)
    if claimed is None:
        print("not verified: a kept row claims no speed-up")
        return ExitCode.DISCARD
    (_, first), (_, last) = kept[0], kept[-1]
    baseline, incumbent = (kernel_of(source_of, row) for row in (first, last))
    if baseline is None or incumbent is None:
        print("not replayed: the source of the baseline is lost")
        return ExitCode.DISCARD
    try:
        rtol = max(rtol_of(row) for _, row in kept)
        speed = measure(incumbent, baseline, rtol)
    except (KernelFault, IncumbentFailed) as error:
        print(f"not replayed: {error}")
        in_time = error.failure.kind not in {FaultKind.TIMEOUT, *NO_KERNELS}
        return ExitCode.DISCARD if in_time else ExitCode.INCONCLUSIVE
    measured = Gain(1 / speed.ratio, Interval(1 / speed.ratio_interval.high, 1 / speed.ratio_interval.low))
    code, sentence = judge(claimed, measured)
    print(f"claimed:  {claimed}, the product of {len(kept) - 1} kept kernels since line {kept[0][0]}")
    print(f"measured: {measured}, {incumbent.name} against {baseline.name}")
    print(sentence)
    if speed.guards is None:
        return code
    text, shown = guard_table(speed.guards)
    print(text)
    return ExitCode.DISCARD if shown else code


def guard_table(guards: GuardEvidence) -> tuple[str, int]:
    """The incumbent's time over the baseline's on every guard workload, the losses first; and how many are shown."""
    lines = ["", "incumbent / baseline         baseline us  incumbent us  guard workload"]
    for guard in sorted(guards.workloads, key=lambda guard: -guard.ratio):
        interval = f"[{guard.interval.low:.3f}, {guard.interval.high:.3f}]"
        times = f"{guard.incumbent_ns / 1000:12,.1f}  {guard.candidate_ns / 1000:12,.1f}"
        lines.append(f"{guard.ratio:6.3f} {interval:<21}{times}  ({guard.name})")
    shown = [guard for guard in guards.workloads if guard.interval.low > GUARD]
    lines += [
        "",
        f"guards: geomean {guards.ratio:.3f} [{guards.interval.low:.3f}, {guards.interval.high:.3f}] over "
        f"{len(guards.workloads)} workloads; {sum(guard.ratio > 1 for guard in guards.workloads)} look slower than the "
        f"baseline, {len(shown)} are shown to be slower than {GUARD} x its time",
        *(f"  python -m pytest_lance_ar bench --workload '{guard.spec}'" for guard in shown[:5]),
    ]
    return "\n".join(lines), len(shown)


def claim(kept: Sequence[Row]) -> Gain | None:
    """The product of the kept speed-ups; their errors, independent ones, add up in quadrature. None without figures."""
    centre, variance = 0.0, 0.0
    for _, row in kept[1:]:
        try:
            ratio, low, high = (math.log(float(row[name])) for name in ("speedup", "speedup_lo", "speedup_hi"))
        except ValueError:
            return None
        if not math.isfinite(ratio + low + high):
            return None
        centre += ratio
        variance += ((high - low) / 2) ** 2
    half = math.sqrt(variance)
    return Gain(math.exp(centre), Interval(math.exp(centre - half), math.exp(centre + half)))


def judge(claimed: Gain, measured: Gain) -> tuple[ExitCode, str]:
    """Is the claim real? Not when the replay excludes REAL_SHARE of it; unknown when it excludes no gain either."""
    wanted = REAL_SHARE * math.log(claimed.ratio)
    if math.log(measured.interval.high) < wanted:
        return ExitCode.DISCARD, f"not real: the replay excludes even {REAL_SHARE:.0%} of the gain that is claimed"
    if measured.interval.low <= 1.0:
        return ExitCode.INCONCLUSIVE, "too noisy to say: the replay excludes neither the claimed gain nor none at all"
    return ExitCode.KEPT, "real: the replay confirms a gain, and does not exclude the one that is claimed"


def kernel_of(source_of: SourceOf, row: dict[str, str]) -> Kernel | None:
    sha256 = row["kernel_sha256"]
    source = source_of(sha256)
    return None if source is None else Kernel(f"{row['verdict']} {sha256[:12]}", source)


def rtol_of(row: dict[str, str]) -> float:
    """The tolerance that a row's description names."""
    _, found, rest = row["description"].rpartition("[rtol ")
    try:
        return min(float(rest.removesuffix("]")), MAX_RTOL) if found else 0.0
    except ValueError:
        return 0.0


def duel_again(deadline: Deadline, candidate: Kernel, incumbent: Kernel, rtol: float) -> SpeedEvidence:
    core, target = platform.timing_core(), target_of(incumbent.source)

    def guarded(speed: SpeedEvidence, preparation: Preparation) -> SpeedEvidence:
        with preparation.two_pairs() as pairs:
            guards = time_guards(
                pairs,
                target,
                transport_ns=speed.transport_ns,
                core=core,
                deadline=deadline,
                rtol=rtol,
                guards=[guard for _ in range(DRAWS) for guard in target.guards(fresh_seed())],
                progress=_print,
            )
        return replace(speed, guards=guards)

    return duel_in_turn(
        target,
        candidate,
        incumbent,
        core=core,
        deadline=deadline,
        rtol=rtol,
        min_gain_pct=0.0,  # the claim may be of any size
        guard=guarded,
        progress=_print,
    )


def _print(text: str, passing: bool = False, /) -> None:
    if not passing:
        print(f"audit: {text}", flush=True)
