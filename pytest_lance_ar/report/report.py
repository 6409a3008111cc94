"""One frozen report; the terminal block, the JSON, the ledger's row and the JUnit properties are views of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from importlib.metadata import version
from typing import Any, Final

from pytest_lance_ar import __version__
from pytest_lance_ar.host import platform
from pytest_lance_ar.text import one_line
from pytest_lance_ar.trial.evidence import Evidence, GuardFigures, Interval
from pytest_lance_ar.trial.remembered import Precedent, Remembered
from pytest_lance_ar.trial.trial import SIMPLIFY, Trial
from pytest_lance_ar.trial.verdict import ExitCode, Verdict

SCHEMA_VERSION: Final = 1
_KEY_WIDTH: Final = 23
_ABSENT: Final = "-"


@dataclass(frozen=True)
class Report:
    """A trial, its evidence and its verdict."""

    trial: Trial
    evidence: Evidence
    verdict: Verdict
    replay: str = ""
    remembered: Remembered = field(default_factory=Remembered)

    @property
    def correctness(self) -> str:
        evidence = self.evidence.correctness
        if self.verdict.code is ExitCode.INCORRECT:
            return "fail"
        if evidence.failed or evidence.missing:
            return "incomplete"
        return "pass"

    @property
    def description(self) -> str:
        rtol = self.trial.options.rtol
        words = [self.trial.options.note, SIMPLIFY if self.trial.simplify else "", f"[rtol {rtol:g}]" if rtol else ""]
        return " ".join(filter(None, words))

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON's types; `schema_version` changes when a key changes its meaning."""
        trial, evidence, speed = self.trial, self.evidence, self.evidence.speed
        failure = evidence.correctness.failure or evidence.speed_failure
        shapes = list(dict.fromkeys(combo.shape for combo in trial.target.combos))
        distributions = list(dict.fromkeys(combo.distribution for combo in trial.target.combos))
        compared = speed is not None and not evidence.against_itself
        precedent = self.remembered.precedent
        report: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "gate_version": __version__,
            "verdict": self.verdict.name,
            "exit_code": int(self.verdict.code),
            "reason": self.verdict.reason or None,
            "correctness": self.correctness,
            "first_failure": str(failure) if failure else None,
            "hint": (failure.hint or None) if failure else None,
            "replay": self.replay or None,
            "shapes_tested": shapes,
            "distributions_tested": distributions,
            "geomean_ns_per_query": None,
            "geomean_ns_ci_90pct": None,
            "worst": None,
            "best": None,
            "per_combo": [],
            "incumbent_geomean_ns_per_query": None,
            "speedup_vs_incumbent": None,
            "speedup_interval": None,
            "min_gain_pct": trial.options.min_gain,
            "largest_gain_pct": None,
            "noise_floor_pct": None,
            "guard_worst": None,
            "guard_worst_interval": None,
            "guard_worst_workload": None,
            "guard_worst_spec": None,
            "guard_geomean": None,
            "guard_geomean_interval": None,
            "guards": [],
            "guard_seed": None,
            "guard_seconds": None,
            "pack_seconds": None,
            "peak_mem_mb": None,
            "rounds": None,
            "timed_queries": None,
            "transport_ns": None,
            "total_seconds": evidence.total_seconds,
            "phases": evidence.phases,
            "unavoidable_seconds": evidence.unavoidable,
            "examples": evidence.correctness.examples,
            "target": trial.target.name,
            "kernel": trial.candidate.name,
            "kernel_sha256": trial.candidate.sha256,
            "incumbent": trial.incumbent_origin or None,
            "incumbent_sha256": trial.incumbent.sha256 if trial.incumbent else None,
            "commit": trial.commit,
            "timestamp": trial.timestamp,
            "seed": trial.seed,
            "workload_seeds": list(speed.workload_seeds) if speed else [],
            "confinement": list(speed.walls) if speed else [],
            "rtol": trial.options.rtol,
            "description": self.description,
            "simplify": trial.simplify,
            "nodes": trial.nodes,
            "incumbent_nodes": trial.incumbent_nodes,
            "already_tried": _precedent(precedent) if precedent else None,
            "trials_since_keep": self.remembered.trials_since_keep,
        }
        if speed is not None:
            report.update(
                geomean_ns_per_query=speed.geomean_ns,
                geomean_ns_ci_90pct=[speed.geomean_interval.low, speed.geomean_interval.high],
                worst={
                    "ns": speed.worst.candidate_ns,
                    "combo": [speed.worst.shape, speed.worst.distribution],
                },
                best={"ns": speed.best.candidate_ns, "combo": [speed.best.shape, speed.best.distribution]},
                per_combo=[asdict(combo) for combo in speed.combos],
                noise_floor_pct=speed.noise_floor_pct,
                pack_seconds=speed.pack_seconds,
                peak_mem_mb=None if math.isnan(speed.peak_mem_mb) else speed.peak_mem_mb,
                rounds=speed.rounds,
                timed_queries=speed.timed_queries,
                transport_ns=speed.transport_ns,
            )
        if speed is not None and speed.guards is not None:
            guards, worst = speed.guards, speed.guards.worst
            report.update(
                guard_worst=worst.ratio,
                guard_worst_interval=[worst.interval.low, worst.interval.high],
                guard_worst_workload=worst.name,
                guard_worst_spec=worst.spec,
                guard_geomean=guards.ratio,
                guard_geomean_interval=[guards.interval.low, guards.interval.high],
                guards=[_guard(guard) for guard in guards.workloads],
                guard_seed=guards.seed,
                guard_seconds=guards.seconds,
            )
        if speed is not None and compared:
            report.update(
                incumbent_geomean_ns_per_query=speed.incumbent_geomean_ns,
                speedup_vs_incumbent=1 / speed.ratio,
                speedup_interval=[1 / speed.ratio_interval.high, 1 / speed.ratio_interval.low],
                largest_gain_pct=None if speed.largest_gain is None else 100 * speed.largest_gain,
            )
        return report

    def as_json(self) -> str:
        return json.dumps(self.as_dict(), indent=1) + "\n"

    def as_text(self) -> str:
        """The block that ends the terminal's output."""
        return self.text_of(self.as_dict())

    @classmethod
    def text_of(cls, r: Mapping[str, Any]) -> str:
        """The block of a report that was stored as JSON."""
        lines = ["---", _line("verdict", r["verdict"]), _line("correctness", r["correctness"])]
        if r["correctness"] == "fail":
            lines.append(_line("first_failure", r["first_failure"] or r["reason"]))
            lines += [_line(key, r[key]) for key in ("hint", "replay") if r[key]]
        elif r["reason"]:
            lines.append(_line("reason", r["reason"]))
            lines += [_line(key, r[key]) for key in ("replay",) if r[key]]
        if r["already_tried"]:
            lines.append(_line("already_tried", _precedent_text(r["already_tried"])))
        if r["simplify"]:
            lines.append(_line("simplify", f"{r['nodes']} nodes, the incumbent has {r['incumbent_nodes']}"))
        if r["rtol"]:
            lines.append(_line("rtol", f"{r['rtol']:g} (rounding-level differences allowed)"))
        lines += [
            _line("shapes_tested", " ".join(r["shapes_tested"])),
            _line("distributions_tested", " ".join(r["distributions_tested"])),
        ]
        if r["geomean_ns_per_query"] is not None:
            lines += cls._speed_lines(r)
        elif r["trials_since_keep"] is not None:
            lines.append(_line("trials_since_keep", r["trials_since_keep"]))
        lines.append(_line("total_seconds", f"{r['total_seconds']:.1f}"))
        return "\n".join(lines) + "\n"

    @classmethod
    def _speed_lines(cls, r: Mapping[str, Any]) -> list[str]:
        low, high = r["geomean_ns_ci_90pct"]
        memory, since = r["peak_mem_mb"], r["trials_since_keep"]
        compared = r["speedup_vs_incumbent"] is not None
        return [
            _line("geomean_ns_per_query", f"{r['geomean_ns_per_query']:.0f}"),
            _line("geomean_ns_ci_90pct", f"[{low:.0f}, {high:.0f}]"),
            _line("worst_ns_per_query", _extreme(r["worst"])),
            _line("best_ns_per_query", _extreme(r["best"])),
            "per_combo_geomean_ns:",
            *(f"  {c['shape']} {c['distribution']} -> {c['candidate_ns']:.0f} ns" for c in r["per_combo"]),
            _line(
                "incumbent_geomean_ns_per_query",
                f"{r['incumbent_geomean_ns_per_query']:.0f}" if compared else _ABSENT,
            ),
            _line("speedup_vs_incumbent", cls._speedup(r) if compared else _ABSENT),
            _line("noise_floor_pct", f"{r['noise_floor_pct']:.1f}"),
            *_guard_lines(r),
            *([] if since is None else [_line("trials_since_keep", since)]),
            _line("pack_seconds", f"{r['pack_seconds']:.2f}"),
            _line("peak_mem_mb", _ABSENT if memory is None else f"{memory:.1f}"),
        ]

    @staticmethod
    def _speedup(r: Mapping[str, Any]) -> str:
        low, high = r["speedup_interval"]
        return f"{r['speedup_vs_incumbent']:.4f} [{low:.4f}, {high:.4f}]"

    def as_row(self) -> dict[str, str]:
        """The cells of `results.tsv`, by column."""
        r = self.as_dict()
        row = {key: str(r[key]) for key in ("commit", "timestamp", "verdict", "correctness", "kernel_sha256", "seed")}
        row.update(description=r["description"], reason=r["reason"] or "", total_seconds=f"{r['total_seconds']:.1f}")
        if r["geomean_ns_per_query"] is not None:
            low, high = r["geomean_ns_ci_90pct"]
            row.update(
                geomean_ns=f"{r['geomean_ns_per_query']:.0f}",
                ci_lo=f"{low:.0f}",
                ci_hi=f"{high:.0f}",
                worst_ns=f"{r['worst']['ns']:.0f}",
                worst_combo=" ".join(r["worst"]["combo"]),
                best_ns=f"{r['best']['ns']:.0f}",
                best_combo=" ".join(r["best"]["combo"]),
                peak_mem_mb="" if r["peak_mem_mb"] is None else f"{r['peak_mem_mb']:.1f}",
            )
        if r["speedup_vs_incumbent"] is not None:
            low, high = r["speedup_interval"]
            row.update(speedup=f"{r['speedup_vs_incumbent']:.4f}", speedup_lo=f"{low:.4f}", speedup_hi=f"{high:.4f}")
        if r["guard_worst"] is not None:
            for name in ("guard_worst", "guard_geomean"):
                low, high = r[f"{name}_interval"]
                row.update({name: f"{r[name]:.4f}", f"{name}_lo": f"{low:.4f}", f"{name}_hi": f"{high:.4f}"})
            row["guard_worst_spec"] = r["guard_worst_spec"]
        return row

    def as_properties(self) -> dict[str, str]:
        """The scalar facts, for JUnit."""
        return {
            key: str(value)
            for key, value in self.as_dict().items()
            if value is not None and not isinstance(value, (dict, list))
        }


