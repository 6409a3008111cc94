"""Times candidate and incumbent beside each other on guard workloads: once a gain is shown and confirmed, not before.

The workloads are drawn with a seed that nobody knew before. In an epoch, on one of two pairs of processes, all is built
and packed anew, then every workload is visited in every round, ABBA or BAAB at random, and both sides answer the
same new queries. Both pairs have an epoch on all workloads; then those workloads that look slowest have another one on
each pair, with more rounds, and what all epochs together show counts. Answers are compared with the reference when the
timing is over.
"""

from __future__ import annotations

import math
import random
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.host.alarm import on_two_cores
from pytest_lance_ar.host.parent import KernelHost, Pack
from pytest_lance_ar.host.platform import pinned
from pytest_lance_ar.speed import intervals
from pytest_lance_ar.speed.duel import Progress, no_garbage_collection
from pytest_lance_ar.speed.preparation import fresh_seed
from pytest_lance_ar.speed.sides import KEPT_SHARE, Answer, Queries, Side, check
from pytest_lance_ar.targets.protocol import Guard, Instance, Target
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.evidence import GuardEvidence, GuardFigures
from pytest_lance_ar.trial.kernel_source import Kernel
from pytest_lance_ar.trial.verdict import GUARD

AT_ONCE: Final = 16
"""Workloads that a process holds at the same time."""
WARMUP_CALLS: Final = 2
MAX_CALLS_PER_BLOCK: Final = 5
BLOCK_NS: Final = 400_000
"""What the counted calls of a block should take at least."""
CHECKED: Final = 12
"""Of a workload, how many of the candidate's timed answers are compared with the reference, chosen at random; a
KEPT_SHARE of them with what is bulky, and as many of the incumbent's."""


@dataclass(frozen=True)
class Plan:
    """How much is timed. rounds: of an epoch on all workloads; focus: how many workloads have another epoch, of
    focus_rounds; seconds: what an epoch may take, after LEAST rounds."""

    rounds: int = 6
    focus: int = 5
    focus_rounds: int = 12
    seconds: float = 1.0
    least: int = 3

    @property
    def calls(self) -> int:
        """What two pairs ask of a workload at the most."""
        rounds = self.rounds + self.focus_rounds
        return 2 * (4 * WARMUP_CALLS + 2 * (MAX_CALLS_PER_BLOCK + 1) * rounds)


PLAN: Final = Plan()


@dataclass
class Bout:
    """One guard workload: what it is built from, and the block pairs that were timed on it."""

    guard: Guard
    instance: Instance
    queries: Queries
    logs: list[NDArray[np.float64]] = field(default_factory=list)
    """(block pairs, 2) an epoch: mean log nanoseconds of candidate and incumbent."""
    answers: list[Answer] = field(default_factory=list)

    def forget(self) -> None:
        """What is not needed for the figures."""
        self.instance, self.answers = replace(self.instance, arrays={}, packs=[]), []

    @property
    def estimate(self) -> intervals.Estimate:
        return intervals.estimate([epoch[:, 0] - epoch[:, 1] for epoch in self.logs])

    @property
    def candidate_ns(self) -> float:
        return float(np.exp(np.mean([np.median(epoch[:, 0]) for epoch in self.logs]))) / self.guard.batch


