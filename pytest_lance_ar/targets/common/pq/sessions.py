"""The life of one kernel object: code sets that come and go by the dozen, and queries by the thousand."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.targets.common import inputs
from pytest_lance_ar.targets.common.draw import Draw
from pytest_lance_ar.targets.common.equivalence import Nearest
from pytest_lance_ar.targets.common.inputs import Float32, Stream
from pytest_lance_ar.targets.common.pq import quantizer, reference
from pytest_lance_ar.targets.common.pq.answers import Codes, compare_answer, instance_of
from pytest_lance_ar.targets.common.pq.cases import changed_a_little
from pytest_lance_ar.targets.common.pq.metric import Metric
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.common.sessions import asked_again, changed_answer, script
from pytest_lance_ar.targets.common.specs import fields_of, text_of
from pytest_lance_ar.targets.mismatch import Mismatch
from pytest_lance_ar.targets.protocol import Arrays, Instance, PackInstance, StillFails

NAMES: Final = {"table": "distance_table", "ids": "probe_top_k ids", "distances": "probe_top_k distances"}
IN_A_GO: Final = 2048
"""Small queries that are asked in one go."""
CYCLE: Final = 64
"""Small queries that differ; then they come again, in any order. Of many vectors there are eight times as many."""
FEWEST_PACKS: Final = 42
MOST_PACKS: Final = 260
FEWEST_CALLS: Final = 6 * 1024
MOST_CALLS: Final = 66 * 1024
FEWEST_HELD: Final = 4
MOST_HELD: Final = 40
FEW_ROWS: Final = 8
MANY_ROWS: Final = 1000
"""Vectors that are asked the small queries: so many in one trial of four each, and some hundreds, of which a third are
looked for, in most of the others."""
LARGE: Final = 4000
"""Vectors of the two largest of a session's code sets."""


