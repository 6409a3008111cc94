"""`bench --lance`: one query that visits many small partitions, since that is how an IVF_PQ index calls such a kernel.

An index of PARTITIONS partitions of 140 to 5,000 vectors, most of them small, some empty; a query visits the PROBES
nearest ones. In each the kernel builds the distance table of the residual, the query less the partition's centroid, and
returns the k nearest; the k nearest of all are the answer. One codebook serves all partitions, each is a code set of
its own, packed once. `partition_driver` is how a kernel is asked, `faiss_partition_driver` how faiss's `IndexIVFPQ` is:
all are told which partitions to visit, and none is timed while it finds them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.targets.common import inputs
from pytest_lance_ar.targets.common.equivalence import compare_top_k
from pytest_lance_ar.targets.common.inputs import Float32, Stream
from pytest_lance_ar.targets.common.pq import quantizer, reference
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.mismatch import Mismatch
from pytest_lance_ar.targets.pq_l2.metric import L2
from pytest_lance_ar.targets.protocol import Arrays, Instance, PackInstance

DRIVER: Final = "pytest_lance_ar.targets.pq_l2.bench.partition_driver"
FAISS_DRIVER: Final = "pytest_lance_ar.targets.pq_l2.bench.faiss_partition_driver"
PARTITIONS: Final = 64
EMPTY: Final = 6
PROBES: Final = 20
SIZES: Final = (140, 5_000)
SKEW: Final = 3
"""Sizes are 140 x (5,000 / 140)^(u^SKEW) with u uniform: half of the partitions have fewer than 220 vectors."""
POOL: Final = 2048
RESIDUAL_SD: Final = np.float32(0.5)
"""Of a stored vector about its partition's centroid, whose components are N(0,1)."""


@dataclass(frozen=True)
class Partitioned:
    """A workload of the benchmark: an index of many partitions. count: vectors in all of them."""

    shape: PqShape
    k: int = 10
    seed_of_sizes: int = 0

    @property
    def data(self) -> str:
        return f"{PROBES} of {PARTITIONS} partitions"

    @property
    def count(self) -> int:
        return int(self.sizes.sum())

    @property
    def name(self) -> str:
        return f"{self.shape} {self.data}, N {self.count:,}"

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Vectors of each partition: (PARTITIONS,)."""
        stream, (low, high) = Stream(self.seed_of_sizes, "partitions"), SIZES
        places = ((stream.uniform(PARTITIONS) + 1.0) / 2.0) ** SKEW
        sizes = np.asarray(np.rint(low * (high / low) ** places), dtype=np.int64)
        sizes[stream.distinct(PARTITIONS, EMPTY)] = 0
        return sizes

    def instance(self, queries: int, seed: int) -> Instance:
        """The instance with so many calls, of one query each."""
        shape, sizes = self.shape, self.sizes
        dim, parts = shape.dim, shape.num_sub_vectors
        centroids = inputs.vectors("gaussian", PARTITIONS, dim, seed=seed, role="partitions")
        pool = inputs.vectors("gaussian", POOL, dim, seed=seed, role="residuals") * RESIDUAL_SD
        codebook = quantizer.trained_codebook(pool, shape, Stream(seed, "partitioned codebook"))
        # Sub-vectors of a residual are independent: each is that of another vector of the pool.
        chosen = Stream(seed, "residual").u32(int(sizes.sum()) * parts).reshape(-1, parts).astype(np.int64) % POOL
        codes = np.ascontiguousarray(quantizer.encode(pool, codebook)[chosen, np.arange(parts)])
        near = Stream(seed, "near").below(PARTITIONS, queries)
        noise = inputs.vectors("gaussian", queries, dim, seed=seed, role="query") * RESIDUAL_SD
        asked = np.ascontiguousarray(centroids[near] + noise)
        # The squared distance to every centroid, but for what is the same for all of them.
        probes = np.argsort((centroids**2).sum(axis=1) - 2 * asked @ centroids.T, axis=1)[:, :PROBES].astype(np.int64)
        return _instance(shape, codebook, centroids, sizes, codes, asked, np.ascontiguousarray(probes), self.k)


def _instance(
    shape: PqShape,
    codebook: Float32,
    centroids: Float32,
    sizes: NDArray[np.int64],
    codes: NDArray[np.uint8],
    queries: Float32,
    probes: NDArray[np.int64],
    k: int,
) -> Instance:
    """An instance whose ids count the vectors of all partitions, one behind the other."""
    ends = np.cumsum(sizes)

    def check(i: int, outputs: Arrays, rtol: float) -> Mismatch | None:
        everything = np.full(len(codes), np.inf, np.float32)
        for p in probes[i]:
            own = slice(ends[p] - sizes[p], ends[p])
            table = reference.distance_table(L2, queries[i] - centroids[p], codebook)
            everything[own] = reference.distances(table, codes[own])
        return compare_top_k(everything, k, outputs["ids"], outputs["distances"], rtol)

    pack = PackInstance(
        params={"k": k},
        arrays={"codes": codes, "sizes": sizes, "centroids": centroids},
        calls=[{"query": query, "probes": visited} for query, visited in zip(queries, probes, strict=True)],
        outputs={"ids": ("int64", (k,)), "distances": ("float32", (k,))},
        check=check,
    )
    numbers = (shape.dim, shape.num_sub_vectors, shape.num_centroids)
    return Instance(params={"shape": numbers}, arrays={"codebook": codebook}, packs=[pack])
