"""The examples of the correctness suite: a few numbers or a little literal data, from which the inputs are built."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.targets.mismatch import Mismatch
from pytest_lance_ar.targets.pq_l2 import inputs, quantizer, reference
from pytest_lance_ar.targets.pq_l2.equivalence import compare_answer
from pytest_lance_ar.targets.pq_l2.inputs import Float32, Stream
from pytest_lance_ar.targets.pq_l2.shape import PqShape
from pytest_lance_ar.targets.protocol import Arrays, Instance, PackInstance, no_matter

Codes = NDArray[np.uint8]

FIXTURE_VECTORS: Final = 2048
QUERIES_PER_CASE: Final = 3
STRUCTURES: Final = (
    "plain",
    "ties",
    "equal",
    "edges",
    "repeated",
    "ascending",
    "descending",
    "lists",
    "neighbours",
    "needle",
    "farthest",
    "midway",
    "last",
)
"""How the codes of a drawn case are made; see `_structured`."""
LAST: Final = 24
"""So many of the last vectors are near, where the nearest are the last."""
SCALES: Final = range(-12, 13)
"""Powers of ten that vectors may be multiplied by."""
UNSCALABLE: Final = ("scales", "tiny", "huge", "denormal")
"""They are at the ends of float32, or beyond what it resolves, as they are."""
SCALABLE: Final = tuple(d for d in inputs.DISTRIBUTIONS + inputs.EXTREMES if d not in UNSCALABLE)
LITERAL_LIMIT: Final = 1000
"""A literal case whose text is longer is not small: a seed says the same in a line."""


def instance_of(
    shape: PqShape,
    codebook: Float32,
    packs: Sequence[tuple[Codes, Float32]],
    k: int | Sequence[int],
    *,
    beside: Sequence[Instance] = (),
    many_calls: bool = False,
) -> Instance:
    """The instance of one kernel object that serves (codes, queries) pairs, all with one k or each with its own.

    many_calls: the reference's answers can be had for many calls at once.
    """
    ks = [k] * len(packs) if isinstance(k, int) else k
    return Instance(
        params={"shape": (shape.dim, shape.num_sub_vectors, shape.num_centroids)},
        arrays={"codebook": codebook},
        packs=[
            _pack(codebook, codes, queries, own, many_calls) for (codes, queries), own in zip(packs, ks, strict=True)
        ],
        beside=beside,
    )


def _pack(codebook: Float32, codes: Codes, queries: Float32, k: int, many_calls: bool) -> PackInstance:
    n = min(k, len(codes))
    answers = _Answers(codebook, codes, queries, k)
    return PackInstance(
        params={"k": k},
        arrays={"codes": codes},
        calls=[{"query": query} for query in queries],
        outputs={
            "table": ("float32", codebook.shape[:2]),
            "ids": ("int64", (n,)),
            "distances": ("float32", (n,)),
        },
        check=answers.check,
        bulky=frozenset(["table"]),
        foresee=answers.foresee if many_calls else no_matter,
    )


class _Answers:
    """The reference's answers to a pack's calls. It can be pickled: workloads are built in processes of their own."""

    def __init__(self, codebook: Float32, codes: Codes, queries: Float32, k: int) -> None:
        self._codebook = codebook
        self._codes = codes
        self._queries = queries
        self._k = k
        self._searcher: reference.Searcher | None = None
        self._known: dict[int, tuple[Float32, Float32]] = {}

    def foresee(self, calls: Sequence[int]) -> None:
        tables = np.array([self._search().distance_table(self._queries[i]) for i in calls])
        distances = quantizer.distances(tables, np.ascontiguousarray(self._codes.T))
        self._known = dict(zip(calls, zip(tables, distances, strict=True), strict=True))

    def check(self, i: int, outputs: Arrays, rtol: float) -> Mismatch | None:
        if i not in self._known:  # both sides of a duel answer the same query
            table = self._search().distance_table(self._queries[i])
            self._known = {i: (table, self._search().distances(table))}
        return compare_answer(*self._known[i], self._k, outputs, rtol)

    def _search(self) -> reference.Searcher:
        if self._searcher is None:
            self._searcher = reference.Searcher(self._codebook, self._codes)
        return self._searcher

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_searcher": None, "_known": {}}


@lru_cache(maxsize=16)
def fixture(shape: PqShape, distribution: str, seed: int, count: int = FIXTURE_VECTORS) -> tuple[Float32, Codes]:
    """A trained codebook, float32 (M, K, dsub), and the codes of `count` vectors, uint8 (count, M). Both read-only."""
    vectors = inputs.vectors(distribution, count, shape.dim, seed=seed, role="base")
    codebook = quantizer.trained_codebook(
        vectors[:FIXTURE_VECTORS], shape, Stream(seed, "codebook", distribution, *_numbers(shape))
    )
    codes = quantizer.encode(vectors, codebook)
    codebook.setflags(write=False)
    codes.setflags(write=False)
    return codebook, codes


@dataclass(frozen=True)
class DrawnCase:
    """Inputs drawn from a distribution by seed.

    fixture: seed of a trained codebook and of 2,048 coded vectors, from which n are picked; None builds a codebook
    of sampled vectors and codes of the given structure from `seed` alone. code_sets: how many sets one kernel packs;
    with more than one, each has its own n and k, and a second kernel object, of another codebook, lives beside it.
    scale: all vectors are multiplied by 10^scale.
    """

    shape: PqShape
    distribution: str
    seed: int
    n: int
    k: int
    structure: str = "plain"
    fixture: int | None = None
    code_sets: int = 1
    queries: int = QUERIES_PER_CASE
    scale: int = 0

    @property
    def spec(self) -> str:
        m = ",".join(map(str, _numbers(self.shape)))
        text = f"shape={m} distribution={self.distribution} seed={self.seed} n={self.n} k={self.k}"
        if self.structure != "plain":
            text += f" structure={self.structure}"
        if self.fixture is not None:
            text += f" fixture={self.fixture}"
        if self.code_sets != 1:
            text += f" code_sets={self.code_sets}"
        if self.queries != QUERIES_PER_CASE:
            text += f" queries={self.queries}"
        if self.scale:
            text += f" scale={self.scale}"
        return text

    @property
    def where(self) -> str:
        text = f"shape {self.shape}, {self.distribution}, seed {self.seed}, N {self.n}, k {self.k}"
        if self.structure != "plain":
            text += f", {self.structure} codes"
        if self.fixture is not None:
            text += f", fixture {self.fixture}"
        if self.code_sets != 1:
            text += f", {self.code_sets} code sets"
        if self.queries != QUERIES_PER_CASE:
            text += f", {self.queries} queries"
        if self.scale:
            text += f", all times 1e{self.scale}"
        return text

    def instance(self) -> Instance:
        return self._instance("", [self._rival()] if self.code_sets > 1 else [])

    def _rival(self) -> Instance:
        """A kernel object of the same shape that shares nothing else."""
        return replace(self, code_sets=1)._instance("rival ", [])

    def _instance(self, role: str, beside: Sequence[Instance]) -> Instance:
        if self.fixture is not None:
            codebook, pool = fixture(self.shape, self.distribution, self.fixture)
        else:
            vectors = self._vectors(self.shape.num_centroids, f"{role}codebook")
            codebook = inputs.sampled_codebook(vectors, self.shape, Stream(self.seed, f"{role}codebook"))
            if self.structure == "ties":
                # Every second centroid is the one before it again: different codes, equal distances.
                codebook[:, 1::2] = codebook[:, 0 : codebook.shape[1] - 1 : 2]
            pool = None
        sizes = [(self.n, self.k), (self.n // 2 + 1, self.k // 2 + 1), (self.n + 7, self.k + 3)]
        packs, ks = [], []
        for code_set in range(self.code_sets):
            n, k = sizes[code_set % len(sizes)]
            stream = Stream(self.seed, f"{role}codes", code_set)
            queries = self._vectors(self.queries, f"query {role}{code_set}")
            if pool is not None:
                codes = pool[stream.below(len(pool), n)]
            else:
                codes = _structured(self.structure, self.shape, n, stream, codebook, queries[0])
                if self.structure == "midway" and n > k:
                    queries = _midway(codebook[np.arange(len(codebook)), codes].reshape(n, -1), k, len(queries), stream)
                elif self.structure != "plain" and n and self.queries > 1:
                    # Every sub-vector of this query is a centroid: the nearest distance is zero, or nearly so.
                    queries[1] = codebook[np.arange(len(codebook)), codes[n // 2]].reshape(-1)
            packs.append((np.ascontiguousarray(codes), queries))
            ks.append(k)
        return instance_of(self.shape, codebook, packs, ks, beside=beside)

    def _vectors(self, count: int, role: str) -> Float32:
        vectors = inputs.vectors(self.distribution, count, self.shape.dim, seed=self.seed, role=role)
        return vectors * np.float32(f"1e{self.scale}") if self.scale else vectors


def _midway(stored: Float32, k: int, count: int, stream: Stream) -> Float32:
    """Queries, float32 (count, dim), for which two stored vectors nearly tie: on a line, the k-th and the next."""
    order = np.argsort(stored[:, 0], kind="stable")
    first = stream.below(len(stored) - k, count)
    u, v = stored[order[first]], stored[order[first + k]]
    side = (stream.below(2, count) * 2 - 1).astype(np.float32)[:, np.newaxis]
    return np.asarray((u + v) * np.float32(0.5) + (v - u) * (side * np.float32(2.0**-9)), np.float32)


def _structured(structure: str, shape: PqShape, n: int, stream: Stream, codebook: Float32, query: Float32) -> Codes:
    """Codes: uint8 (n, M). The query is the first that they are searched with."""
    m, k = shape.num_sub_vectors, shape.num_centroids
    match structure:
        case "equal":  # all vectors the same: every place is a tie
            codes = np.broadcast_to(stream.below(k, m), (n, m))
        case "edges":  # only the first and the last centroid
            codes = stream.below(2, n * m).reshape(n, m) * (k - 1)
        case "repeated":  # few different vectors, so that ties straddle the k-th place
            codes = stream.below(k, 3 * m).reshape(3, m)[stream.below(3, n)]
        case "lists":  # runs of vectors that differ in a few sub-vectors: clusters, one after the other
            prototype = stream.below(k, 12 * m).reshape(12, m)[np.sort(stream.below(12, n))]
            codes = np.where(stream.chosen(0.1, n * m).reshape(n, m), stream.below(k, n * m).reshape(n, m), prototype)
        case "neighbours":  # each vector differs from one in a single sub-vector: all else is equal
            codes = np.tile(stream.below(k, m), (n, 1))
            codes[np.arange(n), stream.below(m, n)] = stream.below(k, n)
        case "needle":  # all vectors the same, but for the nearest that there can be
            codes = np.tile(stream.below(k, m), (n, 1))
            codes[stream.below(max(n, 1), 1)[:n]] = reference.distance_table(query, codebook).argmin(axis=1)
        case "farthest":  # the two centroids that are farthest from the query: sums as large as can be
            order = np.argsort(reference.distance_table(query, codebook), axis=1, kind="stable")[:, -2:]
            codes = order[np.arange(m), stream.below(order.shape[1], n * m).reshape(n, m)]
        case "last":  # the nearest are the last few, the very nearest the last of all
            codes = stream.below(k, n * m).reshape(n, m)
            order = np.argsort(reference.distance_table(query, codebook), axis=1, kind="stable")
            for i in range(min(n, LAST)):
                codes[n - 1 - i] = order[:, 0]
                codes[n - 1 - i, i % m] = order[i % m, (i + m - 1) // m % k]
        case _:
            codes = stream.below(k, n * m).reshape(n, m)
            if structure in ("ascending", "descending"):
                order = np.argsort(reference.distances(reference.distance_table(query, codebook), codes), kind="stable")
                codes = codes[order if structure == "ascending" else order[::-1]]
    return codes.astype(np.uint8, copy=False)


@dataclass(frozen=True)
class LiteralCase:
    """Inputs written out: codebook (M, K, dsub), codes (N, M), queries (Q, dim), nested in tuples."""

    codebook: tuple[tuple[tuple[float, ...], ...], ...]
    codes: tuple[tuple[int, ...], ...]
    queries: tuple[tuple[float, ...], ...]
    k: int

    @classmethod
    def of(cls, codebook: Float32, codes: NDArray[np.integer[Any]], queries: Float32, k: int) -> LiteralCase:
        """A case of arrays of these shapes."""
        return cls(_tuples(codebook), _tuples(codes), _tuples(queries), k)

    @property
    def shape(self) -> PqShape:
        return PqShape(len(self.queries[0]), len(self.codebook), len(self.codebook[0]))

    @property
    def spec(self) -> str:
        data = {"codebook": self.codebook, "codes": self.codes, "queries": self.queries, "k": self.k}
        return json.dumps(data, separators=(",", ":"))

    @property
    def where(self) -> str:
        return (
            f"shape {self.shape}, drawn arrays, no seed, N {len(self.codes)}, k {self.k}, codebook "
            f"{json.dumps(self.codebook)}, codes {json.dumps(self.codes)}, queries {json.dumps(self.queries)}"
        )

    def instance(self) -> Instance:
        shape = self.shape
        codes = np.array(self.codes, np.uint8).reshape(len(self.codes), shape.num_sub_vectors)
        return instance_of(
            shape, np.array(self.codebook, np.float32), [(codes, np.array(self.queries, np.float32))], self.k
        )


def _tuples(array: NDArray[Any]) -> Any:
    """An array as nested tuples of Python's numbers, float32 as the shortest that reads back as the same."""
    if array.ndim:
        return tuple(_tuples(row) for row in array)
    return float(str(array)) if array.dtype.kind == "f" else int(array)


def _numbers(shape: PqShape) -> tuple[int, int, int]:
    return shape.dim, shape.num_sub_vectors, shape.num_centroids
