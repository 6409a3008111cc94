"""Times a candidate and an incumbent beside each other.

Each side has a process of its own; both, and the gate while it times, are pinned to one core, so that only one of
them ever runs. A round visits every combo in random order; on each it times four blocks, ABBA or BAAB, at random. The
blocks of a pair answer the same queries, which neither side has seen before. The clock is the gate's, around one
call: a request down a pipe, the kernel, the copy of its answer into shared memory, a reply. What the round trip costs
without a kernel is measured on a third process and subtracted.

After every few rounds all kernel objects are built and packed anew, at other addresses: the luck of a placement does
not last. Every timed answer is checked against the reference when the timing is over.
"""

from __future__ import annotations

import gc
import math
import random
import secrets
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.correctness import hint
from pytest_lance_ar.evidence import ComboFigures, Failure, FaultKind, SpeedEvidence
from pytest_lance_ar.host.parent import Deadline, KernelFault, KernelHost, Pack
from pytest_lance_ar.host.platform import pinned
from pytest_lance_ar.kernel_source import Kernel
from pytest_lance_ar.speed import statistics
from pytest_lance_ar.targets.protocol import Combo, Instance, PackInstance, Target

EPOCHS: Final = 6
"""How often everything is built and packed anew."""
ROUNDS_PER_EPOCH: Final = 10
WARMUP_CALLS: Final = 3
"""Untimed calls after each packing, compilation among them."""
MAX_QUERIES_PER_BLOCK: Final = 6
BLOCK_NS: Final = 700_000
"""What a block should take at least, so that a change of sides is a small part of it."""
TRANSPORT_CALLS: Final = 400
KEPT_BULKY_SHARE: Final = 0.125
"""Of the timed answers, how many keep their bulky outputs (the distance table) for the check. All keep the others."""

CANDIDATE: Final = "candidate"
INCUMBENT: Final = "incumbent"


class Progress(Protocol):
    """Shows one line. A passing line is of interest only while it stands."""

    def __call__(self, text: str, passing: bool = False, /) -> None: ...


