"""The life of one kernel object: code sets that come and go by the dozen, and queries by the thousand."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.targets.mismatch import Mismatch
from pytest_lance_ar.targets.pq_l2 import cases, inputs, reference
from pytest_lance_ar.targets.pq_l2.equivalence import compare_answer
from pytest_lance_ar.targets.pq_l2.inputs import Float32, Stream
from pytest_lance_ar.targets.pq_l2.shape import PqShape
from pytest_lance_ar.targets.protocol import DROP, PACK, Arrays, Instance, PackInstance, Step

HELD: Final = 4
"""So many code sets of an object are alive at a time, besides its first."""
IN_A_GO: Final = 2048
"""Small queries that are asked in one go."""
CYCLE: Final = 64
"""Small queries that differ; then they come again."""
FEWEST_PACKS: Final = 42
FEWEST_CALLS: Final = 6 * 1024
MOST_CALLS: Final = 66 * 1024


@dataclass(frozen=True)
class Session:
    """One object packs `packs` code sets, every second one of the same size as the one before, and answers on those
    that it holds; another object of its shape does the same in turns. Then it answers `calls` small queries, and after
    them the first ones again.

    n, k: of the first code set; the others have up to as many.
    """

    shape: PqShape
    distribution: str
    seed: int
    n: int
    k: int
    packs: int
    calls: int

    @property
    def spec(self) -> str:
        m = f"{self.shape.dim},{self.shape.num_sub_vectors},{self.shape.num_centroids}"
        return (
            f"session shape={m} distribution={self.distribution} seed={self.seed} n={self.n} k={self.k} "
            f"packs={self.packs} calls={self.calls}"
        )

    @property
    def where(self) -> str:
        return (
            f"shape {self.shape}, {self.distribution}, seed {self.seed}, N {self.n}, k {self.k}, one object with "
            f"{self.packs} code sets in turns and {self.calls} small queries"
        )

    def instance(self) -> Instance:
        other = self._object("rival", 0)
        return replace(self._object("", self.calls), beside=[other], script=list(self._script()))

    def _object(self, role: str, calls: int) -> Instance:
        def vectors(count: int, role: str) -> Float32:
            return inputs.vectors(self.distribution, count, self.shape.dim, seed=self.seed, role=role)

        drawn = vectors(self.shape.num_centroids, f"{role}codebook")
        codebook = inputs.sampled_codebook(drawn, self.shape, Stream(self.seed, f"{role}codebook"))
        sets, ks = [], []
        for number in range(self.packs):
            stream = Stream(self.seed, "session", role, number)
            twin = number // 2  # two after each other have one size
            n = max(self.n - (twin % 5) * (self.n // 6), 1)
            codes = stream.below(self.shape.num_centroids, n * self.shape.num_sub_vectors).astype(np.uint8)
            queries = vectors(2, f"query {role}{number}")
            sets.append((codes.reshape(n, -1), queries))
            ks.append(min(max(self.k - twin % 3, 1), n))
        instance = cases.instance_of(self.shape, codebook, sets, ks)
        if calls:
            goes = -(-calls // IN_A_GO)
            codes = sets[0][0][: min(8, self.n)]
            queries = vectors(CYCLE, f"query {role}small")
            small = _small_queries(codebook, codes, queries, min(calls, IN_A_GO), goes)
            instance = replace(instance, packs=[*instance.packs, small])
        return instance

    def _script(self) -> Iterator[Step]:
        held: list[int] = []
        for number in range(self.packs):
            for who in (0, 1):
                if number > HELD:
                    yield Step(who, held[0], DROP)
                yield Step(who, number, PACK)
            if number > HELD:
                held.pop(0)
            if number:
                held.append(number)
            for who in (0, 1):
                for pack in (number, *held[-2:-1], 0):
                    yield Step(who, pack, 0)
        if self.calls:
            yield Step(0, self.packs, PACK)
            for go in range(-(-self.calls // IN_A_GO)):
                yield Step(0, self.packs, go)
        for who in (0, 1):
            for pack in (0, *held):
                yield Step(who, pack, 0)
                yield Step(who, pack, 1)


def _small_queries(
    codebook: Float32, codes: NDArray[np.uint8], queries: Float32, in_a_go: int, goes: int
) -> PackInstance:
    """A code set that is asked the same few queries over and over: they are compared with the reference the first
    time, and with the first time from then on."""
    k = min(3, len(codes))
    searcher = reference.Searcher(codebook, codes)
    asked = np.ascontiguousarray(queries[np.arange(in_a_go) % len(queries)])
    first: dict[str, NDArray[Any]] = {}

    def check(go: int, outputs: Arrays, rtol: float) -> Mismatch | None:
        for i in range(min(len(queries), in_a_go)) if not first else ():
            table = searcher.distance_table(queries[i])
            wrong = compare_answer(
                table, searcher.distances(table), k, {name: array[i] for name, array in outputs.items()}, rtol
            )
            if wrong:
                return wrong
        if not first:
            first.update({name: array[: len(queries)].copy() for name, array in outputs.items()})
        return changed_answer(first, outputs, go * in_a_go)

    return PackInstance(
        params={"k": k},
        arrays={"codes": codes},
        calls=[{"query": asked}] * goes,
        outputs={
            "table": ("float32", (in_a_go, *codebook.shape[:2])),
            "ids": ("int64", (in_a_go, k)),
            "distances": ("float32", (in_a_go, k)),
        },
        check=check,
        repeats=in_a_go,
    )


def changed_answer(first: Arrays, outputs: Arrays, calls_before: int) -> Mismatch | None:
    """The first answer of many that is not, bit for bit, the one which the same query got the first time.

    first: arrays (Q, ...) of the answers to Q queries. outputs: those to the same queries, asked in turns.
    """
    places = []
    for name, array in outputs.items():
        want, flat = (np.ascontiguousarray(a).reshape(len(a), -1).view(np.uint8) for a in (first[name], array))
        expected = want[np.arange(len(flat)) % len(want)]
        changed = (flat != expected).any(axis=1)
        if changed.any():
            places.append((int(np.argmax(changed)), name))
    if not places:
        return None
    call, name = min(places, key=lambda place: place[0])
    want, got = first[name][call % len(first[name])], outputs[name][call]
    at = np.unravel_index(int(np.argmax((want != got) | (want != want))), want.shape)
    index = tuple(int(i) for i in at)
    what = {"table": "distance_table", "ids": "probe_top_k ids"}.get(name, "probe_top_k distances")
    return Mismatch(
        what,
        index,
        f"{want[at]!s} (the answer to the same query before)",
        f"{got[at]!s} after {calls_before + call} calls",
    )


def parse(spec: str) -> Session:
    """Rebuild a session from its text. Raises ValueError or TypeError when it is none."""
    word, *items = spec.split()
    fields: dict[str, Any] = dict(item.split("=", 1) for item in items)
    shape = PqShape(*(int(number) for number in fields.pop("shape").split(",")))
    distribution = fields.pop("distribution")
    session = Session(shape, distribution, **{name: int(value) for name, value in fields.items()})
    if word != "session" or distribution not in inputs.DISTRIBUTIONS + inputs.EXTREMES:
        raise ValueError(f"unknown distribution {distribution!r}")
    if min(session.n, session.k, session.packs) < 1 or session.calls < 0:
        raise ValueError("n, k and packs must be at least 1, calls at least 0")
    return session


def drawn(seed: int) -> Session:
    """The session of a trial: so many packs and calls as no list has."""
    stream = Stream(seed, "session")
    parts, dsub, centroids, more, n, k = (int(stream.below(bound, 1)[0]) for bound in (4, 4, 30, 12, 60, 8))
    share = float(stream.u16(1)[0]) / 2**16
    calls = int(FEWEST_CALLS * math.exp(share * math.log(MOST_CALLS / FEWEST_CALLS)))
    if stream.below(8, 1)[0] == 0:
        calls = MOST_CALLS
    shape = PqShape((parts + 3) * (dsub + 1), parts + 3, centroids + 24)
    return Session(shape, "gaussian", seed, 40 + n, 4 + k, FEWEST_PACKS + more, calls)