def time_guards(
    pairs: Sequence[tuple[Side, Side]],
    target: Target,
    *,
    transport_ns: float,
    core: int | None,
    deadline: Deadline,
    rtol: float = 0.0,
    guards: Sequence[Guard] | None = None,
    plan: Plan = PLAN,
    progress: Progress = lambda _text, _passing=False: None,
) -> GuardEvidence | None:
    """Time pairs of loaded sides, (candidate, incumbent) each, on workloads drawn from the target's family, or on
    those given, a few at a time. None where there are none.

    Raises KernelFault when the candidate fails, IncumbentFailed when the incumbent does.
    """
    begun = time.perf_counter()
    seed = fresh_seed()
    chosen = target.guards(seed) if guards is None else guards
    if not chosen:
        return None
    rng, checked = random.Random(secrets.randbits(64)), 0
    done: list[Bout] = []
    for start in range(0, len(chosen), AT_ONCE):
        some = chosen[start : start + AT_ONCE]
        progress(f"guards: building workloads {start + 1} to {start + len(some)} of {len(chosen)}", True)
        bouts = build(some, plan)
        with pinned(core), no_garbage_collection():
            for number, pair in enumerate(rng.sample(list(pairs), len(pairs)), start=1):
                progress(f"guards: {len(bouts)} workloads, processes {number} of {len(pairs)}", True)
                epoch(pair, bouts, plan.rounds, plan, transport_ns, deadline, rng)
            slowest = suspects(bouts, plan.focus)
            for pair in rng.sample(list(pairs), len(pairs)) if slowest else ():
                progress(f"guards: once more the {len(slowest)} that look slowest", True)
                epoch(pair, slowest, plan.focus_rounds, plan, transport_ns, deadline, rng)
        progress("guards: checking the timed answers", True)
        checked += _check_answers(bouts, rtol, rng)
        for bout in bouts:
            bout.forget()
        done += bouts
    return evidence_of(done, seed=seed, timed_queries=checked, seconds=time.perf_counter() - begun)


@contextmanager
def processes(
    target: Target, candidate: Kernel, incumbent: Kernel, *, core: int | None, deadline: Deadline
) -> Iterator[list[tuple[Side, Side]]]:
    """Two pairs of loaded sides, for who has no duel's. Raises KernelFault, IncumbentFailed, HostError."""
    with ExitStack() as stack:

        def side(kernel: Kernel, is_candidate: bool) -> Side:
            host = stack.enter_context(KernelHost(target.driver, core=core, deadline=deadline))
            one = Side(kernel, host, is_candidate=is_candidate)
            one.load()
            return one

        yield [(side(candidate, True), side(incumbent, False)) for _ in range(2)]


def build(guards: Sequence[Guard], plan: Plan) -> list[Bout]:
    """Build the workloads, on two cores."""
    instances = on_two_cores(lambda guard: guard.instance(plan.calls), guards)
    return [Bout(guard, one, Queries(plan.calls)) for guard, one in zip(guards, instances, strict=True)]


def suspects(bouts: Sequence[Bout], most: int) -> list[Bout]:
    """Those that are not shown to be within what the rule allows, the slowest of them."""
    estimates = [bout.estimate for bout in bouts]
    open_ = [
        (one.log, i)
        for i, (one, interval) in enumerate(zip(estimates, intervals.intervals(estimates), strict=True))
        if interval.high > GUARD
    ]
    return [bouts[i] for _, i in sorted(open_)[::-1][:most]]


def epoch(
    pair: tuple[Side, Side],
    bouts: Sequence[Bout],
    rounds: int,
    plan: Plan,
    transport_ns: float,
    deadline: Deadline,
    rng: random.Random,
) -> None:
    """Build and pack all anew on both sides, and time so many rounds, or as many as there is time for."""
    warmups = [bout.queries.take(2 * WARMUP_CALLS) for bout in bouts]
    packed: dict[Side, list[_Packed]] = {}
    times: dict[Side, list[float]] = {}
    for side in rng.sample(pair, 2):
        packed[side], times[side] = [], []
        with side.blame():
            for bout, calls in zip(bouts, warmups, strict=True):
                one = _Packed.of(side, bout.instance)
                packed[side].append(one)
                times[side].append(min([one.call(call)[0] for call in calls][WARMUP_CALLS:]))
    sizes = [_calls_per_block(ns) for ns in times[pair[1]]]
    logs: list[list[tuple[float, float]]] = [[] for _ in bouts]
    begun = time.perf_counter()
    for number in range(rounds):
        seconds = time.perf_counter() - begun
        if number >= plan.least and (seconds > plan.seconds or deadline.remaining() < 3 * seconds):
            break
        for i in rng.sample(range(len(bouts)), len(bouts)):
            order = rng.sample(pair, 2)
            for half in (order, order[::-1]):
                calls = bouts[i].queries.take(sizes[i])
                means = {side: _block(side, packed[side][i], bouts[i], calls, transport_ns, rng) for side in half}
                logs[i].append((means[pair[0]], means[pair[1]]))
    for bout, timed in zip(bouts, logs, strict=True):
        bout.logs.append(np.array(timed))
    for side in rng.sample(pair, 2):
        with side.blame():
            for one in packed[side]:
                one.drop()


