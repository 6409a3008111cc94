"""faiss's `IndexIVFPQ`, given our centroids, codebook and codes: what a query finds in the partitions it visits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.targets.common.inputs import Float32
from pytest_lance_ar.targets.pq_l2.bench.faiss_partition_driver import index_ivf_pq
from tests.outside.ivf import Example


def answers(example: Example, all_visits: Sequence[int]) -> dict[int, list[tuple[NDArray[np.int64], Float32]]]:
    """By the number of partitions visited: row ids and distances of all vectors in them, a pair for each query."""
    ours = example.index
    index = index_ivf_pq(ours.codebook, ours.centroids, np.diff(ours.offsets), ours.codes)
    index.use_precomputed_table = 0  # a table of the residual, as here
    found: dict[int, list[tuple[NDArray[np.int64], Float32]]] = {}
    for visits in all_visits:
        index.nprobe = visits
        found[visits] = []
        for query in example.queries:
            nearest = example.nearest_partitions(query)[np.newaxis, :visits]
            apart = np.square(query - ours.centroids[nearest[0]]).sum(axis=1)[np.newaxis]
            distances, ids = index.search_preassigned(query[np.newaxis], len(ours.codes), nearest, apart)
            some = ids[0] >= 0
            found[visits].append((ours.row_ids[ids[0][some]], distances[0][some]))
    return found
