"""faiss's product quantizer, given our codebook: its codes, and the distance that it gives every vector."""

from __future__ import annotations

import faiss
import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.targets.common.inputs import Float32
from pytest_lance_ar.targets.pq_l2.bench.faiss_driver import index_pq
from tests.outside.examples import Example


def codes_and_distances(example: Example) -> tuple[NDArray[np.uint8], Float32]:
    """faiss's own codes (N, M) of the example's vectors, and its distances (Q, N) under the example's codes;
    for the metric "dot", inner products."""
    index = index_pq(example.codebook, example.codes)
    if example.metric == "dot":
        index.metric_type = faiss.METRIC_INNER_PRODUCT
    distances = np.full((len(example.queries), len(example.codes)), np.nan, np.float32)
    for place, query in zip(distances, example.queries, strict=True):
        found, ids = index.search(query[np.newaxis], len(example.codes))
        place[ids[0]] = found[0]
    return index.pq.compute_codes(example.vectors), distances
