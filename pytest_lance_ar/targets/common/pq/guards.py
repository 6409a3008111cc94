"""Guard workloads: what a gain must not be paid for with. A family that nobody can tune to, drawn anew for every gain.

The family, COUNT workloads a draw, which the seed alone decides:

- N: log-uniform from 200 to 200,000, one from each of COUNT equal parts of that range;
- shape: dim from 32 to 2,048 and dsub from 1 to 64, log-uniform and spread alike, M at most 512; K from 16 to 256, 256
  in six and 16 in two of them. A code set has at most MAX_LOOK_UPS codes, so large N go with small M;
- k: 1, 10, 100 or 1,000, each in three or four of them;
- data: the battery's distributions, clustered, and Student's t with two and with three degrees of freedom;
- queries: own (like the stored vectors), foreign (from another seed of the same distribution: with clustered data from
  other clusters) or stored (a stored vector itself), each in four or five of them;
- code sets: two of one kernel object, asked in turns, in three of them; else one.

Among them always: one small partition (N from 400 to 600), k = 1,000 on 5,000 vectors or more, two with foreign queries
on clustered data, one shape above 1,000 dimensions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.targets.common import inputs
from pytest_lance_ar.targets.common.draw import dealt, spread
from pytest_lance_ar.targets.common.guards import batch_of, batched
from pytest_lance_ar.targets.common.inputs import Float32, Stream
from pytest_lance_ar.targets.common.pq import quantizer
from pytest_lance_ar.targets.common.pq.answers import instance_of
from pytest_lance_ar.targets.common.pq.metric import Metric
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.common.specs import MISTAKES, fields_of, text_of
from pytest_lance_ar.targets.protocol import Instance

COUNT: Final = 14
SIZES: Final = (200, 200_000)
DIMS: Final = (32, 2048)
SUB_DIMS: Final = (1, 64)
CENTROIDS: Final = (16, 256)
MAX_SUB_VECTORS: Final = 512
MAX_LOOK_UPS: Final = 3_000_000
"""N x M: a scalar scan takes about 2 ms of them."""

KS: Final = (1,) * 3 + (10,) * 3 + (100,) * 4 + (1000,) * 4
QUERIES: Final = ("own",) * 5 + ("foreign",) * 5 + ("stored",) * 4
DATA: Final = (
    *("clustered",) * 4,
    *("gaussian", "uniform", "sparse") * 2,
    *("large_dynamic_range", "mostly_zero", *inputs.HEAVY_TAILED),
)
USUAL: Final = {"queries": "own", "code_sets": 1}
"""What a workload's text does not say."""
CODE_SETS: Final = (1,) * 11 + (2,) * 3
FULL_CENTROIDS: Final = (256,) * 6 + (16,) * 2
SMALL: Final = (400, 600)
MANY: Final = 5_000
WIDE: Final = 1024
WIDE_MAX: Final = 40_000
"""Vectors that a wide shape may have, for M to be no less than a sixteenth of the largest dsub would need."""

POOL: Final = 1024
"""Vectors that a codebook is trained with. A stored vector takes each of its sub-vectors from one of them, of the same
cluster if there are clusters: the sub-vectors of one vector are independent otherwise, so the distribution is kept."""
LLOYD_ITERATIONS: Final = 1
"""One less than the battery has: it is what a draw takes longest for."""
NEAR: Final = np.float32(2.0**-9)
"""How far beside a stored vector a query lies, as a share, when each has been asked for already."""
LOOK_UP_NS: Final = 0.4
TABLE_NS: Final = 0.15
"""About what a look-up, and a multiply-add of the table, take: it only chooses the batch."""


@dataclass(frozen=True)
class GuardWorkload:
    """One workload of the family, or any other of this form.

    shape: of the vectors; n: stored vectors a code set; queries: "own", "foreign" or "stored"; code_sets: 1 or 2.
    """

    metric: Metric
    shape: PqShape
    distribution: str
    seed: int
    n: int
    k: int
    queries: str = "own"
    code_sets: int = 1

    @property
    def name(self) -> str:
        """In words, for the report."""
        text = f"{self.shape}, {self.distribution}, N {self.n}, k {self.k}"
        text += f", {self.queries} queries" if self.queries != "own" else ""
        return text + (f", {self.code_sets} code sets" if self.code_sets > 1 else "")

    @property
    def spec(self) -> str:
        """One line from which `parse` rebuilds this very workload."""
        names = ("distribution", "seed", "n", "k", *USUAL)
        return text_of({"shape": self.shape.text, **{name: getattr(self, name) for name in names}}, USUAL)

    @property
    def batch(self) -> int:
        """Queries a call."""
        ns = LOOK_UP_NS * self.n * self.shape.num_sub_vectors + TABLE_NS * self.shape.num_centroids * self.shape.dim
        return batch_of(ns)

    def instance(self, calls: int) -> Instance:
        """One kernel object and its code sets, each with so many calls of `batch` queries."""
        pool = inputs.vectors(self.distribution, POOL, self.shape.dim, seed=self.seed, role="base")
        codebook = quantizer.trained_codebook(pool, self.shape, Stream(self.seed, "codebook"), LLOYD_ITERATIONS)
        coded = quantizer.encode(pool, codebook)
        packs = []
        for number in range(self.code_sets):
            chosen = self.chosen(number)
            codes = np.ascontiguousarray(coded[chosen, np.arange(self.shape.num_sub_vectors)])
            packs.append((codes, self._queries(pool, chosen, calls * self.batch, number)))
        instance = instance_of(self.metric, self.shape, codebook, packs, self.k)
        return batched(instance, self.batch)

    def chosen(self, number: int) -> NDArray[np.int64]:
        """From which vector of the pool each sub-vector of each stored vector comes: (N, M)."""
        stream, shape = Stream(self.seed, "stored", number), (self.n, self.shape.num_sub_vectors)
        drawn = stream.u32(self.n * self.shape.num_sub_vectors).reshape(shape).astype(np.int64)
        if self.distribution != "clustered":
            return drawn % POOL
        cluster = inputs.clusters(POOL, self.shape.dim, seed=self.seed, role="base")
        order, sizes = np.argsort(cluster, kind="stable"), np.bincount(cluster, minlength=inputs.NUM_CLUSTERS)
        starts = np.cumsum(sizes) - sizes
        own = cluster[stream.below(POOL, self.n)]  # a cluster of each vector, none of them empty
        return np.asarray(order[starts[own][:, np.newaxis] + drawn % sizes[own][:, np.newaxis]])

    def _queries(self, pool: Float32, chosen: NDArray[np.int64], count: int, number: int) -> Float32:
        """float32 (count, dim), all different."""
        role, dim = f"query {number}", self.shape.dim
        if self.queries != "stored":
            seed = self.seed + (self.queries == "foreign")
            return inputs.vectors(self.distribution, count, dim, seed=seed, role=role)
        stream, m = Stream(self.seed, role), self.shape.num_sub_vectors
        which = chosen[stream.distinct(self.n, count)]
        stored = pool.reshape(POOL, m, -1)[which, np.arange(m)].reshape(count, dim)
        again = stored[self.n :]
        again *= np.float32(1) + NEAR * stream.normal(again.size).reshape(again.shape)
        return np.ascontiguousarray(stored)


