"""The examples of the correctness suite: a few numbers or a little literal data, from which the inputs are built."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.targets.common import inputs
from pytest_lance_ar.targets.common.inputs import Float32, Stream
from pytest_lance_ar.targets.common.pq import quantizer, reference
from pytest_lance_ar.targets.common.pq.answers import Codes, instance_of
from pytest_lance_ar.targets.common.pq.metric import Metric
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.common.specs import text_of
from pytest_lance_ar.targets.protocol import Instance

LIMITS: Final = {"N": 1_200_000, "k": 70_000, "M": 512, "dsub": 1024, "K": 256}
"""The largest sizes that a drawn case has."""
MAX_DIM: Final = 4096
FIXTURE_VECTORS: Final = 1024
"""Vectors on which a codebook is trained, at the most."""
BATTERY_VECTORS: Final = 512
"""Coded vectors of which a case with a fixture picks its own, and on which its codebook is trained."""
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
    "spread",
    "low",
)
"""How the codes of a drawn case are made; see `_structured`."""
LAST: Final = 24
"""So many of the last vectors are near at the least, where the nearest are the last."""
MANY: Final = 1 << 18
"""Codes that are drawn from bytes."""
SCALES: Final = range(-12, 13)
"""Powers of ten that vectors may be multiplied by."""
UNSCALABLE: Final = ("scales", "tiny", "huge", "denormal")
"""They are at the ends of float32, or beyond what it resolves, as they are."""
SCALABLE: Final = tuple(d for d in inputs.DISTRIBUTIONS + inputs.EXTREMES if d not in UNSCALABLE)
USUAL: Final = {"structure": "plain", "fixture": None, "code_sets": 1, "queries": QUERIES_PER_CASE, "scale": 0}
"""What a case's text does not say."""


def trained(vectors: Float32, shape: PqShape, distribution: str, seed: int) -> Float32:
    """A codebook, float32 (M, K, dsub), trained on the first of these vectors, float32 (N, dim)."""
    stream = Stream(seed, "codebook", distribution, *shape.numbers)
    return quantizer.trained_codebook(vectors[:FIXTURE_VECTORS], shape, stream)


@lru_cache(maxsize=16)
def fixture(shape: PqShape, distribution: str, seed: int, count: int = BATTERY_VECTORS) -> tuple[Float32, Codes]:
    """A trained codebook, float32 (M, K, dsub), and the codes of `count` vectors, uint8 (count, M). Both read-only."""
    vectors = inputs.vectors(distribution, count, shape.dim, seed=seed, role="base")
    codebook = trained(vectors, shape, distribution, seed)
    codes = quantizer.encode(vectors, codebook)
    codebook.setflags(write=False)
    codes.setflags(write=False)
    return codebook, codes


