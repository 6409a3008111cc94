"""Times a candidate and an incumbent beside each other until `statistics` has seen enough.

Each side has a process of its own, a new one in every epoch; they, and the gate while it times, are pinned to one
core, so that only one of them ever runs. The clock is the gate's, around one call: a request down a pipe, the kernel,
the copy of its answer into shared memory, a reply. What the round trip costs without a kernel is measured on a process
without one and subtracted. Every timed query is new; what the timed calls return is checked against the reference
afterwards.
"""

from __future__ import annotations

import gc
import math
import random
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np

from pytest_lance_ar.host.parent import KernelHost
from pytest_lance_ar.host.platform import pinned
from pytest_lance_ar.speed.preparation import Preparation, fresh_seed
from pytest_lance_ar.speed.sides import WARMUP_CALLS, Answer, Queries, Side, check, time_round
from pytest_lance_ar.speed.statistics import FUTILITY_LOOKS, LOOKS, Outcome, Stage, geomean
from pytest_lance_ar.targets.protocol import Combo, Instance, PackInstance, Target
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.evidence import ComboFigures, SpeedEvidence
from pytest_lance_ar.trial.options import DEFAULT_MIN_GAIN

MIN_ROUNDS: Final = 4
MAX_ROUNDS: Final = 20
"""Rounds an epoch: more where a pair of processes takes longer to get ready than the rounds."""
MAX_CALLS_PER_BLOCK: Final = 6
BLOCK_NS: Final = 700_000
"""What a block should take at least, so that a change of sides is a small part of it."""
TRANSPORT_CALLS: Final = 400
QUERY_FLOATS: Final = 256
"""What the empty kernel is handed; the copy of any query takes well below a microsecond."""
STAGE_SECONDS: Final = 60.0
"""A stage that takes longer ends at its next look."""
BASELINE_EPOCHS: Final = 4
"""Without an incumbent there is nothing to decide, only figures to take."""
SAMPLED: Final = 128
"""Timed answers of a combo in a stage that are compared with the reference where nothing is kept: wrong answers that
gain as much as 1% would be 1 in 100."""
MOST_CHECKED: Final = 1024
"""The same of what is to be kept: all, unless it took many epochs to decide. With their tables they are some 90 MB."""


def _queries(epochs: int, rounds: int) -> int:
    """What so many epochs may ask of a workload."""
    return epochs * (WARMUP_CALLS + rounds * 2 * MAX_CALLS_PER_BLOCK)


QUERIES: Final = WARMUP_CALLS + max(_queries(LOOKS[-1], MIN_ROUNDS), _queries(LOOKS[-2], MAX_ROUNDS))
"""What a workload has: enough for every look of a stage, for all but the last one where its epochs are long ones."""


class Progress(Protocol):
    """Shows one line. A passing line is of interest only while it stands."""

    def __call__(self, text: str, passing: bool = False, /) -> None: ...


@dataclass
class Bout:
    """One stage, and what its pairs of processes left to be checked and told."""

    workloads: Sequence[Instance]
    seed: int
    stage: Stage = field(default_factory=Stage)
    answers: dict[int, list[Answer]] = field(default_factory=dict)
    """Of each combo, what may be checked: all, or a random sample of MOST_CHECKED."""
    given: Counter[int] = field(default_factory=Counter)
    pack_seconds: float = math.inf
    peak_mem_mb: float = math.nan
    walls: tuple[str, ...] = ()

    def keep(self, answers: Sequence[Answer]) -> None:
        """Keep answers to be checked, so many that memory holds them: all that were given have the same chance.

        Source: Waterman's algorithm R (Vitter, "Random sampling with a reservoir", 1985).
        """
        for answer in answers:
            if not answer.checked:
                continue
            kept = self.answers.setdefault(answer.combo, [])
            self.given[answer.combo] += 1
            place = len(kept) if len(kept) < MOST_CHECKED else secrets.randbelow(self.given[answer.combo])
            if place < MOST_CHECKED:
                kept[place : place + 1] = [answer]

    def look_at(self, candidate: Side) -> None:
        """Note what a process that is about to end tells."""
        self.pack_seconds = min(self.pack_seconds, candidate.pack_seconds)
        self.peak_mem_mb = float(np.fmax(self.peak_mem_mb, candidate.host.peak_mem_mb()))
        self.walls = candidate.host.walls


