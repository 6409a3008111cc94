"""What is timed: the combos, and guard workloads, which a gain must not be paid for with.

An index has partitions of skewed sizes, of which one in eleven is empty; its vectors are a partition's centroid and a
residual from a distribution, coded sub-vector by sub-vector. A query lies about one of the centroids and visits those
partitions that are nearest to it, in that order, the nearest that is not empty first.

The guards' family, COUNT workloads a draw, which the seed alone decides:

- partitions visited: log-uniform from 1 to 64, the index has three times as many or more; vectors in the largest: from
  100 to 20,000, half of the others have fewer than a sixteenth of it;
- shape: dim from 32 to 2,048 and dsub from 1 to 64, log-uniform and spread alike; K from 16 to 256, 256 in six and 16
  in two of them. What would take a scalar kernel more than some ten milliseconds a query is made smaller in M;
- k, data, queries and indices of one kernel object (one or two, asked in turns): as the guards of `pq_l2`.

Among them always: one partition of a few hundred vectors, k = 1,000 on 16 partitions or more, two with foreign queries
on clustered data, one shape above 1,000 dimensions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np

from pytest_lance_ar.targets.common import inputs
from pytest_lance_ar.targets.common.draw import dealt, spread
from pytest_lance_ar.targets.common.guards import batch_of, batched
from pytest_lance_ar.targets.common.inputs import Float32, Stream
from pytest_lance_ar.targets.common.pq import guards as pq
from pytest_lance_ar.targets.common.pq import quantizer
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.common.specs import MISTAKES, fields_of
from pytest_lance_ar.targets.ivf_pq_l2.cases import SPREAD, Asked, DrawnCase, Ids, instance_of, row_ids_of
from pytest_lance_ar.targets.ivf_pq_l2.reference import Index
from pytest_lance_ar.targets.pq_l2.metric import L2
from pytest_lance_ar.targets.protocol import Instance

COUNT: Final = pq.COUNT
PARTITIONS: Final = 64
MOST: Final = 5_000
SMALLEST: Final = 1 / 36
"""Of the largest partition, what the smallest has: 140 where that has 5,000."""
SKEW: Final = 3
EMPTY: Final = 11
SPEED_K: Final = 10
VISITS: Final = (1, 64)
SIZES: Final = (100, 20_000)
MAX_TERMS: Final = 1 << 24
"""K x dim x partitions visited, the multiply-adds of a query's tables: a scalar loop takes about 10 ms of them."""


