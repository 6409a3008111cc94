"""`bench --workload`: a kernel beside another one on guard workloads, as the gate times them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pytest_lance_ar.speed.duel import Progress, round_trip_ns
from pytest_lance_ar.speed.guards import Plan, processes, time_guards
from pytest_lance_ar.targets.protocol import Guard, Target
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.evidence import GuardEvidence
from pytest_lance_ar.trial.kernel_source import Kernel

FEW: Final = Plan(rounds=24, focus=0, seconds=4.0)
"""For some workloads that somebody asks for."""


def measure(
    target: Target,
    kernel: Kernel,
    rival: Kernel,
    guards: Sequence[Guard],
    *,
    core: int | None,
    deadline: Deadline,
    rtol: float = 0.0,
    plan: Plan = FEW,
    progress: Progress = lambda _text, _passing=False: None,
) -> GuardEvidence:
    """Time both on all workloads. Raises KernelFault, IncumbentFailed (the rival's), HostError."""
    transport_ns = round_trip_ns(core, deadline)
    with processes(target, kernel, rival, core=core, deadline=deadline) as pairs:
        evidence = time_guards(
            pairs,
            target,
            transport_ns=transport_ns,
            core=core,
            deadline=deadline,
            rtol=rtol,
            guards=guards,
            plan=plan,
            progress=progress,
        )
    assert evidence is not None, "there are workloads"
    return evidence


def as_text(evidence: GuardEvidence, rival: str) -> str:
    """A table, the kernel's worst workloads first. Brackets: intervals, all of which hold together."""
    lines = [f"kernel / {rival:<25}{rival + ' us':>14}  {'kernel us':>12}  workload"]
    for guard in sorted(evidence.workloads, key=lambda guard: -guard.ratio):
        interval = f"[{guard.interval.low:.3f}, {guard.interval.high:.3f}]"
        times = f"{guard.incumbent_ns / 1000:14,.1f}  {guard.candidate_ns / 1000:12,.1f}"
        lines.append(f"{guard.ratio:7.3f} {interval:<26}{times}  ({guard.name})")
    low, high = evidence.interval.low, evidence.interval.high
    if len(evidence.workloads) > 1:
        lines.append(f"{evidence.ratio:7.3f} [{low:.3f}, {high:.3f}]  geomean of {len(evidence.workloads)} workloads")
    return "\n".join(lines) + "\n"
