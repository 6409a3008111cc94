"""The examples of the correctness suite: a few numbers or a little literal data, from which the inputs are built."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.targets.common import inputs
from pytest_lance_ar.targets.common.inputs import Float32, Stream
from pytest_lance_ar.targets.common.pq import cases as pq
from pytest_lance_ar.targets.common.pq import quantizer
from pytest_lance_ar.targets.common.pq.answers import Codes
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.ivf_pq_l2.equivalence import compare_answer
from pytest_lance_ar.targets.ivf_pq_l2.reference import Index
from pytest_lance_ar.targets.mismatch import Mismatch
from pytest_lance_ar.targets.pq_l2.metric import L2
from pytest_lance_ar.targets.protocol import Arrays, Instance, PackInstance

Ids = NDArray[np.int64]

FILLINGS: Final = ("skewed", "full", "around", "one", "empty")
"""How many vectors a partition has; see `sizes_of`."""
STRUCTURES: Final = (*pq.STRUCTURES, "twins", "nearest_first", "nearest_last")
"""How the codes of each partition are made: as those of a code set; or see `_codes`."""
WORDS: Final = ("shape", "distribution", "filling", "structure")
"""Fields of a drawn case that are no numbers."""
MAX_VISITS: Final = 64
PARTITIONS: Final = "number of partitions"
VISITED: Final = "number of partitions visited"
LIMITS: Final = {**pq.LIMITS, PARTITIONS: 1_500, VISITED: MAX_VISITS, "N": 20_000}
SPREAD: Final = np.float32(0.25)
"""Of the partitions' centroids, as a share of the vectors': residuals are larger than what parts the partitions."""
QUERIES_PER_CASE: Final = 3


@dataclass(frozen=True)
class Asked:
    """An index and what it is asked: queries float32 (Q, dim), for each the partitions to visit, and one k."""

    index: Index
    queries: Float32
    visits: Sequence[Ids]
    k: int

    def pack(self) -> PackInstance:
        """How many partitions a query visits is a part of its input where queries differ in it."""
        index, k = self.index, self.k
        longest = max(map(len, self.visits))
        calls = [
            {"query": query, "partitions": np.pad(visited, (0, longest - len(visited)), constant_values=-1)}
            for query, visited in zip(self.queries, self.visits, strict=True)
        ]
        if any(len(visited) < longest for visited in self.visits):
            for call, visited in zip(calls, self.visits, strict=True):
                call["visits"] = np.array([len(visited)])
        return PackInstance(
            params={"k": k},
            arrays={"codes": index.codes, "row_ids": index.row_ids, "offsets": index.offsets},
            calls=calls,
            outputs={"ids": ("int64", (k,)), "distances": ("float32", (k,)), "count": ("int64", (1,))},
            check=_Check(self),
        )


class _Check:
    """Compares the answers to a pack's calls. It remembers one: both sides of a duel answer the same query."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._known: tuple[int, Ids, Float32] | None = None

    def __call__(self, i: int, outputs: Arrays, rtol: float) -> Mismatch | None:
        asked = self._asked
        if self._known is None or self._known[0] != i:
            self._known = (i, *asked.index.answers(asked.queries[i], asked.visits[i]))
        return compare_answer(*self._known[1:], asked.k, outputs, rtol)


def instance_of(shape: PqShape, all_asked: Sequence[Asked], *, beside: Sequence[Instance] = ()) -> Instance:
    """The instance of one kernel object: indices that share codebook and centroids, each with what it is asked."""
    index = all_asked[0].index
    return Instance(
        params={"shape": shape.numbers},
        arrays={"codebook": index.codebook, "centroids": index.centroids},
        packs=[asked.pack() for asked in all_asked],
        beside=beside,
    )


