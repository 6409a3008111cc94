"""Where a kernel's time goes: steps of a call, compiling and packing, beside what reading its data costs at least."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from pytest_lance_ar.bench.stages_driver import STAGES
from pytest_lance_ar.host.parent import KernelHost
from pytest_lance_ar.host.platform import pinned
from pytest_lance_ar.speed.duel import Progress, no_garbage_collection, round_trip_ns
from pytest_lance_ar.targets.protocol import Instance, Target
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.kernel_source import Kernel

DRIVER: Final = "pytest_lance_ar.bench.stages_driver"
CALLS: Final = 60
WARMUP: Final = 5
CALL: Final = "call"
"""What a call takes beside its steps: Python, the copies, the round trip's share that is not subtracted."""
_COPIED_BYTES: Final = 32 << 20


@dataclass(frozen=True)
class Profile:
    """One combo. steps: median nanoseconds of each step by name, `call` last.

    memory_ns: what one pass over the codes and over everything that the kernel is built from takes at least.
    """

    combo: str
    steps: Mapping[str, float]
    compile_seconds: float
    pack_seconds: float
    memory_ns: float

    @property
    def total_ns(self) -> float:
        return sum(self.steps.values())


def profile(
    kernel: Kernel,
    target: Target,
    *,
    core: int | None,
    deadline: Deadline,
    progress: Progress = lambda _text, _passing=False: None,
) -> list[Profile]:
    """Profile a kernel on the target's combos, by the target's steps. Raises KernelFault, HostError."""
    names = list(target.steps.values())[:STAGES]
    bytes_per_ns = read_bytes_per_ns()
    transport_ns = round_trip_ns(core, deadline)
    profiles = []
    for combo in target.combos:
        progress(f"profiling {combo.name}", True)
        instance = target.workload(combo, CALLS + WARMUP, seed=0)
        (pack,) = instance.packs
        told = replace(pack, outputs={**pack.outputs, "stages": ("int64", (STAGES,))})
        timed = replace(instance, params={**instance.params, "driver": target.driver}, packs=[told])
        with KernelHost(DRIVER, core=core, deadline=deadline, beside=[target.driver]) as host:
            begun = time.perf_counter()
            host.load(kernel.source, kernel.name)
            packed, pack_seconds = host.pack(host.build(timed), told)
            packed.call(0)
            first = time.perf_counter() - begun
            _, pack_seconds = host.pack(host.build(timed), told)  # compiled by now
            with pinned(core), no_garbage_collection():
                calls = [(packed.call(i), packed.outputs["stages"].copy()) for i in range(1, CALLS + WARMUP)][WARMUP:]
        stages = np.median([stages for _, stages in calls], axis=0)[: len(names)]
        whole = float(np.median([ns for ns, _ in calls])) - transport_ns
        steps = {name: float(ns) for name, ns in zip(names, stages, strict=True)}
        steps[CALL] = max(0.0, whole - sum(steps.values()))
        profiles.append(Profile(combo.name, steps, first, pack_seconds, _bytes(instance) / bytes_per_ns))
    return profiles


def read_bytes_per_ns() -> float:
    """How fast this core reads memory that no cache holds: the best of a few sums over 32 MiB."""
    data = np.ones(_COPIED_BYTES // 8)
    best = float("inf")
    for _ in range(5):
        begun = time.perf_counter_ns()
        data.sum()
        best = min(best, time.perf_counter_ns() - begun)
    return _COPIED_BYTES / best


def _bytes(instance: Instance) -> int:
    arrays = [*instance.arrays.values(), *instance.packs[0].arrays.values()]
    return sum(array.nbytes for array in arrays)