@dataclass(frozen=True)
class Workload:
    """An index of many partitions and what it is asked.

    visits: partitions that a query visits, of so many; most: vectors of the largest; queries: "own", "foreign" or
    "stored", as of `pq_l2`'s guards; indexes: 1 or 2.
    """

    shape: PqShape
    distribution: str
    seed: int
    visits: int
    k: int = SPEED_K
    partitions: int = PARTITIONS
    most: int = MOST
    queries: str = "own"
    indexes: int = 1

    @property
    def name(self) -> str:
        """In words, for the report."""
        text = f"{self.shape}, {self.distribution}, {self.visits} of {self.partitions} partitions of up to {self.most}"
        text += f", k {self.k}" + (f", {self.queries} queries" if self.queries != "own" else "")
        return text + (f", {self.indexes} indices" if self.indexes > 1 else "")

    @property
    def spec(self) -> str:
        """One line from which `parse` rebuilds this very workload."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values["shape"] = self.shape.text
        return " ".join(f"{name}={value}" for name, value in values.items())

    @property
    def batch(self) -> int:
        """Queries a call."""
        table = pq.TABLE_NS * self.shape.num_centroids * self.shape.dim
        scan = pq.LOOK_UP_NS * self.most / 8 * self.shape.num_sub_vectors
        return batch_of(self.visits * (table + scan))

    def instance(self, calls: int) -> Instance:
        """One kernel object and its indices, each with so many calls, of `batch` queries where there are more."""
        pool = inputs.vectors(self.distribution, pq.POOL, self.shape.dim, seed=self.seed, role="base")
        codebook = quantizer.trained_codebook(pool, self.shape, Stream(self.seed, "codebook"), pq.LLOYD_ITERATIONS)
        centroids = SPREAD * inputs.vectors(
            self.distribution, self.partitions, self.shape.dim, seed=self.seed, role="partitions"
        )
        coded = quantizer.encode(pool, codebook)
        asked = [self._asked(number, calls, codebook, centroids, coded) for number in range(self.indexes)]
        return instance_of(self.shape, asked)

    def _asked(self, number: int, count: int, codebook: Float32, centroids: Float32, coded: Any) -> Asked:
        stream, shape = Stream(self.seed, "index", number), self.shape
        places = ((stream.uniform(self.partitions).astype(np.float64) + 1.0) / 2.0) ** SKEW
        sizes = np.rint(self.most * SMALLEST ** (1.0 - places)).astype(np.int64)
        sizes[stream.distinct(self.partitions, self.partitions)[: self.partitions // EMPTY]] = 0
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        chosen = pq.GuardWorkload(L2, shape, self.distribution, self.seed, int(offsets[-1]), self.k).chosen(number)
        codes = np.ascontiguousarray(coded[chosen, np.arange(shape.num_sub_vectors)])
        index = Index(codebook, centroids, codes, row_ids_of(len(codes), stream), offsets)
        near = stream.below(self.partitions, count)
        if self.queries == "stored":
            rows = stream.below(len(codes), count)
            near = np.searchsorted(offsets, rows, side="right") - 1
            drawn = codebook[np.arange(len(codebook)), codes[rows]].reshape(count, -1)
            drawn *= np.float32(1) + pq.NEAR * stream.normal(drawn.size).reshape(drawn.shape)
        else:
            seed = self.seed + (self.queries == "foreign")
            drawn = inputs.vectors(self.distribution, count, shape.dim, seed=seed, role=f"query {number}")
        queries = np.ascontiguousarray(centroids[near] + drawn, np.float32)
        return Asked(index, queries, list(self._visits(queries, centroids, sizes)), self.k)

    def _visits(self, queries: Float32, centroids: Float32, sizes: Ids) -> Ids:
        """The partitions of the nearest centroids, (Q, visits)."""
        # The squared distance to every centroid, but for what is the same for all of them.
        distance = (centroids**2).sum(axis=1) - 2 * queries @ centroids.T
        distance[np.arange(len(queries)), np.where(sizes > 0, distance, np.inf).argmin(axis=1)] = -np.inf
        return np.ascontiguousarray(np.argsort(distance, axis=1, kind="stable")[:, : self.visits], np.int64)


class Guard(Workload):
    """A workload of the family, or any other of this form."""

    def instance(self, calls: int) -> Instance:
        """One kernel object and its indices, each with so many calls of `batch` queries."""
        return batched(super().instance(calls * self.batch), self.batch)


def stand_in(shape: PqShape, visits: int) -> Instance:
    """A few vectors of any numbers."""
    return DrawnCase(shape, "gaussian", 0, visits, 40, visits, SPEED_K, queries=1).instance()


def parse(spec: str) -> Guard:
    """Rebuild a workload from its spec. Raises ValueError."""
    try:
        values = fields_of(spec, ("seed", "visits", "k", "partitions", "most", "indexes"))
        workload = Guard(PqShape.of(values.pop("shape")), **values)
        if workload.distribution not in pq.DATA:
            raise ValueError(f"distribution is one of {', '.join(dict.fromkeys(pq.DATA))}")
        if workload.queries not in pq.QUERIES:
            raise ValueError(f"queries is one of {', '.join(dict.fromkeys(pq.QUERIES))}")
        if not (1 <= workload.visits <= workload.partitions <= 10_000 and 1 <= workload.most <= 1_000_000):
            raise ValueError("partitions are from visits to 10,000, visits at least 1, most from 1 to 1,000,000")
        if workload.k < 1 or workload.indexes not in (1, 2):
            raise ValueError("k is at least 1, indexes 1 or 2")
    except MISTAKES as error:
        raise ValueError(
            f"not a workload: {spec!r} ({error}); one reads like "
            "'shape=128,16,256 distribution=clustered seed=7 visits=8 k=100 partitions=64 most=5000 queries=foreign'"
        ) from error
    return workload


def family(seed: int) -> tuple[Guard, ...]:
    """COUNT workloads, the corners first: small, large k, foreign queries on clusters twice, wide. See the head."""
    stream = Stream(seed, "ivf guards")
    visits = [round(value) for value in spread(VISITS, COUNT, stream)]
    visits[0] = 1
    visits = dealt(visits, stream, {0: lambda n: n == 1, 1: lambda n: n >= 16, 4: lambda n: n <= 8})
    sizes = dealt(spread(SIZES, COUNT, stream), stream, {0: lambda n: 250 <= n <= 800, 1: lambda n: n >= 1_000})
    dims = dealt(spread(pq.DIMS, COUNT, stream), stream, {4: lambda dim: dim >= pq.WIDE})
    sub_dims = dealt(spread(pq.SUB_DIMS, COUNT, stream), stream)
    centroids = [*pq.FULL_CENTROIDS]
    centroids += [round(value) for value in spread(pq.CENTROIDS, COUNT - len(centroids), stream)]
    centroids = dealt(centroids, stream)
    ks = dealt(pq.KS, stream, {1: lambda k: k == max(pq.KS)})
    data = dealt(pq.DATA, stream, dict.fromkeys((2, 3), lambda name: name == "clustered"))
    queries = dealt(pq.QUERIES, stream, dict.fromkeys((2, 3), lambda kind: kind == "foreign"))
    indexes, seeds = dealt(pq.CODE_SETS, stream), stream.u64(COUNT) >> np.uint64(16)
    return tuple(
        Guard(
            shape=_shape(visits[i], sizes[i], dims[i], sub_dims[i], centroids[i]),
            distribution=data[i],
            seed=int(seeds[i]),
            visits=visits[i],
            k=ks[i],
            partitions=max(3 * visits[i], 16),
            most=round(sizes[i]),
            queries=queries[i],
            indexes=indexes[i],
        )
        for i in range(COUNT)
    )


def _shape(visits: int, most: float, dim: float, sub_dim: float, centroids: int) -> PqShape:
    """The shape nearest to what was drawn that its cost allows: of wide vectors the sub-vectors grow."""
    dim = max(pq.DIMS[0], min(dim, MAX_TERMS / (centroids * visits)))
    most_parts = max(4, min(pq.MAX_SUB_VECTORS, int(8 * pq.MAX_LOOK_UPS / (visits * most))))
    dsub = max(round(sub_dim), math.ceil(dim / most_parts))
    parts = max(1, min(round(dim / dsub), pq.DIMS[1] // dsub))
    return PqShape(parts * dsub, parts, centroids)
