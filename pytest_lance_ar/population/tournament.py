"""Judges a set of kernels: the correctness of all, spread over processes or hosts, then duels, one at a time."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pytest_lance_ar import __version__
from pytest_lance_ar.host import platform
from pytest_lance_ar.host.parent import KernelFault
from pytest_lance_ar.population import examination as population
from pytest_lance_ar.population.examination import Finding, Order
from pytest_lance_ar.population.ranking import Pairing, Place, follow_up, opening, rank
from pytest_lance_ar.speed.duel import Progress
from pytest_lance_ar.speed.measurement import duel_in_turn
from pytest_lance_ar.speed.sides import IncumbentFailed
from pytest_lance_ar.speed.statistics import geomean
from pytest_lance_ar.targets.registry import target_of
from pytest_lance_ar.text import one_line
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.evidence import NO_KERNELS, FaultKind, SpeedEvidence
from pytest_lance_ar.trial.kernel_source import Kernel

SCHEMA_VERSION: Final = 1
PACKAGE: Final = Path(__file__).parents[1]

Duel = Callable[[Kernel, Kernel], SpeedEvidence]


class ExaminationBroke(Exception):
    """The examination of the population did not run; the message is what pytest said."""


@dataclass(frozen=True)
class Loser:
    """A kernel that has no place in the ranking, and why."""

    kernel: int
    failure: str
    hint: str = ""
    replay: str = ""


@dataclass(frozen=True)
class Standings:
    """The outcome. ns: geomean ns per query over all combos and duels of a kernel. kernels are numbered as given."""

    kernels: tuple[Kernel, ...]
    places: tuple[Place, ...]
    losers: tuple[Loser, ...]
    ns: dict[int, float]
    duels: tuple[Pairing, ...]
    findings: tuple[Finding, ...]
    seed: int

    @property
    def reference(self) -> int | None:
        """The kernel that speed-ups are relative to: the first correct one."""
        return min((place.kernel for place in self.places), default=None)

    def as_dict(self) -> dict[str, Any]:
        """In JSON's types. Speed-ups are time of the reference / time of the kernel; intervals are 95% ones."""
        hosts = {finding.kernel: finding for finding in self.findings}
        return {
            "schema_version": SCHEMA_VERSION,
            "gate_version": __version__,
            "seed": self.seed,
            "cpu": platform.cpu_name(),
            "reference": None if self.reference is None else self.kernels[self.reference].name,
            "ranking": [
                {
                    "rank": number,
                    "possible_ranks": [place.best, place.worst],
                    "kernel": self.kernels[place.kernel].name,
                    "kernel_sha256": self.kernels[place.kernel].sha256,
                    "speedup": place.speedup,
                    "speedup_interval": [place.interval.low, place.interval.high],
                    "geomean_ns_per_query": self.ns[place.kernel],
                    "examples": hosts[place.kernel].examples,
                    "examined_on": hosts[place.kernel].host,
                }
                for number, place in enumerate(self.places, 1)
            ],
            "not_ranked": [
                {
                    "kernel": self.kernels[loser.kernel].name,
                    "kernel_sha256": self.kernels[loser.kernel].sha256,
                    "failure": loser.failure,
                    "hint": loser.hint or None,
                    "replay": loser.replay or None,
                }
                for loser in self.losers
            ],
            "duels": [
                {
                    "first": self.kernels[pairing.first].name,
                    "second": self.kernels[pairing.second].name,
                    "ratio": math.exp(pairing.log_ratio),
                    "interval": [
                        math.exp(pairing.log_ratio - pairing.half_width),
                        math.exp(pairing.log_ratio + pairing.half_width),
                    ],
                }
                for pairing in self.duels
            ],
        }

    def as_text(self) -> str:
        """The table: 80 columns, where the names of the kernels allow."""
        r = self.as_dict()
        lines = ["---"]
        if r["ranking"]:
            lines.append(f"{'rank':<6} {'speedup':>8} {'interval_95pct':<17} {'ns_per_query':>13}  kernel")
        for row in r["ranking"]:
            best, worst = row["possible_ranks"]
            low, high = row["speedup_interval"]
            interval = "reference" if row["kernel"] == r["reference"] else f"[{low:.4f}, {high:.4f}]"
            possible = f"{best}" if best == worst else f"{best}-{worst}"
            lines.append(
                f"{possible:<6} {row['speedup']:>8.4f} {interval:<17} "
                f"{row['geomean_ns_per_query']:>13.0f}  {one_line(row['kernel'])}"
            )
        for row in r["not_ranked"]:
            lines.append(f"not ranked: {one_line(row['kernel'])}")
            lines += [f"  {one_line(row[key])}" for key in ("failure", "hint", "replay") if row[key]]
        return "\n".join(lines) + "\n"