def duel(
    preparation: Preparation,
    *,
    core: int | None,
    deadline: Deadline,
    rtol: float = 0.0,
    min_gain_pct: float = DEFAULT_MIN_GAIN,
    only_figures: bool = False,
    simplify: bool = False,
    when_timed: Callable[[], None] = lambda: None,
    progress: Progress = lambda _text, _passing=False: None,
) -> SpeedEvidence:
    """Measure candidate / incumbent over all combos of a target: one stage, and a second one to confirm a gain.

    min_gain_pct: the smallest gain worth finding. only_figures: there is no incumbent; take the candidate's figures
    beside its twin. simplify: what is to be shown is that the candidate is no slower, and one stage does. when_timed:
    called when the timing core is not needed any more; after a gain it is.
    Raises KernelFault when the candidate fails, IncumbentFailed when the incumbent does.
    """
    begun = time.perf_counter()
    progress("preparing", True)
    preparation.wait()
    combos = preparation.target.combos
    rng = random.Random(secrets.randbits(64))  # nothing that a kernel could know
    transport_ns = round_trip_ns(core, deadline)

    def fight(name: str, bout: Bout) -> Outcome:
        with pinned(core), no_garbage_collection():
            return _fight(bout, preparation, transport_ns, deadline, only_figures, rng, _named(progress, name))

    def stage() -> Stage:
        return Stage.simplifying() if simplify else Stage(min_gain_pct / 100)

    first = Bout(preparation.workloads, preparation.seed, stage())
    bouts = [first]
    outcome = fight("timing", first)
    if outcome is Outcome.BETTER and not only_figures and not simplify:
        progress("a gain; confirming it on other processes and other data")
        seed = fresh_seed()
        bouts.append(Bout(preparation.confirm(seed), seed, stage()))
        outcome = fight("confirming", bouts[1])
    if outcome is not Outcome.BETTER or only_figures:
        when_timed()
    progress("checking the timed answers", True)
    most = None if outcome is Outcome.BETTER and not only_figures else SAMPLED
    checked = sum(check_answers(bout, combos, rtol, most=most) for bout in bouts)
    return evidence_of(
        [bout.stage for bout in bouts],
        preparation.target,
        gave_up=outcome is Outcome.FUTILE and not only_figures,
        timed_queries=checked,
        transport_ns=transport_ns,
        pack_seconds=min(bout.pack_seconds for bout in bouts),
        peak_mem_mb=float(np.fmax.reduce([bout.peak_mem_mb for bout in bouts])),
        workload_seeds=tuple(bout.seed for bout in bouts),
        walls=first.walls,
        seconds=time.perf_counter() - begun,
    )


def _fight(
    bout: Bout,
    preparation: Preparation,
    transport_ns: float,
    deadline: Deadline,
    only_figures: bool,
    rng: random.Random,
    progress: Progress,
) -> Outcome:
    """Run epochs until the stage decides.

    The two sides of a pair are called alike, in random order: a kernel that told them apart could be slow as the
    incumbent, and be beaten by its own copy.
    """
    combos = preparation.target.combos
    queries = [Queries(QUERIES) for _ in combos]
    begun = time.perf_counter()
    sizes: list[int] = []
    rounds = MIN_ROUNDS
    while True:
        with preparation.pair() as pair:
            epoch_begun = time.perf_counter()
            warmups = [dealer.take(WARMUP_CALLS) for dealer in queries]
            for side in rng.sample(pair, 2):
                side.warm_up(warmups)
            if not sizes:
                sample = [dealer.take(WARMUP_CALLS) for dealer in queries]
                estimates = {side: side.estimate(sample) for side in rng.sample(pair, 2)}
                times = estimates[pair[1]]
                sizes = [_calls_per_block(ns) for ns in times]
                one_round = 4 * sum(ns * size for ns, size in zip(times, sizes, strict=True)) / 1e9
                rounds = min(MAX_ROUNDS, max(MIN_ROUNDS, math.ceil(preparation.pair_seconds / one_round)))
                for combo, ns in zip(combos, times, strict=True):
                    who = "" if only_figures else "incumbent "
                    progress(f"{combo.name}: {who}about {max(ns - transport_ns, 1) / 1000:.0f} us a query")
            timed = [time_round(pair, queries, sizes, transport_ns, rng) for _ in range(rounds)]
            epoch_seconds = preparation.pair_seconds + time.perf_counter() - epoch_begun
            bout.look_at(pair[0])
        for _, _, answers in timed:
            bout.keep(answers)
        bout.stage.add(np.array([logs for logs, _, _ in timed]), np.array([logs for _, logs, _ in timed]))
        epochs = bout.stage.epochs
        more = (
            min((look for look in bout.stage.looks if look > epochs), default=epochs) - epochs
        )  # the next that may end it
        wait = f"next look in about {more * epoch_seconds:.0f} s"
        if epochs not in bout.stage.looks and epochs not in FUTILITY_LOOKS:
            progress(f"epoch {epochs}, {wait}", True)
            continue
        out_of_queries = more == 0 or min(dealer.left for dealer in queries) < _queries(more, rounds)
        out_of_time = time.perf_counter() - begun > STAGE_SECONDS or deadline.remaining() < 2 * more * epoch_seconds
        outcome = bout.stage.outcome(last=epochs in bout.stage.looks and (out_of_time or out_of_queries))
        if epochs >= BASELINE_EPOCHS if only_figures else outcome is not Outcome.OPEN:
            return outcome
        interval = bout.stage.pooled_interval
        progress(f"epoch {epochs}, ratio [{interval.low:.4f}, {interval.high:.4f}], {wait}", True)