class IncumbentFailed(Exception):
    """The incumbent, once kept, does not run any more."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


@dataclass(frozen=True)
class Answer:
    """What a timed call returned, kept for checking after the timing."""

    side: str
    combo: int
    query: int
    outputs: dict[str, NDArray[Any]]


@dataclass
class Recording:
    """Everything the timed calls of a duel left behind.

    log_ns[side]: (rounds, combos, 2) mean log nanoseconds of each block.
    """

    log_ns: dict[str, list[NDArray[np.float64]]] = field(default_factory=lambda: {CANDIDATE: [], INCUMBENT: []})
    answers: list[Answer] = field(default_factory=list)
    pack_seconds: float = math.inf
    peak_mem_mb: float = math.nan
    transport_ns: float = 0.0


class Side:
    """One kernel in its process, with a pack for every combo."""

    def __init__(self, name: str, host: KernelHost, kernel: Kernel) -> None:
        self.name = name
        self.host = host
        self.kernel = kernel
        self.packs: list[Pack] = []
        self._objects: list[int] = []

    def load(self) -> None:
        with self.blame():
            self.host.load(self.kernel.source, self.kernel.name)

    def renew(self, workloads: Sequence[Instance], warmups: Sequence[range]) -> float:
        """Build and pack every workload anew and warm it up. Returns the seconds that packing took."""
        with self.blame():
            for kernel, pack in zip(self._objects, self.packs, strict=True):
                self.host.drop(kernel, [pack])
            self._objects, self.packs, seconds = [], [], 0.0
            for workload, queries in zip(workloads, warmups, strict=True):
                kernel = self.host.build(workload)
                pack, took = self.host.pack(kernel, workload.packs[0])
                seconds += took
                self._objects.append(kernel)
                self.packs.append(pack)
                for query in queries:
                    pack.call(query)
        return seconds

    def block(self, combo: int, queries: range, recording: Recording, rng: random.Random) -> float:
        """Time one block: mean log nanoseconds. Its first call, after the change of sides, is not counted."""
        pack, bulky = self.packs[combo], self.packs[combo].instance.bulky
        total = 0.0
        with self.blame():
            for position, query in enumerate(queries):
                ns = pack.call(query)
                if position:
                    total += math.log(max(1.0, ns - recording.transport_ns))
                keep_bulky = rng.random() < KEPT_BULKY_SHARE
                outputs = {n: a.copy() for n, a in pack.outputs.items() if keep_bulky or n not in bulky}
                recording.answers.append(Answer(self.name, combo, query, outputs))
        return total / (len(queries) - 1)

    @contextmanager
    def blame(self) -> Iterator[None]:
        try:
            yield
        except KernelFault as fault:
            if self.name == INCUMBENT and fault.failure.kind is not FaultKind.TIMEOUT:
                raise IncumbentFailed(fault.failure) from fault
            raise


class Queries:
    """Deals out the calls of a workload, each once: whatever is timed has not been asked before."""

    def __init__(self, available: int) -> None:
        self._available = available
        self._next = 0

    def take(self, count: int) -> range:
        if self._next + count > self._available:
            raise IndexError("the workload has no more queries")
        self._next += count
        return range(self._next - count, self._next)


def duel(
    target: Target,
    candidate: Kernel,
    incumbent: Kernel,
    *,
    seed: int,
    core: int | None,
    deadline: Deadline,
    rtol: float = 0.0,
    progress: Progress = lambda _text, _passing=False: None,
) -> SpeedEvidence:
    """Measure candidate / incumbent over all combos of a target.

    Raises KernelFault when the candidate fails, IncumbentFailed when the incumbent does.
    """
    begun = time.perf_counter()
    recording = Recording()
    rng = random.Random(secrets.randbits(64))  # nothing that a kernel could know: which answers are checked in full
    available = EPOCHS * (WARMUP_CALLS + ROUNDS_PER_EPOCH * 2 * MAX_QUERIES_PER_BLOCK) + WARMUP_CALLS
    with ExitStack() as stack:
        sides = [
            Side(name, stack.enter_context(KernelHost(target.driver, core=core, deadline=deadline)), kernel)
            for name, kernel in ((CANDIDATE, candidate), (INCUMBENT, incumbent))
        ]
        workloads = _workloads(target, available, seed, progress)
        for side in sides:
            side.load()
        queries = [Queries(available) for _ in workloads]
        with pinned(core), _no_garbage_collection():
            recording.transport_ns = _transport_ns(core, deadline)
            for epoch in range(EPOCHS):
                warmups = [dealer.take(WARMUP_CALLS) for dealer in queries]
                for side in rng.sample(sides, 2):
                    seconds = side.renew(workloads, warmups)
                    if side.name == CANDIDATE:
                        recording.pack_seconds = min(recording.pack_seconds, seconds)
                if epoch == 0:
                    sizes = [_block_size(pack, q) for pack, q in zip(sides[1].packs, queries, strict=True)]
                    for combo, size in zip(target.combos, sizes, strict=True):
                        progress(f"combo {combo.name}: {size} queries a block")
                for done in range(ROUNDS_PER_EPOCH):
                    progress(
                        f"timing: round {epoch * ROUNDS_PER_EPOCH + done + 1} of {EPOCHS * ROUNDS_PER_EPOCH}",
                        True,
                    )
                    _round(sides, queries, sizes, rng, recording)
        recording.peak_mem_mb = sides[0].host.peak_mem_mb()
    progress("checking the timed answers", True)
    _check_answers(workloads, recording, target.combos, seed, rtol)
    return replace(evidence_of(recording, target.combos), seconds=time.perf_counter() - begun)


def _workloads(target: Target, available: int, seed: int, progress: Progress) -> list[Instance]:
    workloads = []
    with ThreadPoolExecutor(max_workers=2) as pool:
        # The largest first, so that the two threads end together.
        futures = [pool.submit(target.workload, combo, available, seed) for combo in reversed(target.combos)]
        for combo, future in zip(target.combos, reversed(futures), strict=True):
            workloads.append(future.result())
            progress(f"workload {combo.name}: ready", True)
    return workloads


def _round(
    sides: list[Side], queries: list[Queries], sizes: list[int], rng: random.Random, recording: Recording
) -> None:
    logs = {side.name: np.empty((len(sizes), 2)) for side in sides}
    for combo in rng.sample(range(len(sizes)), len(sizes)):
        first, second = rng.sample(sides, 2)
        for half, pair in enumerate(((first, second), (second, first))):
            asked = queries[combo].take(sizes[combo])
            for side in pair:
                logs[side.name][combo, half] = side.block(combo, asked, recording, rng)
    for name, blocks in logs.items():
        recording.log_ns[name].append(blocks)


def _block_size(pack: Pack, queries: Queries) -> int:
    """Calls per block, the uncounted first among them: one number for both sides, from the incumbent's time."""
    fastest = min(pack.call(i) for i in queries.take(WARMUP_CALLS))
    return min(MAX_QUERIES_PER_BLOCK, 1 + max(2, math.ceil(BLOCK_NS / max(fastest, 1))))