@dataclass(frozen=True)
class DrawnCase:
    """Inputs drawn from a distribution by seed.

    fixture: seed of a trained codebook and of coded vectors, from which n are picked; None builds a codebook of sampled
    vectors and codes of the given structure from `seed` alone. code_sets: how many sets one kernel packs; of two the
    second is the first with a little changed, of more each has its own n and k; and a second kernel object, of another
    codebook, lives beside it. scale: all vectors are multiplied by 10^scale.
    """

    metric: Metric
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
        sizes = {"seed": self.seed, "n": self.n, "k": self.k}
        more = {name: getattr(self, name) for name in USUAL}
        return text_of({"shape": self.shape.text, "distribution": self.distribution, **sizes, **more}, USUAL)

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

    @property
    def sizes(self) -> dict[str, int]:
        """What makes a case large first comes first."""
        shape = self.shape
        parts = {"M": shape.num_sub_vectors, "dsub": shape.sub_vector_dim, "K": shape.num_centroids}
        return {"N": self.n, "k": self.k, **parts}

    def at(self, axis: str, size: int) -> DrawnCase:
        """The case with one of its sizes changed."""
        if axis == "N":
            return replace(self, n=size)
        if axis == "k":
            return replace(self, k=size)
        new = {**self.sizes, axis: size}
        return replace(self, shape=PqShape(new["M"] * new["dsub"], new["M"], new["K"]))

    def room(self, axis: str) -> int:
        """The largest that one of the sizes may be beside the others."""
        beside = {"dsub": self.shape.num_sub_vectors, "M": self.shape.sub_vector_dim}
        return min(LIMITS[axis], MAX_DIM // beside[axis]) if axis in beside else LIMITS[axis]

    def simpler(self) -> Iterator[DrawnCase]:
        """Without the fixture; then with one code set as well."""
        case = self
        if case.fixture is not None:
            case = replace(case, fixture=None)
            yield case
        if case.code_sets > 1:
            yield replace(case, code_sets=1)

    def alias(self, axis: str, size: int) -> tuple[str, int, DrawnCase] | None:
        """For M and dsub: "dim", by how much it grows with the axis, and a case of nearly the dim that the case has at
        this size, in another shape."""
        dim = self.shape.dim
        parts = 3 if self.shape.num_sub_vectors != 3 else 2
        dsub = -(-dim // parts)
        limited = dsub <= LIMITS["dsub"] and parts * dsub <= MAX_DIM
        if axis not in ("dsub", "M") or dim < 8 or not limited or max(parts, dsub) == size:
            return None
        shape = PqShape(parts * dsub, parts, self.shape.num_centroids)
        return "dim", dim // size, replace(self, shape=shape)

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
            codebook = quantizer.sampled_codebook(vectors, self.shape, Stream(self.seed, f"{role}codebook"))
            if self.structure == "ties":
                # Every second centroid is the one before it again: different codes, equal distances.
                codebook[:, 1::2] = codebook[:, 0 : codebook.shape[1] - 1 : 2]
            pool = None
        sizes = [(self.n, self.k), (self.n // 2 + 1, self.k // 2 + 1), (self.n + 7, self.k + 3)]
        packs: list[tuple[Codes, Float32]] = []
        ks = []
        for code_set in range(self.code_sets):
            n, k = (self.n, self.k) if self.code_sets == 2 else sizes[code_set % len(sizes)]
            stream = Stream(self.seed, f"{role}codes", code_set)
            queries = self._vectors(self.queries, f"query {role}{code_set}")
            if pool is not None:
                codes = pool[stream.below(len(pool), n)]
            else:
                codes = self.structured(n, stream, codebook, queries[0])
                if self.structure == "midway" and n > k:
                    stored = codebook[np.arange(len(codebook)), codes].reshape(n, -1)
                    queries = self._midway(stored, k, stream)
                elif self.structure != "plain" and n and self.queries > 1:
                    # Every sub-vector of this query is a centroid: the nearest distance is zero, or nearly so.
                    queries[1] = codebook[np.arange(len(codebook)), codes[n // 2]].reshape(-1)
            if self.code_sets == 2 and packs:
                first, asked = packs[0]
                queries[0] = asked[0]
                codes = changed_a_little(first, reference.distance_table(self.metric, asked[0], codebook), stream)
            packs.append((np.ascontiguousarray(codes), queries))
            ks.append(k)
        return instance_of(self.metric, self.shape, codebook, packs, ks, beside=beside)

    def _vectors(self, count: int, role: str) -> Float32:
        vectors = inputs.vectors(self.distribution, count, self.shape.dim, seed=self.seed, role=role)
        vectors = self.metric.posed(vectors, self.shape.num_sub_vectors, self.seed, role)
        return vectors * np.float32(f"1e{self.scale}") if self.scale else vectors

    def _midway(self, stored: Float32, k: int, stream: Stream) -> Float32:
        """Queries, float32 (Q, dim), for which two stored vectors nearly tie: on a line, the k-th and the next."""
        order = np.argsort(stored[:, 0], kind="stable")
        first = stream.below(len(stored) - k, self.queries)
        side = (stream.below(2, self.queries) * 2 - 1).astype(np.float32)[:, np.newaxis]
        return self.metric.midway(stored[order[first]], stored[order[first + k]], side)

    def structured(self, n: int, stream: Stream, codebook: Float32, query: Float32) -> Codes:
        """Codes: uint8 (n, M). The query is the first that they are searched with."""
        m, k = self.shape.num_sub_vectors, self.shape.num_centroids
        codes: NDArray[np.integer[Any]]

        def table() -> Float32:
            return reference.distance_table(self.metric, query, codebook)

        def some(count: int) -> NDArray[np.integer[Any]]:
            return stream.below(k, count) if count < MANY else stream.bytes_below(k, count).copy()

        def far_off(order: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
            """Codes of any vectors; where so few differ that many would be the nearest, the first sub-vector is far."""
            codes = some(n * m).reshape(n, m)
            if k**m < 64 * n:
                codes[:, 0] = order[0, k // 2 + np.arange(k) % (k - k // 2)][codes[:, 0]]
            return codes

        match self.structure:
            case "equal":  # all vectors the same: every place is a tie
                codes = np.broadcast_to(stream.below(k, m), (n, m))
            case "edges":  # only the first and the last centroid
                codes = stream.below(2, n * m).reshape(n, m) * (k - 1)
            case "repeated":  # few different vectors, so that ties straddle the k-th place
                codes = stream.below(k, 3 * m).reshape(3, m)[stream.below(3, n)]
            case "lists":  # runs of vectors that differ in a few sub-vectors: clusters, one after the other
                prototype = stream.below(k, 12 * m).reshape(12, m)[np.sort(stream.below(12, n))]
                codes = np.where(
                    stream.chosen(0.1, n * m).reshape(n, m), stream.below(k, n * m).reshape(n, m), prototype
                )
            case "neighbours":  # each vector differs from one in a single sub-vector: all else is equal
                codes = np.tile(stream.below(k, m), (n, 1))
                codes[np.arange(n), stream.below(m, n)] = stream.below(k, n)
            case "needle":  # all vectors the same, but for the nearest that there can be
                codes = np.tile(stream.below(k, m), (n, 1))
                codes[stream.below(max(n, 1), 1)[:n]] = table().argmin(axis=1)
            case "farthest":  # the two centroids that are farthest from the query: sums as large as can be
                order = np.argsort(table(), axis=1, kind="stable")[:, -2:]
                codes = order[np.arange(m), stream.below(order.shape[1], n * m).reshape(n, m)]
            case "last":  # the nearest are the last few, as many as are looked for, the very nearest the last of all
                order = np.argsort(table(), axis=1, kind="stable")
                codes = far_off(order)
                i = np.arange(min(n, max(min(self.k, n // 2), LAST)))
                codes[n - 1 - i] = order[:, 0]
                codes[n - 1 - i, i % m] = order[i % m, (i + m - 1) // m % k]
            case "spread":  # as many near as are looked for, one in each of so many blocks, and one the last of all
                order = np.argsort(table(), axis=1, kind="stable").astype(np.uint8)
                codes = far_off(order)
                near = min(self.k, n)
                starts = np.arange(near + 1) * n // max(near, 1)
                places = starts[:-1] + stream.u32(near) % np.maximum(np.diff(starts), 1)
                places[-1:] = n - 1
                codes[places] = order[:, 0]
                changed = stream.below(m, near)
                codes[places, changed] = order[changed, stream.below(min(k, 4), near)]
            case "low":  # only the first sixteen centroids, but for one vector in fifty
                codes = stream.below(min(k, 16), n * m).reshape(n, m)
                codes = np.where(stream.chosen(0.02, n)[:, np.newaxis], stream.below(k, n * m).reshape(n, m), codes)
            case _:
                codes = some(n * m).reshape(n, m)
                if self.structure in ("ascending", "descending"):
                    order = np.argsort(reference.distances(table(), codes), kind="stable")
                    codes = codes[order if self.structure == "ascending" else order[::-1]]
        return codes.astype(np.uint8, copy=False)


def changed_a_little(codes: Codes, table: Float32, stream: Stream) -> Codes:
    """Another set of the same size, nearly the same, in which a query of this table, float32 (M, K), finds another
    answer: one code differs, two rows have changed places, or only the first row, the last, or the last column is new.
    """
    changed: Codes = codes.copy()
    (count, parts), centroids = codes.shape, table.shape[1]
    if count == 0:
        return changed
    nearest = int(np.argmin(reference.distances(table, codes)))
    match int(stream.below(5, 1)[0]):
        case 0:
            part = int(stream.below(parts, 1)[0])
            changed[nearest, part] = table[part].argmax()
        case 1:
            other = int(stream.below(count, 1)[0])
            changed[[nearest, other]] = codes[[other, nearest]]
        case 2:
            changed[0] = table.argmin(axis=1)
        case 3:
            changed[-1] = table.argmin(axis=1)
        case _:
            shift = stream.below(max(centroids - 1, 1), count) + 1
            changed[:, -1] = (codes[:, -1] + shift) % centroids
    return changed


@dataclass(frozen=True)
class LiteralCase:
    """Inputs written out: codebook (M, K, dsub), codes (N, M), queries (Q, dim), nested in tuples."""

    metric: Metric
    codebook: tuple[tuple[tuple[float, ...], ...], ...]
    codes: tuple[tuple[int, ...], ...]
    queries: tuple[tuple[float, ...], ...]
    k: int

    @classmethod
    def of(
        cls, metric: Metric, codebook: Float32, codes: NDArray[np.integer[Any]], queries: Float32, k: int
    ) -> LiteralCase:
        """A case of arrays of these shapes."""
        return cls(metric, tuples(codebook), tuples(codes), tuples(queries), k)

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
        codebook, queries = np.array(self.codebook, np.float32), np.array(self.queries, np.float32)
        return instance_of(self.metric, shape, codebook, [(codes, queries)], self.k)


def tuples(array: NDArray[Any]) -> Any:
    """An array as nested tuples of Python's numbers, float32 as the shortest that reads back as the same."""
    if array.ndim:
        return tuple(tuples(row) for row in array)
    return float(str(array)) if array.dtype.kind == "f" else int(array)