def header(trial: Trial) -> list[str]:
    """What a run was made with, for the head of the terminal's output."""
    lacks = platform.lacking()
    core = "not pinned" if trial.core is None else f"pinned to core {trial.core}"
    against = "nothing yet: a correct kernel becomes the baseline"
    if trial.incumbent is not None:
        kept = _age(trial.incumbent_timestamp, trial.timestamp)
        origin = f"the incumbent, kept {kept}" if kept else trial.incumbent_origin
        against = f"{trial.incumbent.sha256[:12]}, {origin}"
    lines = [
        f"{trial.candidate.name} {trial.candidate.sha256[:12]}, target {trial.target.name}",
        f"against {against}",
        f"seed {trial.seed}, budget {trial.options.budget:g} s, numba {version('numba')}, numpy {version('numpy')}",
        f"{platform.cpu_name()}, {core}" + (f"; this platform has no {', no '.join(lacks)}" if lacks else ""),
    ]
    if container := platform.container():
        lines.append(f"container: {container}")
    return [f"lance-ar: {one_line(line)}" for line in lines]


def _age(then: str, now: str) -> str:
    """How long ago, in the largest unit that has passed; "" where it is not known."""
    try:
        seconds = (datetime.fromisoformat(now[:19]) - datetime.fromisoformat(then[:19])).total_seconds()
    except ValueError:
        return ""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return "just now"