def examine(order: Order, *, workers: str | None, gateways: Sequence[str]) -> list[Finding]:
    """What the correctness suite makes of each kernel, in their order. Raises ExaminationBroke.

    workers: xdist's -n. gateways: xdist's --tx specifications; this package is copied to those that are elsewhere.
    """
    with tempfile.TemporaryDirectory(prefix="lance-ar-") as directory:
        here = Path(directory)
        here.joinpath("pytest.ini").write_text("[pytest]\n")
        here.joinpath(population.ORDER_FILE).write_text(json.dumps(order.as_dict()))
        command = [
            *(sys.executable, "-m", "pytest", "-p", population.__name__, "-p", "no:cacheprovider"),
            *("-p", "no:warnings", "--noconftest", "-q", "--no-header", "--no-summary"),
        ]
        if workers is not None:
            command += ["-n", workers]
        if gateways:
            command += ["-d", *(word for spec in gateways for word in ("--tx", spec))]
        if any(_is_elsewhere(spec) for spec in gateways):
            command.append(f"--rsyncdir={PACKAGE}")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        done = subprocess.run(command, cwd=here, env=environment, stdin=subprocess.DEVNULL, check=False)
        findings = {finding.kernel: finding for finding in population.read_findings(here / population.FINDINGS_FILE)}
    if done.returncode < 0 or done.returncode > 1 or not findings:
        raise ExaminationBroke(f"the examination ended with pytest's exit status {done.returncode}; see above")
    return [
        findings.get(number, Finding(number, "it was not examined: its worker was lost"))
        for number in range(len(order.kernels))
    ]


def _is_elsewhere(spec: str) -> bool:
    """Whether a gateway starts in another directory or on another host: "3*popen" does not."""
    return spec.rpartition("*")[2].partition("//")[0] != "popen" or "chdir=" in spec


def judge(order: Order, findings: Sequence[Finding], duel_of: Duel, progress: Progress) -> Standings:
    """Rank what is correct. A kernel that fails a timed call is out, and so are its duels.

    Raises KernelFault when other gates timed on this machine for too long.
    """
    losers = [Loser(f.kernel, f.failure, f.hint, f.replay) for f in findings if f.failure]
    standing = [finding.kernel for finding in findings if not finding.failure]
    duels: dict[tuple[int, int], SpeedEvidence] = {}

    def fight(pairs: Sequence[tuple[int, int]]) -> Loser | None:
        """Fight these duels; the kernel that failed, if one did."""
        for number, (first, second) in enumerate(pairs, 1):
            if (first, second) in duels:
                continue
            ours, theirs = order.kernels[first], order.kernels[second]
            progress(f"duel {number} of {len(pairs)}: {ours.name} against {theirs.name}")
            try:
                duels[first, second] = duel_of(ours, theirs)
            except IncumbentFailed as error:
                return Loser(second, str(error.failure), error.failure.hint)
            except KernelFault as fault:
                if fault.failure.kind in NO_KERNELS:
                    raise
                # A duel does not say which side was out of time.
                late = fault.failure.kind is FaultKind.TIMEOUT and not _fights_itself(theirs, duel_of)
                return Loser(second if late else first, str(fault.failure), fault.failure.hint)
        return None

    while len(standing) > 1:
        loser = fight(opening(standing)) or fight(follow_up(standing, _pairings(duels)))
        if loser is None:
            break
        losers.append(loser)
        standing.remove(loser.kernel)
        duels = {pair: speed for pair, speed in duels.items() if loser.kernel not in pair}
    if len(standing) == 1:
        kernel = order.kernels[standing[0]]
        progress(f"{kernel.name} alone")
        try:
            duels = {(standing[0], standing[0]): duel_of(kernel, kernel)}
        except (KernelFault, IncumbentFailed) as error:
            losers.append(Loser(standing.pop(), str(error.failure), error.failure.hint))
    times = {
        kernel: [speed.geomean_ns for (first, _), speed in duels.items() if first == kernel]
        + [speed.incumbent_geomean_ns for (_, second), speed in duels.items() if second == kernel]
        for kernel in standing
    }
    pairings = [pairing for pairing in _pairings(duels) if pairing.first != pairing.second]
    return Standings(
        kernels=order.kernels,
        places=tuple(rank(standing[0], pairings)) if standing else (),
        losers=tuple(sorted(losers, key=lambda loser: loser.kernel)),
        ns={kernel: geomean(ns) for kernel, ns in times.items()},
        duels=tuple(pairings),
        findings=tuple(findings),
        seed=order.seed,
    )


def _pairings(duels: Mapping[tuple[int, int], SpeedEvidence]) -> list[Pairing]:
    return [Pairing.of(*pair, speed.ratio, speed.ratio_interval) for pair, speed in duels.items()]


def _fights_itself(kernel: Kernel, duel_of: Duel) -> bool:
    try:
        duel_of(kernel, kernel)
    except (KernelFault, IncumbentFailed):
        return False
    return True


def real_duel(order: Order, progress: Progress) -> Duel:
    """The gate's own duel, of fixed length: nothing is decided by it, so it has no reason to end early."""
    core = platform.timing_core()

    def fight(first: Kernel, second: Kernel) -> SpeedEvidence:
        return duel_in_turn(
            target_of(first.source),
            first,
            second,
            core=core,
            deadline=Deadline.after(order.budget),
            rtol=order.rtol,
            only_figures=True,
            progress=progress,
        )

    return fight
