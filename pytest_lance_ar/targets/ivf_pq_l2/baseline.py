"""The Lance-shaped scalar baseline of an IVF_PQ query: what an experiment starts from.

For each partition that a query visits: the residual (query - centroid), its distance table, one pass over the
partition's transposed codes per sub-vector, and all distances through one bounded heap, which the partitions share. It
computes in the reference's order: the residual is rounded to float32, then sums run over d, then over m, in float32.
Like any kernel it is read as text and runs in a process of its own; nothing imports it.

The contract: `IvfPqKernel(shape, codebook, centroids)` with codebook float32 (M, K, dsub) and centroids float32 (P,
dim), the partitions'; `pack_partitions(codes, row_ids, offsets)`, once an index and not timed; `search(index, query,
partitions, k)`, timed as a whole. All arrays that it is handed are C-contiguous and read-only.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pytest_lance_ar import PqShape


@njit
def fill_table(residual, codebook, table):
    """table[m, k] = squared L2 distance of sub-vector m of the residual to centroid k of sub-space m."""
    num_sub_vectors, num_centroids, dsub = codebook.shape
    for m in range(num_sub_vectors):
        for k in range(num_centroids):
            total = np.float32(0.0)
            for d in range(dsub):
                difference = residual[m * dsub + d] - codebook[m, k, d]
                total += difference * difference
            table[m, k] = total


@njit
def scan(table, codes_t, distances):
    """distances[n] = sum over m of table[m, codes_t[m, n]]. codes_t is transposed: (M, n)."""
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
def search_partitions(query, codebook, centroids, packed, row_ids, offsets, partitions, k):
    """The min(k, n) nearest of the n vectors in the partitions: row ids and distances, ascending by distance."""
    num_sub_vectors, num_centroids, _ = codebook.shape
    largest, total = 0, 0
    for p in partitions:
        size = offsets[p + 1] - offsets[p]
        largest = max(largest, size)
        total += size
    k = min(k, total)
    ids = np.full(k, -1, np.int64)
    best = np.full(k, np.inf, np.float32)
    table = np.empty((num_sub_vectors, num_centroids), np.float32)
    distances = np.empty(largest, np.float32)
    for p in partitions:
        first, end = offsets[p], offsets[p + 1]
        if first == end:
            continue
        count = end - first
        fill_table(query - centroids[p], codebook, table)
        codes_t = packed[first * num_sub_vectors : end * num_sub_vectors].reshape(num_sub_vectors, count)
        scan(table, codes_t, distances[:count])
        for n in range(count):
            if distances[n] < best[0]:
                best[0] = distances[n]
                ids[0] = row_ids[first + n]
                sift_down(best, ids, k)
    for size in range(k - 1, 0, -1):
        best[0], best[size] = best[size], best[0]
        ids[0], ids[size] = ids[size], ids[0]
        sift_down(best, ids, size)
    return ids, best


class IvfPqKernel:
    """Answers queries over the partitions of IVF_PQ indices that share codebook and centroids."""

    def __init__(self, shape: PqShape, codebook: NDArray[np.float32], centroids: NDArray[np.float32]) -> None:
        self.shape = shape
        self.codebook = codebook
        self.centroids = centroids

    def pack_partitions(
        self, codes: NDArray[np.uint8], row_ids: NDArray[np.int64], offsets: NDArray[np.int64]
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
        """An index: codes uint8 (N, M) and row_ids int64 (N,), one partition behind the other. Not timed.

        Partition p has the rows from offsets[p] up to offsets[p + 1]; offsets is int64 (P + 1,).
        """
        packed = np.empty(codes.size, np.uint8)
        num_sub_vectors = self.shape.num_sub_vectors
        for first, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
            packed[first * num_sub_vectors : end * num_sub_vectors] = codes[first:end].T.reshape(-1)
        return packed, row_ids, offsets

    def search(
        self,
        index: tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]],
        query: NDArray[np.float32],
        partitions: NDArray[np.int64],
        k: int,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The nearest of all vectors in the partitions. Timed.

        index is what pack_partitions returned; query float32 (dim,); partitions int64, numbers from 0, all different,
        in any order. Returns row ids int64 (n,) and distances float32 (n,), ascending, n = min(k, vectors visited).
        """
        return search_partitions(query, self.codebook, self.centroids, *index, partitions, k)