@dataclass(frozen=True)
class Session:
    """One object packs `packs` code sets, every second one of them the one before with a little changed, and answers on
    those that it holds; another object of its shape does the same in turns. Then it answers `calls` small queries, and
    after them the first ones again. The next query is often the same, or the same but for one value.

    n, k: of the first code set; the others have up to as many, but for two large ones.
    """

    metric: Metric
    shape: PqShape
    distribution: str
    seed: int
    n: int
    k: int
    packs: int
    calls: int

    @property
    def spec(self) -> str:
        names = ("distribution", "seed", "n", "k", "packs", "calls")
        return "session " + text_of({"shape": self.shape.text, **{name: getattr(self, name) for name in names}}, {})

    @property
    def where(self) -> str:
        return (
            f"shape {self.shape}, {self.distribution}, seed {self.seed}, N {self.n}, k {self.k}, one object with "
            f"{self.packs} code sets in turns and {self.calls} small queries"
        )

    def instance(self) -> Instance:
        draw = Draw(self.seed, "held")
        held = MOST_HELD if draw.chance(0.5) else draw.log_uniform(FEWEST_HELD, MOST_HELD)
        steps = list(script(self.packs, -(-self.calls // IN_A_GO), held))
        return replace(self._object("", self.calls), beside=[self._object("rival", 0)], script=steps)

    def _object(self, role: str, calls: int) -> Instance:
        def vectors(count: int, role: str) -> Float32:
            drawn = inputs.vectors(self.distribution, count, self.shape.dim, seed=self.seed, role=role)
            return self.metric.posed(drawn, self.shape.num_sub_vectors, self.seed, role)

        drawn = vectors(self.shape.num_centroids, f"{role}codebook")
        codebook = quantizer.sampled_codebook(drawn, self.shape, Stream(self.seed, f"{role}codebook"))
        sets: list[tuple[Codes, Float32]] = []
        ks = []
        large = Draw(self.seed, "large").below(FEWEST_PACKS // 2)  # whatever `packs` is cut down to
        for number in range(self.packs):
            stream = Stream(self.seed, "session", role, number)
            twin, odd = divmod(number, 2)
            n = LARGE - int(stream.below(LARGE // 2, 1)[0])
            if twin != large:
                n = self.n - int(stream.below(5, 1)[0]) * (self.n // 6)
            queries = _alike(vectors(2, f"query {role}{number}"), stream)
            if odd:
                before, asked = sets[-1]
                queries[0] = asked[0]
                codes = changed_a_little(before, reference.distance_table(self.metric, asked[0], codebook), stream)
            else:
                numbers = stream.below(self.shape.num_centroids, max(n, 1) * self.shape.num_sub_vectors)
                codes = numbers.astype(np.uint8).reshape(max(n, 1), -1)
            sets.append((codes, queries))
            ks.append(min(max(self.k - twin % 3, 1), len(codes)))
        instance = instance_of(self.metric, self.shape, codebook, sets, ks)
        if calls:
            goes = -(-calls // IN_A_GO)
            draw = Draw(self.seed, "small")
            some = 100 + draw.below(200)
            rows = (FEW_ROWS, some, some, MANY_ROWS)[draw.below(4)]
            numbers = Stream(self.seed, "small", role).below(codebook.shape[1], rows * len(codebook))
            codes = numbers.astype(np.uint8).reshape(rows, -1)
            cycle = 8 * CYCLE if rows == MANY_ROWS else CYCLE
            queries = _alike(vectors(cycle, f"query {role}small"), Stream(self.seed, "alike", role))
            k = rows // 3 if rows == some and draw.chance(0.8) else min(self.k, rows)
            turns = asked_again(cycle, min(calls, IN_A_GO), Stream(self.seed, "asked", role))
            small = _small_queries(self.metric, codebook, codes, queries, k, turns, goes)
            instance = replace(instance, packs=[*instance.packs, small])
        return instance


def _alike(queries: Float32, stream: Stream) -> Float32:
    """Queries of which every second one is the one before but for one value, the first and the last more often; a third
    of these, in every value."""
    for i in range(1, len(queries), 2):
        place = (0, -1, *stream.below(queries.shape[1], 2))[int(stream.below(4, 1)[0])]
        value = queries[i, place]
        queries[i] = queries[i - 1]
        if i % 3:
            queries[i, place] = value
    return queries


def _small_queries(
    metric: Metric, codebook: Float32, codes: Codes, queries: Float32, k: int, turns: NDArray[np.int64], goes: int
) -> PackInstance:
    """A code set that is asked the same few queries over and over: they are compared with the reference the first
    time, and with the first time from then on. turns: which of them each call asks."""
    searcher = reference.Searcher(metric, codebook, codes)
    in_a_go = len(turns)
    first: dict[str, NDArray[Any]] = {}

    def check(go: int, outputs: Arrays, rtol: float) -> Mismatch | None:
        for i in range(min(len(queries), in_a_go)) if not first else ():
            table = searcher.distance_table(queries[i])
            nearest = Nearest.among(searcher.distances(table), k)
            wrong = compare_answer(table, nearest, {name: array[i] for name, array in outputs.items()}, rtol)
            if wrong:
                return wrong
        if not first:
            first.update({name: array[: len(queries)].copy() for name, array in outputs.items()})
        return changed_answer(first, turns, outputs, go * in_a_go, NAMES)

    return PackInstance(
        params={"k": k},
        arrays={"codes": codes},
        calls=[{"query": np.ascontiguousarray(queries[turns])}] * goes,
        outputs={
            "table": ("float32", (in_a_go, *codebook.shape[:2])),
            "ids": ("int64", (in_a_go, k)),
            "distances": ("float32", (in_a_go, k)),
        },
        check=check,
        repeats=in_a_go,
    )


def parse(metric: Metric, spec: str) -> Session:
    """Rebuild a session from its text. Raises ValueError or TypeError when it is none."""
    word, *items = spec.split()
    fields = fields_of(" ".join(items), ("seed", "n", "k", "packs", "calls"))
    session = Session(metric, PqShape.of(fields.pop("shape")), **fields)
    if word != "session" or session.distribution not in inputs.DISTRIBUTIONS + inputs.EXTREMES:
        raise ValueError(f"unknown distribution {session.distribution!r}")
    if min(session.n, session.k, session.packs) < 1 or session.calls < 0:
        raise ValueError("n, k and packs must be at least 1, calls at least 0")
    return session


def drawn(metric: Metric, seed: int) -> Session:
    """The session of a trial: so many packs and calls as no list has."""
    stream = Stream(seed, "session")
    parts, dsub, centroids, more, n, k = (int(stream.below(bound, 1)[0]) for bound in (4, 4, 30, 40, 160, 8))
    share = float(stream.u16(1)[0]) / 2**16
    calls = int(FEWEST_CALLS * math.exp(share * math.log(MOST_CALLS / FEWEST_CALLS)))
    if stream.below(8, 1)[0] == 0:
        calls = MOST_CALLS
    packs = MOST_PACKS if stream.below(12, 1)[0] == 0 else FEWEST_PACKS + more
    shape = PqShape((parts + 3) * (dsub + 1), parts + 3, centroids + 24)
    return Session(metric, shape, "gaussian", seed, 40 + n, 4 + k, packs, calls)


def reduced(session: Session, still_fails: StillFails) -> tuple[Session, str]:
    """The session with as few packs and calls as fail."""

    def fails(packs: int, calls: int) -> bool:
        # The sets differ in other ways from one another, so the advice may be another one as well.
        return still_fails(replace(session, packs=packs, calls=calls), loosely=True)

    found = ""
    if fails(session.packs, 0):
        session = replace(session, calls=0)
        low, high = 1, session.packs
        if fails(1, 0):
            high = 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if fails(middle, 0) else (middle, high)
        session = replace(session, packs=high)
        found = f"wrong once an object has packed {high} code sets" if high > 1 else ""
    else:
        fewer = replace(session, packs=1)
        if still_fails(fewer):
            session = fewer
        found = "wrong only after many calls on one object"
    return (session, found) if still_fails(session, loosely=True) else (session, "")