def parse(metric: Metric, spec: str) -> GuardWorkload:
    """Rebuild a workload from its spec. Raises ValueError."""
    try:
        fields = fields_of(spec, ("seed", "n", "k", "code_sets"))
        workload = GuardWorkload(metric, PqShape.of(fields.pop("shape")), **fields)
        if workload.distribution not in DATA:
            raise ValueError(f"distribution is one of {', '.join(dict.fromkeys(DATA))}")
        if workload.queries not in QUERIES:
            raise ValueError(f"queries is one of {', '.join(dict.fromkeys(QUERIES))}")
        if not (1 <= workload.n <= 10_000_000 and workload.k >= 1 and workload.code_sets in (1, 2)):
            raise ValueError("n is from 1 to 10,000,000, k at least 1, code_sets 1 or 2")
    except MISTAKES as error:
        raise ValueError(
            f"not a workload: {spec!r} ({error}); one reads like "
            "'shape=128,16,256 distribution=clustered seed=7 n=700 k=100 queries=foreign code_sets=2'"
        ) from error
    return workload


def family(metric: Metric, seed: int) -> tuple[GuardWorkload, ...]:
    """COUNT workloads, the corners first: small, large k, foreign queries on clusters twice, wide. See the head."""
    stream, (low, high) = Stream(seed, "guards"), SMALL
    sizes = sorted(spread(SIZES, COUNT, stream))
    # The part of the range that has a small partition in its middle gives way to one.
    place = min(range(COUNT), key=lambda i: abs(math.log(sizes[i] ** 2 / (low * high))))
    sizes[place] = low + float(stream.below(high - low + 1, 1)[0])
    centroids = [*FULL_CENTROIDS, *(round(value) for value in spread(CENTROIDS, COUNT - len(FULL_CENTROIDS), stream))]
    sizes = dealt(
        sizes, stream, {0: lambda n: low <= n <= high, 1: lambda n: n >= MANY, 4: lambda n: n <= WIDE_MAX and n > high}
    )
    dims = dealt(spread(DIMS, COUNT, stream), stream, {4: lambda dim: dim >= WIDE})
    sub_dims = dealt(spread(SUB_DIMS, COUNT, stream), stream)
    centroids = dealt(centroids, stream)
    ks = dealt(KS, stream, {1: lambda k: k == max(KS)})
    data = dealt(DATA, stream, dict.fromkeys((2, 3), lambda name: name == "clustered"))
    queries = dealt(QUERIES, stream, dict.fromkeys((2, 3), lambda kind: kind == "foreign"))
    code_sets, seeds = dealt(CODE_SETS, stream), stream.u64(COUNT) >> np.uint64(16)
    return tuple(
        GuardWorkload(
            metric=metric,
            shape=_shape(sizes[i], dims[i], sub_dims[i], centroids[i], wide=i == 4),
            distribution=data[i],
            seed=int(seeds[i]),
            n=round(sizes[i]),
            k=ks[i],
            queries=queries[i],
            code_sets=code_sets[i],
        )
        for i in range(COUNT)
    )


def _shape(n: float, dim: float, sub_dim: float, centroids: int, *, wide: bool) -> PqShape:
    """The shape nearest to what was drawn that N allows. wide: dim is kept, else dsub."""
    most = min(MAX_SUB_VECTORS, int(MAX_LOOK_UPS / n))
    dsub = max(round(sub_dim), math.ceil(DIMS[0] / most), math.ceil(dim / most) if wide else 1)
    parts = max(math.ceil(DIMS[0] / dsub), min(most, DIMS[1] // dsub, round(dim / dsub)))
    return PqShape(parts * dsub, parts, centroids)
