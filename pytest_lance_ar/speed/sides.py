"""The two sides of a duel: kernels in their processes, and the rounds that time them beside each other."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.correctness.examiner import hint
from pytest_lance_ar.host.alarm import on_two_cores
from pytest_lance_ar.host.parent import KernelFault, KernelHost, Pack
from pytest_lance_ar.targets.protocol import Instance, PackInstance
from pytest_lance_ar.trial.evidence import NO_KERNELS, Failure, FaultKind
from pytest_lance_ar.trial.kernel_source import Kernel

WARMUP_CALLS: Final = 3
"""Untimed calls after each packing, compilation among them."""
KEPT_SHARE: Final = 0.125
"""Of the candidate's timed answers, how many keep their bulky outputs (of PQ, the table) for the check; all keep the
others. Of the incumbent's, how many are checked at all."""

FORESEEN: Final = 256
"""Answers that the reference is asked for at once."""


class IncumbentFailed(Exception):
    """The incumbent, once kept, does not run any more."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


@dataclass(frozen=True)
class Answer:
    """What a timed call returned, kept until the timing is over."""

    side: Side
    combo: int
    query: int
    outputs: dict[str, NDArray[Any]]
    checked: bool


def check(groups: Sequence[tuple[str, PackInstance, Sequence[Answer]]], rtol: float) -> None:
    """Compare answers with the reference. groups: in words where a pack was called, the pack, and answers to its calls.

    Raises KernelFault where the candidate gave the first wrong one, IncumbentFailed where the incumbent did.
    """

    def first_wrong(group: tuple[str, PackInstance, Sequence[Answer]]) -> tuple[Side, Failure] | None:
        where, pack, answers = group
        by_call: dict[int, list[Answer]] = {}
        for answer in answers:
            by_call.setdefault(answer.query, []).append(answer)
        calls = sorted(by_call)
        for start in range(0, len(calls), FORESEEN):
            foreseen = calls[start : start + FORESEEN]
            pack.foresee(foreseen)
            for answer in (answer for call in foreseen for answer in by_call[call]):
                mismatch = pack.check(answer.query, answer.outputs, rtol)
                if mismatch:
                    told = f"timed call on {where}, query {answer.query}"
                    return answer.side, Failure(FaultKind.WRONG_ANSWER, str(mismatch), told, hint=hint(mismatch))
        return None

    for wrong in on_two_cores(first_wrong, groups):
        if wrong:
            raise KernelFault(wrong[1]) if wrong[0].is_candidate else IncumbentFailed(wrong[1])


class Queries:
    """Deals out the calls of a workload, each once: whatever is timed has not been asked before."""

    def __init__(self, available: int) -> None:
        self._available = available
        self._next = 0

    @property
    def left(self) -> int:
        return self._available - self._next

    def take(self, count: int) -> range:
        if count > self.left:
            raise IndexError("the workload has no more queries")
        self._next += count
        return range(self._next - count, self._next)


class Side:
    """One kernel in its process, with a pack for every combo."""

    def __init__(self, kernel: Kernel, host: KernelHost, *, is_candidate: bool) -> None:
        self.kernel = kernel
        self.host = host
        self.is_candidate = is_candidate
        self.packs: list[Pack] = []
        self.pack_seconds = math.inf
        """What packing took, the fastest time."""
        self.code = b""
        self._objects: list[int] = []

    def load(self, *, shift: int = 0) -> None:
        """Import the kernel, with what code there is of it. shift: how many pages further it lies."""
        with self.blame():
            self.host.load(self.kernel.source, self.kernel.name, code=self.code, shift=shift)

    def close(self) -> None:
        """End its process, and let go of what it shared."""
        self.host.close()
        self._objects, self.packs = [], []

    def renew(self, workloads: Sequence[Instance], warmups: Sequence[range]) -> None:
        """Build and pack every workload anew and warm it up."""
        with self.blame():
            for kernel, pack in zip(self._objects, self.packs, strict=True):
                self.host.drop(kernel, [pack])
            self._objects, self.packs, seconds = [], [], 0.0
            for workload in workloads:
                kernel = self.host.build(workload)
                pack, took = self.host.pack(kernel, workload.packs[0])
                seconds += took
                self._objects.append(kernel)
                self.packs.append(pack)
        self.pack_seconds = min(self.pack_seconds, seconds)
        self.warm_up(warmups)

    def warm_up(self, warmups: Sequence[range]) -> None:
        """Untimed calls on every combo."""
        with self.blame():
            for pack, queries in zip(self.packs, warmups, strict=True):
                for query in queries:
                    pack.call(query)

    def estimate(self, sample: Sequence[range]) -> list[float]:
        """About how many nanoseconds a query takes on each combo, round trip included."""
        with self.blame():
            return [min(pack.call(i) for i in queries) for pack, queries in zip(self.packs, sample, strict=True)]

    def block(self, combo: int, queries: range, transport_ns: float, rng: random.Random) -> tuple[float, list[Answer]]:
        """Time one block: mean log nanoseconds. Its first call, after the change of sides, is not counted."""
        pack, bulky = self.packs[combo], self.packs[combo].instance.bulky
        total, answers = 0.0, []
        with self.blame():
            for position, query in enumerate(queries):
                ns = pack.call(query)
                if position:
                    total += math.log(max(1.0, ns - transport_ns))
                # Kept for both sides alike: what the gate does between two calls decides how cold the next one is.
                chosen = rng.random() < KEPT_SHARE
                outputs = {n: a.copy() for n, a in pack.outputs.items() if chosen or n not in bulky}
                answers.append(Answer(self, combo, query, outputs, chosen or self.is_candidate))
        return total / (len(queries) - 1), answers

    @contextmanager
    def blame(self) -> Iterator[None]:
        """An incumbent's fault is no fault of the candidate."""
        try:
            yield
        except KernelFault as fault:
            if not self.is_candidate and fault.failure.kind not in {FaultKind.TIMEOUT, *NO_KERNELS}:
                raise IncumbentFailed(fault.failure) from fault
            raise


def time_round(
    pair: tuple[Side, Side],
    queries: Sequence[Queries],
    sizes: Sequence[int],
    transport_ns: float,
    rng: random.Random,
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[Answer]]:
    """Visit every combo once, in random order; on each, time four blocks, ABBA or BAAB at random.

    sizes: calls a block, the first not counted. The blocks of a pair answer the same queries. Returns the mean log
    nanoseconds of each side, (combos, 2), and the answers.
    """
    logs = [np.empty((len(sizes), 2)) for _ in pair]
    answers: list[Answer] = []
    for combo in rng.sample(range(len(sizes)), len(sizes)):
        order = rng.sample((0, 1), 2)
        for half in (0, 1):
            asked = queries[combo].take(sizes[combo])
            for which in order if half == 0 else order[::-1]:
                logs[which][combo, half], given = pair[which].block(combo, asked, transport_ns, rng)
                answers += given
    return logs[0], logs[1], answers
