"""The reference: scalar float32 asymmetric distance computation (ADC).

What it computes is, literally and in this order,

    table[m, k]  = 0; for d in range(dsub): difference = query[m, d] - codebook[m, k, d]; table[m, k] += difference**2
    distance[n]  = 0; for m in range(M):    distance[n] += table[m, codes[n, m]]

with every single operation rounded to float32 and nothing contracted to FMA. numpy applies one elementwise
operation at a time, so the loops over k and n, which carry no sum, are vectorised here without changing one bit.

Source: Jégou, Douze & Schmid, "Product Quantization for Nearest Neighbor Search", TPAMI 2011, section III-A.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.targets.pq_l2.inputs import Float32


def distance_table(query: Float32, codebook: Float32) -> Float32:
    """Squared L2 distance of every sub-vector of the query to every centroid.

    query: float32 (dim,); codebook: float32 (M, K, dsub). Returns float32 (M, K), read-only.
    """
    num_sub_vectors, num_centroids, dsub = codebook.shape
    parts = query.reshape(num_sub_vectors, dsub)
    table = np.zeros((num_sub_vectors, num_centroids), np.float32)
    for d in range(dsub):
        difference = parts[:, d, np.newaxis] - codebook[:, :, d]
        table += difference * difference
    table.setflags(write=False)
    return table


def distances(table: Float32, codes: NDArray[np.integer[Any]]) -> Float32:
    """Distance of every coded vector: the sum of its M table entries, in the order of m.

    table: float32 (M, K); codes: integers (N, M). Returns float32 (N,), read-only.
    """
    total = np.zeros(len(codes), np.float32)
    for entries, column in zip(table, codes.T, strict=True):
        total += entries[column]
    total.setflags(write=False)
    return total


def top_k(distance: Float32, k: int) -> tuple[NDArray[np.int64], Float32]:
    """The min(k, N) nearest: ids int64 (n,) and distances float32 (n,), ascending by distance, then by id."""
    ids = np.argsort(distance, kind="stable")[:k].astype(np.int64)
    return ids, distance[ids]
