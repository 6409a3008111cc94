"""Builders of trials and evidence, for tests that judge and report without a kernel's process, and of a project."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_lance_ar.targets.pq_l2.target import TARGET
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.evidence import (
    ComboFigures,
    CorrectnessEvidence,
    Evidence,
    Examination,
    Failure,
    FaultKind,
    GuardEvidence,
    GuardFigures,
    Interval,
    SpeedEvidence,
)
from pytest_lance_ar.trial.kernel_source import Kernel
from pytest_lance_ar.trial.options import Options
from pytest_lance_ar.trial.trial import Trial
from tests import kernels

ALONE_AND_SLOWLY_WITH_WORKERS = pytest.mark.parametrize(
    "workers", [pytest.param((), id="alone"), pytest.param(("-n", "2"), id="xdist", marks=pytest.mark.slow)]
)
"""With `-n 2` as well, which the slow tests show."""

CANDIDATE = Kernel("kernel/pq_l2.py", b"class PqKernel: ...  # the candidate\n")
INCUMBENT = Kernel("kernel/pq_l2.py", b"class PqKernel: ...  # the incumbent\n")
WRONG = Failure(
    FaultKind.WRONG_ANSWER,
    "distance_table[3, 7]: expected 1.5, got 1.75, abs error 0.25, 2097152 ulps",
    where="shape (128,16,256), gaussian, seed 7, N 40, k 10",
    case="shape=128,16,256 distribution=gaussian seed=7 n=40 k=10",
    hint="not rounding: the arithmetic differs",
)
SMALLEST_NS = 10_000.0
STEP_NS = 1_000.0


def trial_of(
    *,
    root: Path = Path("/project"),
    candidate: Kernel = CANDIDATE,
    incumbent: Kernel | None = INCUMBENT,
    simplify: bool = False,
    **options: Any,
) -> Trial:
    """A trial of one kernel against another; further arguments are fields of its options."""
    return Trial(
        options=replace(
            Options(
                root=root,
                kernel=root / "kernel" / "pq_l2.py",
                state=root / ".lance_ar",
                ledger=root / "results.tsv",
                seed=7,
            ),
            **options,
        ),
        target=TARGET,
        candidate=candidate,
        incumbent=incumbent,
        incumbent_origin="incumbent 0123456789ab, kept 2026-01-01T00:00:00Z at abc1234" if incumbent else "",
        commit="abc1234-dirty",
        timestamp="2026-02-03T04:05:06Z",
        deadline=Deadline(time.time() + 600),
        core=1,
        simplify=simplify,
        nodes=len(candidate.source),
        incumbent_nodes=len(incumbent.source) if incumbent else None,
    )


def combos_of(ratio: float) -> tuple[ComboFigures, ...]:
    """The target's combos, the incumbent at 10,000 ns, 11,000 ns and so on, the candidate at `ratio` of it."""
    return tuple(
        ComboFigures(
            combo.shape,
            combo.distribution,
            candidate_ns=ratio * (SMALLEST_NS + STEP_NS * i),
            incumbent_ns=SMALLEST_NS + STEP_NS * i,
            ratio=ratio,
            steps={"table": 0.1, "scan": 0.88, "call": 0.02},
        )
        for i, combo in enumerate(TARGET.combos)
    )


def guards_of(ratio: float = 0.94, *more: GuardFigures, low: float | None = None) -> GuardEvidence:
    """Fourteen guard workloads, all of this ratio and with an interval of a hundredth to either side, and more."""
    around = Interval(ratio * 0.99, ratio * 1.01)
    same = tuple(
        GuardFigures(f"(64,8,16), uniform, N {200 + i}, k 1", f"n={200 + i}", 1000 * ratio, 1000, ratio, around)
        for i in range(14 - len(more))
    )
    interval = Interval(ratio * 0.999 if low is None else low, ratio * 1.001 if low is None else 2 * low)
    return GuardEvidence((*same, *more), ratio, interval, seed=5, timed_queries=336, seconds=4.5)


def guard(low: float, ratio: float, high: float, name: str = "(96,12,256), clustered, N 700, k 100") -> GuardFigures:
    """One guard workload of these figures."""
    spec = "shape=96,12,256 distribution=clustered seed=3 n=700 k=100"
    return GuardFigures(name, spec, 1000 * ratio, 1000, ratio, Interval(low, high))


def speed_of(
    ratio: float = 0.9,
    low: float | None = None,
    high: float | None = None,
    *,
    combos: tuple[ComboFigures, ...] | None = None,
    **fields: Any,
) -> SpeedEvidence:
    """What a duel of this ratio measured, its interval half a percent to either side where none is given."""
    speed = SpeedEvidence(
        combos=combos_of(ratio) if combos is None else combos,
        geomean_ns=18_000.4 * ratio,
        geomean_interval=Interval(17_900.6 * ratio, 18_100.2 * ratio),
        incumbent_geomean_ns=18_000.4,
        ratio=ratio,
        ratio_interval=Interval(ratio * 0.995 if low is None else low, ratio * 1.005 if high is None else high),
        confirmed=True,
        noise_floor_pct=0.34,
        rounds=60,
        timed_queries=12_960,
        transport_ns=5_432.1,
        pack_seconds=0.0234,
        peak_mem_mb=28.44,
        seconds=9.5,
        guards=guards_of() if (ratio * 1.005 if high is None else high) < 1 else None,
    )
    return replace(speed, **fields)


def all_passed() -> tuple[Examination, ...]:
    """Every test of the suite, passed."""
    return tuple(Examination(test, passed=True, examples=8) for test in sorted(TARGET.suite_tests))


def correctness_of(*examinations: Examination, **fields: Any) -> CorrectnessEvidence:
    """The evidence of these examinations, of a complete passing suite where there are none."""
    return replace(CorrectnessEvidence(TARGET.suite_tests, examinations or all_passed(), seconds=2.5), **fields)


def incorrect(failure: Failure = WRONG) -> CorrectnessEvidence:
    """A suite that stopped at its first failure."""
    return correctness_of(Examination(sorted(TARGET.suite_tests)[0], passed=False, examples=3, failure=failure))


def evidence_of(**fields: Any) -> Evidence:
    """A complete passing suite and a clear gain; arguments are fields of the evidence."""
    evidence = Evidence(
        correctness_of(),
        speed_of(),
        total_seconds=12.34,
        phases={"correctness": 2.5, "speed": 9.5, "other": 0.34},
    )
    return replace(evidence, **fields)


def project_at(root: Path, conftest: str) -> Path:
    """A project that is not this one: the quick kernel, and this conftest."""
    (root / "kernel").mkdir(parents=True)
    (root / "pytest.ini").write_text("[pytest]\n")
    (root / "conftest.py").write_text(conftest)
    (root / "kernel" / "pq_l2.py").write_text(kernels.PURE_PYTHON)
    return root
