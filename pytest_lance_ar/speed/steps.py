"""What a call is made of: how long each of a kernel's steps takes. Its own process tells; nobody is judged by that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from pytest_lance_ar.host.parent import KernelHost, Pack
from pytest_lance_ar.host.platform import pinned
from pytest_lance_ar.speed.duel import no_garbage_collection
from pytest_lance_ar.speed.stages_driver import STAGES
from pytest_lance_ar.targets.protocol import Instance, Target
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.evidence import SpeedEvidence
from pytest_lance_ar.trial.kernel_source import Kernel

DRIVER: Final = "pytest_lance_ar.speed.stages_driver"
CALL: Final = "call"
"""What a call takes beside its steps: Python, the copies, the round trip's share that is not subtracted."""
WARMUP: Final = 3
CALLS: Final = 12
FASTEST: Final = 3
SECONDS: Final = 15.0
"""What the steps of a kept kernel may take at the most."""


def host_of(target: Target, *, core: int | None, deadline: Deadline) -> KernelHost:
    """A process whose kernel tells its steps."""
    return KernelHost(DRIVER, core=core, deadline=deadline, beside=[target.driver])


def telling(instance: Instance, target: Target) -> Instance:
    """An instance whose first pack tells the steps of its calls."""
    pack = instance.packs[0]
    told = replace(pack, outputs={**pack.outputs, "stages": ("int64", (STAGES,))})
    return replace(instance, params={**instance.params, "driver": target.driver}, packs=[told])


def steps_of(packed: Pack, calls: Sequence[int], target: Target, transport_ns: float) -> dict[str, float]:
    """Nanoseconds of each step by name, CALL last: medians of the fastest third of these calls, which others disturbed
    least. transport_ns: of a round trip without a kernel."""
    names = list(target.steps.values())[:STAGES]
    told = sorted(((packed.call(i), packed.outputs["stages"].copy()) for i in calls), key=lambda call: call[0])
    told = told[: max(1, len(told) // FASTEST)]
    whole = float(np.median([ns for ns, _ in told])) - transport_ns
    stages = np.median([np.maximum(stages, 0) for _, stages in told], axis=0)[: len(names)]
    steps = {name: float(ns) for name, ns in zip(names, stages, strict=True)}
    return {**steps, CALL: max(0.0, whole - sum(steps.values()))}


def with_steps(
    speed: SpeedEvidence,
    kernel: Kernel,
    target: Target,
    workloads: Sequence[Instance],
    *,
    code: bytes,
    core: int | None,
    deadline: Deadline,
) -> SpeedEvidence:
    """The figures of a kernel, each combo's with the share that a step has in a call. Raises KernelFault."""
    deadline = Deadline.after(min(SECONDS, deadline.remaining()))
    with host_of(target, core=core, deadline=deadline) as host:
        host.load(kernel.source, kernel.name, code=code)
        combos = []
        for figures, workload in zip(speed.combos, workloads, strict=True):
            instance = telling(workload, target)
            packed, _ = host.pack(host.build(instance), instance.packs[0])
            with pinned(core), no_garbage_collection():
                for i in range(WARMUP):
                    packed.call(i)
                steps = steps_of(packed, range(WARMUP, WARMUP + CALLS), target, speed.transport_ns)
            combos.append(replace(figures, steps=_shares(steps)))
    return replace(speed, combos=tuple(combos))


def _shares(steps: Mapping[str, float]) -> dict[str, float]:
    total = max(1.0, sum(steps.values()))
    return {name: ns / total for name, ns in steps.items()}
