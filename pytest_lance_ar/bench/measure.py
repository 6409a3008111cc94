"""Times contestants beside each other on one core: every one in a process of its own, rounds in random order.

In a round every workload is visited once, in random order, and on it every contestant, in random order, answers the
same new queries. A ratio is that of two contestants' blocks in one round; the median over the rounds is reported. All
arrays are allocated anew at the start of an epoch of some rounds, and what a round trip costs without a kernel is
subtracted, as in a duel. Every answer of the kernel is compared with the reference: some before anything is timed, the
timed ones before any figure is shown.
"""

from __future__ import annotations

import math
import random
import secrets
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.bench.workloads import instances
from pytest_lance_ar.correctness.examiner import hint
from pytest_lance_ar.host.parent import HostError, KernelFault, KernelHost
from pytest_lance_ar.host.platform import pinned
from pytest_lance_ar.speed.duel import Progress, no_garbage_collection, round_trip_ns
from pytest_lance_ar.speed.sides import WARMUP_CALLS, Answer, IncumbentFailed, Queries, Side
from pytest_lance_ar.targets.benchmarks import Timeable
from pytest_lance_ar.targets.mismatch import Mismatch
from pytest_lance_ar.targets.protocol import Arrays, Instance
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.evidence import Failure, FaultKind
from pytest_lance_ar.trial.kernel_source import Kernel

Floats = NDArray[np.float64]

KERNEL: Final = "kernel"
BASELINE: Final = "baseline"

CHECKED_CALLS: Final = 3
"""Answers compared with the reference before anything is timed."""
MAX_CALLS_PER_BLOCK: Final = 5
BLOCK_NS: Final = 700_000
"""What a block of the slowest should take at least, so that a change of sides is a small part of it."""
LIBRARY_RTOL: Final = 1e-4
"""A library sums in another order: here it need only have searched for the same."""
PACKINGS: Final = 3


@dataclass(frozen=True)
class Contestant:
    """What is timed. name: KERNEL, BASELINE or a library's. library: it keeps bulky arrays to itself."""

    name: str
    source: Kernel
    driver: str
    library: bool = False


@dataclass(frozen=True)
class Plan:
    """How much is timed."""

    epochs: int
    rounds: int

    @property
    def queries(self) -> int:
        """What a workload must have."""
        return CHECKED_CALLS + self.epochs * (WARMUP_CALLS + self.rounds * MAX_CALLS_PER_BLOCK)


@dataclass(frozen=True)
class Packing:
    """What a kernel's packing makes of what it is given."""

    seconds: float
    bytes_per_code_byte: float