def row_ids_of(count: int, stream: Stream) -> Ids:
    """Different numbers from 0 to 2^63 - 1, as rows of a table have them: a fragment, often 0, and a place in it."""
    fragments = stream.below(2**31 - 1, count) * (stream.below(3, count) > 0)
    return np.asarray(fragments << 32 | stream.distinct(count, count) if count else fragments, np.int64)


def sizes_of(filling: str, partitions: int, most: int, stream: Stream) -> Ids:
    """Vectors of each partition, (partitions,), at most `most` or, for "around", one more.

    skewed: log-uniform, one in eight empty and one as large as can be; one: all others are empty.
    """
    sizes = np.full(partitions, most, np.int64)
    largest = int(stream.below(partitions, 1)[0])
    match filling:
        case "skewed":
            shares = (stream.uniform(partitions).astype(np.float64) + 1.0) / 2.0
            sizes = np.floor((most + 1.0) ** shares).astype(np.int64) * (stream.below(8, partitions) > 0)
        case "around":
            sizes += stream.below(3, partitions) - 1
        case "one":
            sizes[:] = 0
        case "empty":
            return sizes * 0
    if filling != "around":
        sizes[largest] = most
    return np.clip(sizes, 0, most + 1)


@dataclass(frozen=True)
class DrawnCase:
    """Inputs drawn from a distribution by seed.

    partitions: of an index, each with at most about `most` vectors, see FILLINGS; visits: how many of them a query
    visits, or at most visits if varied is 1. fixture: seed of a trained codebook and of coded vectors, from which all
    are picked; None builds a codebook of sampled vectors and codes of the given structure from `seed` alone.
    indexes: how many one kernel object packs; with more than one, each has other sizes and another k, and a second
    object, of another codebook, lives beside it. scale: all vectors are multiplied by 10^scale.
    """

    shape: PqShape
    distribution: str
    seed: int
    partitions: int
    most: int
    visits: int
    k: int
    filling: str = "skewed"
    structure: str = "plain"
    varied: int = 0
    fixture: int | None = None
    indexes: int = 1
    queries: int = QUERIES_PER_CASE
    scale: int = 0

    @property
    def spec(self) -> str:
        return " ".join(f"{name}={value}" for name, value in self._told())

    @property
    def where(self) -> str:
        _, distribution, seed, *others = self._told()
        text = f"shape {self.shape}, {distribution[1]}, {' '.join(map(str, seed))}"
        return text + "".join(f", {name} {value}" for name, value in others)

    def _told(self) -> list[tuple[str, object]]:
        """What is not as it is mostly."""
        values = [(f.name, getattr(self, f.name), f.default) for f in fields(self)][1:]
        return [("shape", self.shape.text), *((name, value) for name, value, default in values if value != default)]

    @property
    def sizes(self) -> dict[str, int]:
        """What makes a case large first comes first. N: vectors of the largest partition."""
        own = {"N": self.most, PARTITIONS: self.partitions, VISITED: self.visits, "k": self.k}
        return own | {name: size for name, size in self._plain.sizes.items() if name not in own}

    def at(self, axis: str, size: int) -> DrawnCase:
        """The case with one of its sizes changed."""
        name = {"N": "most", PARTITIONS: "partitions", VISITED: "visits", "k": "k"}.get(axis)
        if name is None:
            return replace(self, shape=self._plain.at(axis, size).shape)
        return replace(self, **{name: size})  # type: ignore[arg-type]  # one of four fields, all int

    def room(self, axis: str) -> int:
        """The largest that one of the sizes may be beside the others."""
        return min(LIMITS[axis], self._plain.room(axis) if axis in pq.LIMITS else LIMITS[axis])

    def simpler(self) -> Iterator[DrawnCase]:
        """Without the fixture; with one index; with full partitions, all visits of one length."""
        case = self
        for change in ({"fixture": None}, {"indexes": 1}, {"varied": 0}, {"filling": "full"}):
            if replace(case, **change) != case:
                case = replace(case, **change)
                yield case

    def alias(self, axis: str, size: int) -> tuple[str, int, DrawnCase] | None:
        """As that of a code set: dim, where it is M or dsub that is bisected."""
        found = self._plain.alias(axis, size)
        return (*found[:2], replace(self, shape=found[2].shape)) if found else None

    @property
    def _plain(self) -> pq.DrawnCase:
        """A case of the same shape and a code set of the size of the largest partition."""
        return pq.DrawnCase(L2, self.shape, self.distribution, self.seed, self.most, self.k)

    def instance(self) -> Instance:
        rival = [replace(self, indexes=1)._instance("rival ", [])] if self.indexes > 1 else []
        return self._instance("", rival)

    def _instance(self, role: str, beside: Sequence[Instance]) -> Instance:
        pool = None
        if self.fixture is not None:
            codebook, pool = pq.fixture(self.shape, self.distribution, self.fixture)
        else:
            vectors = self._vectors(self.shape.num_centroids, f"{role}codebook")
            codebook = quantizer.sampled_codebook(vectors, self.shape, Stream(self.seed, f"{role}codebook"))
            if self.structure == "ties":
                codebook[:, 1::2] = codebook[:, 0 : codebook.shape[1] - 1 : 2]
        centroids = self._vectors(self.partitions, f"{role}partitions") * SPREAD
        if self.structure == "twins":
            centroids[:] = centroids[0]
        most = [(self.most, self.k), (self.most // 2 + 1, self.k // 2 + 1), (self.most + 7, self.k + 3)]
        asked = []
        for number in range(self.indexes):
            size, k = most[number % len(most)]
            asked.append(self._asked(f"{role}{number}", codebook, centroids, pool, size, k))
        return instance_of(self.shape, asked, beside=beside)

    def _asked(self, role: str, codebook: Float32, centroids: Float32, pool: Codes | None, most: int, k: int) -> Asked:
        stream = Stream(self.seed, "index", role)
        sizes = sizes_of(self.filling, self.partitions, most, stream)
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        count = int(offsets[-1])
        visits = [stream.distinct(self.partitions, self.partitions)[: self.visits] for _ in range(self.queries)]
        if self.varied:
            visits = [visited[: 1 + int(stream.below(len(visited), 1)[0])] for visited in visits]
        queries = self._vectors(self.queries, f"query {role}")
        queries = np.asarray(queries + centroids[[visited[0] for visited in visits]], np.float32)
        if pool is not None:
            codes = np.ascontiguousarray(pool[stream.below(len(pool), count)])
        else:
            codes = self._codes(stream, codebook, queries[0] - centroids, sizes, visits[0])
        index = Index(codebook, centroids, codes, row_ids_of(count, stream), offsets)
        if self.structure == "midway":
            queries = _midway(index, queries, visits, stream)
        elif self.structure != "plain" and self.queries > 1:
            # It lies on a stored vector, or nearly so.
            for p in visits[1][sizes[visits[1]] > 0][:1]:
                queries[1] = _decoded(index, index.rows(p).start, p)
        return Asked(index, queries, visits, k)

    def _codes(self, stream: Stream, codebook: Float32, residuals: Float32, sizes: Ids, visited: Ids) -> Codes:
        """Codes of all partitions, one behind the other: uint8 (N, M). residuals: of the first query, (P, dim).

        twins: the centroids are one, and every partition has the same vectors as far as they go. nearest_first: those
        of the first partition visited are the nearest, all others far; nearest_last: of the last.
        """
        near = {"nearest_first": visited[0], "nearest_last": visited[-1]}.get(self.structure)
        seed = Stream(self.seed, "twins")
        parts = [np.empty((0, self.shape.num_sub_vectors), np.uint8)]
        if self.structure == "twins":
            twin = seed.below(self.shape.num_centroids, (int(sizes.max()) + 1) * self.shape.num_sub_vectors)
            codes = twin.reshape(-1, self.shape.num_sub_vectors).astype(np.uint8)
            return np.ascontiguousarray(np.concatenate(parts + [codes[:size] for size in sizes]))
        for p, size in enumerate(sizes.tolist()):
            structure = self.structure if near is None else "last" if p == near else "farthest"
            parts.append(replace(self._plain, structure=structure).structured(size, stream, codebook, residuals[p]))
        return np.ascontiguousarray(np.concatenate(parts))

    def _vectors(self, count: int, role: str) -> Float32:
        vectors = inputs.vectors(self.distribution, count, self.shape.dim, seed=self.seed, role=role)
        return vectors * np.float32(f"1e{self.scale}") if self.scale else vectors


def _decoded(index: Index, row: int, partition: int) -> Float32:
    """The vector that a row's codes and its partition's centroid stand for: (dim,)."""
    decoded = index.codebook[np.arange(len(index.codebook)), index.codes[row]].reshape(-1)
    return np.asarray(index.centroids[partition] + decoded, np.float32)


def _midway(index: Index, queries: Float32, visits: Sequence[Ids], stream: Stream) -> Float32:
    """Queries for which two vectors of the partitions visited nearly tie, where there are two."""
    for i, visited in enumerate(visits):
        rows = [(row, int(p)) for p in visited for row in range(index.rows(p).start, index.rows(p).stop)]
        if len(rows) > 1:
            u, v = (_decoded(index, *rows[at]) for at in stream.distinct(len(rows), 2))
            side = np.float32((int(stream.below(2, 1)[0]) * 2 - 1) * 2.0**-9)
            queries[i] = (u + v) * np.float32(0.5) + (v - u) * side
    return queries


@dataclass(frozen=True)
class LiteralCase:
    """Inputs written out, nested in tuples: codebook (M, K, dsub), centroids (P, dim); codes and row_ids of each
    partition; queries (Q, dim) and the partitions that each visits."""

    codebook: tuple[Any, ...]
    centroids: tuple[Any, ...]
    codes: tuple[Any, ...]
    row_ids: tuple[Any, ...]
    queries: tuple[Any, ...]
    visits: tuple[Any, ...]
    k: int

    @classmethod
    def of(cls, asked: Asked) -> LiteralCase:
        index = asked.index
        rows = [index.rows(p) for p in range(len(index.centroids))]
        return cls(
            pq.tuples(index.codebook),
            pq.tuples(index.centroids),
            tuple(pq.tuples(index.codes[own]) for own in rows),
            tuple(pq.tuples(index.row_ids[own]) for own in rows),
            pq.tuples(asked.queries),
            tuple(map(pq.tuples, asked.visits)),
            asked.k,
        )

    @property
    def shape(self) -> PqShape:
        return PqShape(len(self.queries[0]), len(self.codebook), len(self.codebook[0]))

    @property
    def spec(self) -> str:
        return json.dumps(vars(self), separators=(",", ":"))

    @property
    def where(self) -> str:
        arrays = ", ".join(f"{name} {json.dumps(value)}" for name, value in vars(self).items() if name != "k")
        return f"shape {self.shape}, drawn arrays, no seed, k {self.k}, {arrays}"

    def asked(self) -> Asked:
        offsets = np.concatenate([[0], np.cumsum([len(own) for own in self.row_ids])]).astype(np.int64)
        rows = [row for own in self.codes for row in own]
        index = Index(
            np.array(self.codebook, np.float32),
            np.array(self.centroids, np.float32),
            np.array(rows, np.uint8).reshape(len(rows), len(self.codebook)),
            np.array([number for own in self.row_ids for number in own], np.int64),
            offsets,
        )
        return Asked(
            index, np.array(self.queries, np.float32), [np.array(own, np.int64) for own in self.visits], self.k
        )

    def instance(self) -> Instance:
        return instance_of(self.shape, [self.asked()])
