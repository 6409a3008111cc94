"""Where a kernel's time goes: steps of a call, compiling and packing, beside what reading its data costs at least."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pytest_lance_ar.bench.counters import Counters, per_call
from pytest_lance_ar.host.platform import pinned
from pytest_lance_ar.host.turns import turn
from pytest_lance_ar.speed.duel import Progress, no_garbage_collection, round_trip_ns
from pytest_lance_ar.speed.steps import host_of, steps_of, telling
from pytest_lance_ar.targets.protocol import Combo, Instance, Target
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.kernel_source import Kernel

CALLS: Final = 60
WARMUP: Final = 5
_READINGS: Final = 9
_LEAST_READ: Final = 64 << 10
"""Bytes below which a reading is mostly the call itself."""


@dataclass(frozen=True)
class Profile:
    """One combo. steps: nanoseconds of each step by name, `call` last. compile_seconds: of its shape.

    memory_ns: what one pass over the codes and over everything that the kernel is built from takes at least. counts:
    what the processor counted, a call, where the host offers it; else lacking says why not.
    """

    combo: str
    steps: Mapping[str, float]
    compile_seconds: float
    pack_seconds: float
    memory_ns: float
    counts: Mapping[str, float]
    lacking: str = ""

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
    """Profile a kernel on the target's combos, by its steps, while no gate times. Raises KernelFault, HostError."""
    profiles: list[Profile] = []
    with turn(deadline, progress):
        transport_ns = round_trip_ns(core, deadline)
        for shape in dict.fromkeys(combo.shape for combo in target.combos):
            combos = [combo for combo in target.combos if combo.shape == shape]
            progress(f"profiling {shape}", True)
            profiles += _of_one_shape(kernel, target, combos, transport_ns, core, deadline)
    return profiles


def _of_one_shape(
    kernel: Kernel, target: Target, combos: Sequence[Combo], transport_ns: float, core: int | None, deadline: Deadline
) -> Iterator[Profile]:
    """In a process of its own: what it compiles there, it compiles for this shape."""
    compile_seconds = 0.0
    with host_of(target, core=core, deadline=deadline) as host:
        host.await_start()
        for combo in combos:
            instance = telling(target.workload(combo, WARMUP + CALLS, seed=0), target)
            (pack,) = instance.packs
            if not compile_seconds:
                begun = time.perf_counter()
                host.load(kernel.source, kernel.name)
                first, _ = host.pack(host.build(instance), pack)
                first.call(0)
                compile_seconds = time.perf_counter() - begun
            packed, pack_seconds = host.pack(host.build(instance), pack)  # compiled by now
            with pinned(core), no_garbage_collection(), Counters(host.pid) as counters:
                for i in range(WARMUP):
                    packed.call(i)
                before = counters.read()
                steps = steps_of(packed, range(WARMUP, WARMUP + CALLS), target, transport_ns)
                counts = per_call(before, counters.read(), CALLS)
                memory_ns = read_ns(_bytes(instance))
            yield Profile(combo.name, steps, compile_seconds, pack_seconds, memory_ns, counts, counters.lacking)


def read_ns(size: int) -> float:
    """How long this core takes at least to read so many bytes, from whichever cache holds as many."""
    data = np.ones(max(size, _LEAST_READ) // 8)
    best = float("inf")
    for _ in range(_READINGS):
        begun = time.perf_counter_ns()
        data.max()
        best = min(best, time.perf_counter_ns() - begun)
    return best * size / data.nbytes


def _bytes(instance: Instance) -> int:
    arrays = [*instance.arrays.values(), *instance.packs[0].arrays.values()]
    return sum(array.nbytes for array in arrays)
