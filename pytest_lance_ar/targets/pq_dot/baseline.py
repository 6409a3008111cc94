"""The Lance-shaped scalar baseline for inner products: what an experiment starts from.

Codes transposed, one pass over all vectors per sub-vector, then a bounded heap: the shape of Lance's own scan, in
scalar numba. It sums in the reference's order (over d, then over m, in float32). Like any kernel
it is read as text and runs in a process of its own; nothing imports it.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pytest_lance_ar import PqShape


@njit
def fill_table(query, codebook, out):
    """out[m, k] = minus the inner product of sub-vector m of the query and centroid k of sub-space m."""
    num_sub_vectors, num_centroids, dsub = codebook.shape
    for m in range(num_sub_vectors):
        for k in range(num_centroids):
            total = np.float32(0.0)
            for d in range(dsub):
                total -= query[m * dsub + d] * codebook[m, k, d]
            out[m, k] = total


@njit
def scan(table, codes_t, distances):
    """distances[n] = sum over m of table[m, codes_t[m, n]]. codes_t is transposed: (M, N)."""
    distances[:] = np.float32(0.0)
    for m in range(codes_t.shape[0]):
        entries = table[m]
        column = codes_t[m]
        for n in range(column.shape[0]):
            distances[n] += entries[column[n]]


@njit
def sift_down(heap_distances, heap_ids, size):
    """Restore the max-heap after its root was replaced."""
    parent = 0
    while True:
        child = 2 * parent + 1
        if child >= size:
            return
        if child + 1 < size and heap_distances[child + 1] > heap_distances[child]:
            child += 1
        if heap_distances[parent] >= heap_distances[child]:
            return
        heap_distances[parent], heap_distances[child] = heap_distances[child], heap_distances[parent]
        heap_ids[parent], heap_ids[child] = heap_ids[child], heap_ids[parent]
        parent = child


@njit
def nearest(distances, k):
    """The k smallest distances and their positions, ascending: a max-heap of k, then sorted by emptying it."""
    ids = np.empty(k, np.int64)
    best = np.empty(k, np.float32)
    ids[:] = -1
    best[:] = np.inf
    for n in range(distances.shape[0]):
        if distances[n] < best[0]:
            best[0] = distances[n]
            ids[0] = n
            sift_down(best, ids, k)
    for size in range(k - 1, 0, -1):
        best[0], best[size] = best[size], best[0]
        ids[0], ids[size] = ids[size], ids[0]
        sift_down(best, ids, size)
    return ids, best


class PqDotKernel:
    """Answers top-k queries over packed codes: the largest inner products, as distances that ascend."""

    def __init__(self, shape: PqShape, codebook: NDArray[np.float32]) -> None:
        self.shape = shape
        self.codebook = codebook

    def pack_codes(self, codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 (N, M) -> uint8 (M, N): each sub-vector's codes in one run. Not timed."""
        return np.ascontiguousarray(codes.T)

    def distance_table(self, query: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """Fill out, float32 (M, K), for one query, float32 (dim,). Timed."""
        fill_table(query, self.codebook, out)

    def probe_top_k(
        self, table: NDArray[np.float32], codes: NDArray[np.uint8], k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The min(k, N) nearest: ids int64 and distances float32, ascending. Timed.

        `codes` is what pack_codes returned.
        """
        count = codes.shape[1]
        distances = np.empty(count, np.float32)
        scan(table, codes, distances)
        return nearest(distances, min(k, count))