def evidence_of(
    stages: Sequence[Stage],
    target: Target,
    *,
    gave_up: bool = False,
    timed_queries: int,
    transport_ns: float,
    pack_seconds: float,
    peak_mem_mb: float,
    workload_seeds: tuple[int, ...],
    walls: tuple[str, ...],
    seconds: float,
) -> SpeedEvidence:
    """The figures of the last stage: the one that decides. gave_up: it found that no gain is left worth finding."""
    stage = stages[-1]
    figures = tuple(
        # The incumbent's figure is what the pairing says of it, so that figures and ratios agree.
        ComboFigures(
            combo.shape, combo.distribution, float(ns), float(ns / ratio), float(ratio), target.floor_ns(combo)
        )
        for combo, ns, ratio in zip(target.combos, stage.candidate_ns, stage.combo_ratios, strict=True)
    )
    return SpeedEvidence(
        combos=figures,
        geomean_ns=geomean([combo.candidate_ns for combo in figures]),
        geomean_interval=stage.geomean_interval,
        incumbent_geomean_ns=geomean([combo.incumbent_ns for combo in figures]),
        ratio=stage.ratio,
        ratio_interval=stage.pooled_interval if gave_up else stage.interval,
        confirmed=len(stages) > 1,
        largest_gain=stage.largest_gain if gave_up else None,
        noise_floor_pct=100 * math.expm1(stage.noise_floor),
        rounds=sum(len(epoch) for stage in stages for epoch in stage.candidate),
        timed_queries=timed_queries,
        transport_ns=transport_ns,
        pack_seconds=pack_seconds,
        peak_mem_mb=peak_mem_mb,
        workload_seeds=workload_seeds,
        walls=walls,
        seconds=seconds,
    )


def check_answers(bout: Bout, combos: Sequence[Combo], rtol: float, *, most: int | None = None) -> int:
    """Compare kept answers with the reference: all of them, or so many of a combo, chosen at random. Returns how many.

    Raises KernelFault or IncumbentFailed at the first wrong one.
    """
    by_combo = [bout.answers.get(number, []) for number in range(len(combos))]
    if most is not None:
        by_combo = [random.SystemRandom().sample(some, min(most, len(some))) for some in by_combo]
    places = [f"{combo.name}, seed {bout.seed}" for combo in combos]
    packs = [workload.packs[0] for workload in bout.workloads]
    check(list(zip(places, packs, by_combo, strict=True)), rtol)
    return sum(map(len, by_combo))


def round_trip_ns(core: int | None, deadline: Deadline) -> float:
    """What a round trip costs when the other side does nothing: median nanoseconds."""
    call = {"query": np.zeros(QUERY_FLOATS, np.float32)}
    nothing = PackInstance(params={}, arrays={}, calls=[call], outputs={}, check=lambda *_: None)
    with KernelHost("pytest_lance_ar.host.null_driver", core=core, deadline=deadline) as host:
        host.load(b"", "the empty kernel")
        pack, _ = host.pack(host.build(Instance(params={}, arrays={}, packs=[nothing])), nothing)
        with pinned(core), no_garbage_collection():
            return float(np.median([pack.call(0) for _ in range(TRANSPORT_CALLS)]))


def _calls_per_block(ns: float) -> int:
    """The uncounted first among them: one number for both sides, from the incumbent's time."""
    return min(MAX_CALLS_PER_BLOCK, 1 + max(2, math.ceil(BLOCK_NS / max(ns, 1))))


def _named(progress: Progress, name: str) -> Progress:
    def named(text: str, passing: bool = False, /) -> None:
        progress(f"{name}: {text}", passing)

    return named


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