@dataclass(frozen=True)
class Spread:
    """A ratio over the rounds: the median, and the quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, logs: Floats) -> Spread:
        low, median, high = np.exp(np.quantile(logs, [0.25, 0.5, 0.75]))
        return cls(float(median), float(low), float(high))


@dataclass(frozen=True)
class Timed:
    """One workload, timed. logs: log nanoseconds a query of every round (rounds,), by contestant."""

    workload: Timeable
    logs: Mapping[str, Floats]
    packing: Packing | None = None

    def ns(self, name: str) -> float:
        """Median nanoseconds a query."""
        return float(np.exp(np.median(self.logs[name])))

    def ratio(self, name: str, to: str) -> Spread:
        """Time of one contestant / time of the other."""
        return Spread.of(self.logs[name] - self.logs[to])


class ContestantFailed(Exception):
    """A contestant gave no answer, or a wrong one."""

    def __init__(self, name: str, failure: Failure) -> None:
        super().__init__(f"{f'the {name}' if name in (KERNEL, BASELINE) else name} failed: {failure}")
        self.name = name
        self.failure = failure


def measure(
    workloads: Sequence[Timeable],
    contestants: Sequence[Contestant],
    plan: Plan,
    *,
    seed: int,
    core: int | None,
    deadline: Deadline,
    rtol: float = 0.0,
    packing_driver: str = "",
    progress: Progress = lambda _text, _passing=False: None,
) -> list[Timed]:
    """Time all contestants, the first of which is the kernel, on all workloads. packing_driver: look at packing too.

    Raises ContestantFailed, and HostError when a process cannot be set up.
    """
    rng = random.Random(secrets.randbits(64))
    transport_ns = round_trip_ns(core, deadline)
    with ExitStack() as stack:
        sides = []
        for contestant in contestants:
            with _naming(contestant.name):
                host = stack.enter_context(KernelHost(contestant.driver, core=core, deadline=deadline))
                sides.append(Side(contestant.source, host, is_candidate=contestant is contestants[0]))
        progress(f"building {len(workloads)} workloads", True)
        built = instances(workloads, plan.queries, seed)
        bouts = [
            _Bout(contestant.name, side, [_for_library(one) for one in built] if contestant.library else built)
            for contestant, side in zip(contestants, sides, strict=True)
        ]
        for bout in bouts:
            progress(f"loading {bout.side.kernel.name}", True)
            with _naming(bout.name):
                bout.side.load()
        queries = [Queries(plan.queries) for _ in workloads]
        sizes: list[int] = []
        logs, answers = [], []
        with pinned(core), no_garbage_collection():
            for epoch in range(plan.epochs):
                progress(f"timing, {epoch + 1} of {plan.epochs}", True)
                warmups = [dealer.take(WARMUP_CALLS) for dealer in queries]
                for bout in rng.sample(bouts, len(bouts)):
                    with _naming(bout.name):
                        bout.side.renew(bout.instances, warmups)
                if not sizes:
                    asked = [dealer.take(CHECKED_CALLS) for dealer in queries]
                    times = [_checked(bout, workloads, asked, rtol) for bout in bouts]
                    slowest = np.max(times, axis=0)
                    sizes = [_calls_per_block(ns) for ns in slowest]
                for _ in range(plan.rounds):
                    timed, given = _round(bouts, queries, sizes, transport_ns, rng)
                    logs.append(timed)
                    answers += given
        progress("checking the timed answers", True)
        _check_answers(bouts, workloads, answers, rtol)
        for bout in bouts:
            bout.side.host.close()
        packings: list[Packing | None] = [None for _ in workloads]
        if packing_driver:
            progress("packing", True)
            packings = [*_packings(contestants[0].source, built, packing_driver, core=core, deadline=deadline)]
    by_contestant = np.array(logs)
    return [
        Timed(
            workload,
            {bout.name: by_contestant[:, which, i] for which, bout in enumerate(bouts)},
            packings[i],
        )
        for i, workload in enumerate(workloads)
    ]


@dataclass(frozen=True)
class _Bout:
    """A contestant in its process, and what it is asked."""

    name: str
    side: Side
    instances: Sequence[Instance]


def _checked(bout: _Bout, workloads: Sequence[Timeable], asked: Sequence[range], rtol: float) -> list[float]:
    """Compare a few answers on every workload with the reference. Returns nanoseconds a call, the quickest of each."""
    fastest = []
    for i, calls in enumerate(asked):
        pack, times = bout.side.packs[i], []
        for call in calls:
            with _naming(bout.name):
                times.append(pack.call(call))
            _refuse(bout.name, workloads[i], call, pack.instance.check(call, pack.outputs, rtol))
        fastest.append(float(min(times)))
    return fastest


def _round(
    bouts: Sequence[_Bout], queries: Sequence[Queries], sizes: Sequence[int], transport_ns: float, rng: random.Random
) -> tuple[Floats, list[tuple[_Bout, Answer]]]:
    """Returns mean log nanoseconds (contestants, workloads), and the answers."""
    logs = np.empty((len(bouts), len(sizes)))
    answers = []
    for i in rng.sample(range(len(sizes)), len(sizes)):
        asked = queries[i].take(sizes[i])
        for which in rng.sample(range(len(bouts)), len(bouts)):
            with _naming(bouts[which].name):
                logs[which, i], given = bouts[which].side.block(i, asked, transport_ns, rng)
            answers += [(bouts[which], answer) for answer in given]
    return logs, answers


def _calls_per_block(ns: float) -> int:
    """The uncounted first among them: one number for all contestants, from the slowest."""
    return min(MAX_CALLS_PER_BLOCK, 1 + max(2, math.ceil(BLOCK_NS / max(ns, 1))))


def _check_answers(
    bouts: Sequence[_Bout], workloads: Sequence[Timeable], answers: Sequence[tuple[_Bout, Answer]], rtol: float
) -> None:
    by_workload: list[list[tuple[_Bout, Answer]]] = [[] for _ in workloads]
    for bout, answer in answers:
        by_workload[answer.combo].append((bout, answer))

    def check(i: int) -> None:
        bouts[0].instances[i].packs[0].foresee(sorted({answer.query for _, answer in by_workload[i]}))
        for bout, answer in sorted(by_workload[i], key=lambda one: one[1].query):
            mismatch = bout.instances[i].packs[0].check(answer.query, answer.outputs, rtol)
            _refuse(bout.name, workloads[i], answer.query, mismatch)

    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(check, range(len(workloads))))


def _refuse(name: str, workload: Timeable, query: int, mismatch: Mismatch | None) -> None:
    if mismatch:
        where = f"{workload.name}, query {query}"
        raise ContestantFailed(name, Failure(FaultKind.WRONG_ANSWER, str(mismatch), where, hint=hint(mismatch)))


def _for_library(instance: Instance) -> Instance:
    """The same searches without the bulky arrays, which a library keeps to itself."""
    (pack,) = instance.packs

    def check(i: int, outputs: Arrays, rtol: float) -> Mismatch | None:
        return pack.check(i, outputs, max(rtol, LIBRARY_RTOL))

    outputs = {name: spec for name, spec in pack.outputs.items() if name not in pack.bulky}
    return replace(instance, packs=[replace(pack, outputs=outputs, bulky=frozenset(), check=check)])


def _packings(
    kernel: Kernel, built: Sequence[Instance], driver: str, *, core: int | None, deadline: Deadline
) -> Iterator[Packing]:
    """What packing each workload takes, the quickest of PACKINGS, in a process that does nothing else."""
    with _naming(KERNEL), KernelHost(driver, core=core, deadline=deadline) as host:
        host.load(kernel.source, kernel.name)
        for instance in built:
            (pack,) = instance.packs
            only_packed = replace(pack, calls=[{}], outputs={"bytes": ("int64", ())}, bulky=frozenset())
            number, seconds = host.build(instance), math.inf
            for _ in range(PACKINGS):
                packed, took = host.pack(number, only_packed)
                seconds = min(seconds, took)
            packed.call(0)
            given = sum(array.nbytes for array in pack.arrays.values())
            yield Packing(seconds, int(packed.outputs["bytes"]) / max(1, given))
            host.drop(number, [packed])


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Whoever fails is named."""
    try:
        yield
    except HostError:
        raise  # nobody's fault
    except (KernelFault, IncumbentFailed) as fault:
        raise ContestantFailed(name, fault.failure) from fault
