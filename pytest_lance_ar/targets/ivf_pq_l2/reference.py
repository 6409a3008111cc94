"""The reference: scalar float32 asymmetric distance computation by residual (IVFADC).

What it computes is, literally and in this order,

    for p in partitions:      residual[d] = query[d] - centroids[p, d]
        table[m, k]  = 0; for d in range(dsub): t = residual[m, d] - codebook[m, k, d]; table[m, k] += t**2
        distance[n]  = 0; for m in range(M):    distance[n] += table[m, codes[n, m]]       for every n of partition p

with every single operation rounded to float32 and nothing contracted to FMA. Table and sums are those of a plain PQ
reference, which does them for many vectors at a time without changing one bit.

Source: Jégou, Douze & Schmid, "Product Quantization for Nearest Neighbor Search", TPAMI 2011, section IV.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.targets.common.inputs import Float32
from pytest_lance_ar.targets.common.pq import reference
from pytest_lance_ar.targets.pq_l2.metric import L2


@dataclass
class Index:
    """Partitions of coded vectors, which share one codebook, and the reference's answers over them.

    codebook: float32 (M, K, dsub); centroids: float32 (P, dim); codes: uint8 (N, M) and row_ids: int64 (N,), those of
    partition p from offsets[p] up to offsets[p + 1]; offsets: int64 (P + 1,).
    """

    codebook: Float32
    centroids: Float32
    codes: NDArray[np.uint8]
    row_ids: NDArray[np.int64]
    offsets: NDArray[np.int64]
    _searchers: dict[int, reference.Searcher] = field(default_factory=dict, repr=False)

    def rows(self, partition: int) -> slice:
        return slice(int(self.offsets[partition]), int(self.offsets[partition + 1]))

    def answers(self, query: Float32, partitions: NDArray[np.int64]) -> tuple[NDArray[np.int64], Float32]:
        """Row ids (n,) and distances, float32 (n,), of all vectors in the partitions, in the order of the visit."""
        ids, distances = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
        for p in partitions.tolist():
            rows = self.rows(p)
            if rows.start == rows.stop:
                continue
            if p not in self._searchers:
                self._searchers[p] = reference.Searcher(L2, self.codebook, self.codes[rows])
            searcher = self._searchers[p]
            distances.append(searcher.distances(searcher.distance_table(query - self.centroids[p])))
            ids.append(self.row_ids[rows])
        return np.concatenate(ids), np.concatenate(distances)

    def __getstate__(self) -> dict[str, object]:
        """It can be pickled: workloads are built in processes of their own."""
        return {**vars(self), "_searchers": {}}