def _line(key: str, value: object) -> str:
    return f"{key + ':':<{_KEY_WIDTH}}{'' if len(key) < _KEY_WIDTH - 1 else ' '}{one_line(value)}"


def _guard_lines(r: Mapping[str, Any]) -> list[str]:
    if r["guard_worst"] is None:
        return []
    (worst_low, worst_high), (low, high) = r["guard_worst_interval"], r["guard_geomean_interval"]
    worst = f"{r['guard_worst']:.3f} [{worst_low:.3f}, {worst_high:.3f}] ({r['guard_worst_workload']})"
    geomean = f"{r['guard_geomean']:.2f} [{low:.2f}, {high:.2f}] over {len(r['guards'])} workloads"
    return [_line("guard_worst", worst), _line("guard_geomean", geomean)]


def _guard(guard: GuardFigures) -> dict[str, Any]:
    return {**asdict(guard), "interval": [guard.interval.low, guard.interval.high]}


def _precedent(precedent: Precedent) -> dict[str, Any]:
    interval = precedent.interval
    return {**asdict(precedent), "interval": [interval.low, interval.high] if interval else None}


def _precedent_text(precedent: Mapping[str, Any]) -> str:
    interval = Interval(*precedent["interval"]) if precedent["interval"] else None
    return str(Precedent(precedent["trial"], precedent["verdict"], precedent["speedup"], interval))


def _extreme(extreme: dict[str, Any]) -> str:
    shape, distribution = extreme["combo"]
    return f"{extreme['ns']:.0f} ({shape}, {distribution})"