class _Packed:
    """A workload in a side's process. Its packs are asked in turns."""

    def __init__(self, side: Side, kernel: int, packs: list[Pack]) -> None:
        self._side = side
        self._kernel = kernel
        self.packs = packs

    @classmethod
    def of(cls, side: Side, instance: Instance) -> _Packed:
        kernel = side.host.build(instance)
        return cls(side, kernel, [side.host.pack(kernel, pack)[0] for pack in instance.packs])

    def call(self, number: int) -> tuple[float, int]:
        """Make call `number`: the nanoseconds it took, and of which pack it was."""
        pack_number = number % len(self.packs)
        return self.packs[pack_number].call(number), pack_number

    def drop(self) -> None:
        self._side.host.drop(self._kernel, self.packs)


def _block(side: Side, packed: _Packed, bout: Bout, calls: range, transport_ns: float, rng: random.Random) -> float:
    """Mean log nanoseconds of the calls but the first, which comes after a change of sides."""
    total = 0.0
    with side.blame():
        for position, call in enumerate(calls):
            ns, pack_number = packed.call(call)
            if position:
                total += math.log(max(1.0, ns - transport_ns))
            # For both sides alike: what the gate does between two calls decides how cold the next one is.
            pack = packed.packs[pack_number]
            chosen = rng.random() < KEPT_SHARE
            outputs = {n: a.copy() for n, a in pack.outputs.items() if chosen or n not in pack.instance.bulky}
            if chosen or side.is_candidate:
                bout.answers.append(Answer(side, pack_number, call, outputs, checked=True))
    return total / (len(calls) - 1)


def _calls_per_block(ns: float) -> int:
    """The uncounted first among them."""
    return 1 + min(MAX_CALLS_PER_BLOCK, max(1, math.ceil(BLOCK_NS / max(ns, 1))))


def _check_answers(bouts: Sequence[Bout], rtol: float, rng: random.Random) -> int:
    """Compare a random sample of the answers with the reference; returns how many. Raises KernelFault,
    IncumbentFailed."""
    groups = []
    for bout in bouts:
        by_side = [[answer for answer in bout.answers if answer.side.is_candidate is which] for which in (True, False)]
        most = (CHECKED, math.ceil(CHECKED * KEPT_SHARE))
        sample = [a for some, n in zip(by_side, most, strict=True) for a in rng.sample(some, min(n, len(some)))]
        place = f"the guard workload {bout.guard.spec!r}"
        for number, pack in enumerate(bout.instance.packs):
            groups.append((place, pack, [answer for answer in sample if answer.combo == number]))
    check(groups, rtol)
    return sum(len(answers) for _, _, answers in groups)


def evidence_of(bouts: Sequence[Bout], *, seed: int, timed_queries: int, seconds: float) -> GuardEvidence:
    """The figures of all block pairs."""
    estimates = [bout.estimate for bout in bouts]
    ratio, interval = intervals.geomean_interval(estimates)
    figures = tuple(
        GuardFigures(
            name=bout.guard.name,
            spec=bout.guard.spec,
            candidate_ns=bout.candidate_ns,
            incumbent_ns=bout.candidate_ns / math.exp(one.log),
            ratio=math.exp(one.log),
            interval=own,
        )
        for bout, one, own in zip(bouts, estimates, intervals.intervals(estimates), strict=True)
    )
    return GuardEvidence(figures, ratio, interval, seed=seed, timed_queries=timed_queries, seconds=seconds)