def _transport_ns(core: int | None, deadline: Deadline) -> float:
    """What a round trip costs when the other side does nothing: median nanoseconds."""
    nothing = PackInstance(params={}, arrays={}, calls=[{}], outputs={}, check=lambda *_: None)
    with KernelHost("pytest_lance_ar.host.null_driver", core=core, deadline=deadline) as host:
        host.load(b"", "the empty kernel")
        pack, _ = host.pack(host.build(Instance(params={}, arrays={}, packs=[nothing])), nothing)
        return float(np.median([pack.call(0) for _ in range(TRANSPORT_CALLS)]))


def _check_answers(
    workloads: Sequence[Instance], recording: Recording, combos: Sequence[Combo], seed: int, rtol: float
) -> None:
    """Compare every timed answer with the reference. Raises KernelFault or IncumbentFailed at the first wrong one."""
    by_combo: list[list[Answer]] = [[] for _ in workloads]
    for answer in recording.answers:
        by_combo[answer.combo].append(answer)

    def first_wrong(combo: int) -> tuple[str, Failure] | None:
        check = workloads[combo].packs[0].check
        for answer in sorted(by_combo[combo], key=lambda answer: answer.query):
            mismatch = check(answer.query, answer.outputs, rtol)
            if mismatch:
                where = f"timed call on {combos[combo].name}, seed {seed}, query {answer.query}"
                return answer.side, Failure(FaultKind.WRONG_ANSWER, str(mismatch), where, hint=hint(mismatch))
        return None

    with ThreadPoolExecutor(max_workers=2) as pool:
        for wrong in pool.map(first_wrong, range(len(workloads))):
            if wrong:
                raise KernelFault(wrong[1]) if wrong[0] == CANDIDATE else IncumbentFailed(wrong[1])


def evidence_of(recording: Recording, combos: Sequence[Combo]) -> SpeedEvidence:
    """Reduce a recording to figures."""
    # (rounds, combos, 2 blocks) -> (rounds, combos)
    blocks = {side: np.array(logs) for side, logs in recording.log_ns.items()}
    candidate, incumbent = blocks[CANDIDATE].mean(axis=2), blocks[INCUMBENT].mean(axis=2)
    log_ratios = candidate - incumbent
    figures = tuple(
        ComboFigures(
            shape=combo.shape,
            distribution=combo.distribution,
            candidate_ns=math.exp(np.median(candidate[:, i])),
            incumbent_ns=math.exp(np.median(incumbent[:, i])),
            ratio=math.exp(np.median(log_ratios[:, i])),
        )
        for i, combo in enumerate(combos)
    )
    geomean_ns = statistics.geomean([combo.candidate_ns for combo in figures])
    ratio, interval = statistics.ratio_interval(log_ratios.mean(axis=1))
    control = blocks[INCUMBENT][:, :, 0] - blocks[INCUMBENT][:, :, 1]
    return SpeedEvidence(
        combos=figures,
        geomean_ns=geomean_ns,
        geomean_interval=statistics.interval_about(geomean_ns, candidate.mean(axis=1)),
        incumbent_geomean_ns=statistics.geomean([combo.incumbent_ns for combo in figures]),
        ratio=ratio,
        ratio_interval=interval,
        noise_floor_pct=statistics.noise_floor_pct(control.mean(axis=1)),
        rounds=len(log_ratios),
        timed_queries=len(recording.answers),
        transport_ns=recording.transport_ns,
        pack_seconds=recording.pack_seconds,
        peak_mem_mb=recording.peak_mem_mb,
    )


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
