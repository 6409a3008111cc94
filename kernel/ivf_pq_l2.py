"""An IVF_PQ query that computes one table, whatever it visits.

|q - c - b|^2 = |q - c|^2 - 2 q.b + (2 c.b + |b|^2) for a query q, a partition's centroid c and a centroid b of the
codebook. The last term is there when the kernel is built (`cross`), the middle one is computed once a query (`shared`),
so that a partition's table takes an addition an entry. It rounds otherwise than the reference does. So it only tells
which vectors may be among the nearest, its error allowed for: their distances, those of a few more than k vectors, are
summed in the reference's order. Where too many may be, or the partitions are few, every partition gets its exact table.

Codes lie in tiles whose part of a table stays in the first-level cache.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pytest_lance_ar import PqShape

TILE = 16
"""Sub-vectors that are looked up in one pass over a partition: their entries, 16 KB, stay in the first-level cache."""

MOST_CROSS = 1 << 24
"""Entries of `cross`, 64 MB; with more, all tables are exact."""
UNIT = 2.0**-24


@njit
def fill_table(residual, columns, table):
    """table[m, k] = squared L2 distance of sub-vector m of the residual to centroid k of sub-space m.

    columns: the codebook as (M, dsub, K), so that the loop over k, which carries no sum, is SIMD.
    """
    num_sub_vectors, dsub, num_centroids = columns.shape
    for m in range(num_sub_vectors):
        row, of_m = table[m], columns[m]
        row[:] = np.float32(0.0)
        for d in range(dsub):
            column, value = of_m[d], residual[m * dsub + d]
            for k in range(num_centroids):
                difference = value - column[k]
                row[k] += difference * difference


@njit
def fill_shared(query, columns, shared):
    """shared[m, k] = -2 q.b for centroid k of sub-space m, about."""
    num_sub_vectors, dsub, num_centroids = columns.shape
    for m in range(num_sub_vectors):
        row, of_m, values = shared[m], columns[m], query[m * dsub : (m + 1) * dsub]
        row[:] = np.float32(0.0)
        for d in range(dsub):
            column, factor = of_m[d], np.float32(-2.0) * values[d]
            for k in range(num_centroids):
                row[k] += factor * column[k]


@njit
def squared_length(query, centroid):
    """|query - centroid|^2, about: four chains of additions beside each other."""
    a = b = c = d = np.float32(0.0)
    i = 0
    while i + 4 <= len(query):
        t0, t1, t2, t3 = (
            query[i] - centroid[i],
            query[i + 1] - centroid[i + 1],
            query[i + 2] - centroid[i + 2],
            query[i + 3] - centroid[i + 3],
        )
        a += t0 * t0
        b += t1 * t1
        c += t2 * t2
        d += t3 * t3
        i += 4
    while i < len(query):
        a += (query[i] - centroid[i]) * (query[i] - centroid[i])
        i += 1
    return (a + b) + (c + d)


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
def add_tile(table, tile, sums):
    """Add to sums, (8 x blocks,), the entries of a tile, (blocks, sub-vectors, 8): in the order of m, of eight vectors
    at a time, whose chains of additions run beside each other."""
    for block in range(len(tile)):
        codes, eight = tile[block], sums[8 * block : 8 * block + 8]
        s0, s1, s2, s3, s4, s5, s6, s7 = (
            eight[0],
            eight[1],
            eight[2],
            eight[3],
            eight[4],
            eight[5],
            eight[6],
            eight[7],
        )
        for m in range(codes.shape[0]):
            entries, own = table[m], codes[m]
            s0 += entries[own[0]]
            s1 += entries[own[1]]
            s2 += entries[own[2]]
            s3 += entries[own[3]]
            s4 += entries[own[4]]
            s5 += entries[own[5]]
            s6 += entries[own[6]]
            s7 += entries[own[7]]
        eight[0], eight[1], eight[2], eight[3] = s0, s1, s2, s3
        eight[4], eight[5], eight[6], eight[7] = s4, s5, s6, s7


@njit
def scan(table, packed, start, sums):
    """sums[n] = distance of vector n of a partition, whose tiles begin at packed[start]."""
    num_sub_vectors, blocks = len(table), len(sums) // 8
    sums[:] = start
    at = 0
    for m in range(0, num_sub_vectors, TILE):
        width = min(TILE, num_sub_vectors - m)
        size = 8 * blocks * width
        add_tile(table[m : m + width], packed[at : at + size].reshape(blocks, width, 8), sums)
        at += size


@njit
def exact(query, origin, codebook, packed, blocks, n):
    """The distance of vector n of a partition in the reference's order. origin: its centroid; packed: its tiles."""
    num_sub_vectors, _, dsub = codebook.shape
    total = np.float32(0.0)
    for m in range(num_sub_vectors):
        first = m // TILE * TILE
        width = min(TILE, num_sub_vectors - first)
        code = packed[8 * (blocks * first + n // 8 * width + m - first) + n % 8]
        entry = np.float32(0.0)
        for d in range(dsub):
            difference = (query[m * dsub + d] - origin[m * dsub + d]) - codebook[m, code, d]
            entry += difference * difference
        total += entry
    return total


@njit
def offer(distance, row_id, best, ids):
    if distance < best[0]:
        best[0] = distance
        ids[0] = row_id
        sift_down(best, ids, len(best))


@njit
def candidates(query, columns, cross, reach, factor, centroids, packed, starts, offsets, partitions, k, table, scratch):
    """Partition and place in it, (n, 2), of vectors among which the k nearest are; (0, 2) if they are too many."""
    num_sub_vectors, _, num_centroids = columns.shape
    shared = np.empty((num_sub_vectors, num_centroids), np.float32)
    fill_shared(query, columns, shared)
    length = np.sqrt(squared_length(query, np.zeros_like(query)))
    places = np.empty((8 * k + 256, 2), np.int64)
    bounds = np.empty(len(places), np.float32)
    most, unused = np.full(k, np.inf, np.float32), np.zeros(k, np.int64)  # the smallest upper bounds: a heap
    found = 0
    for p in partitions:
        count = offsets[p + 1] - offsets[p]
        if count == 0:
            continue
        error = factor * (length + reach[p]) * (length + reach[p]) + np.float32(1e-38)
        if not error < np.inf:
            return places[:0]
        for m in range(num_sub_vectors):
            row, one, other = table[m], shared[m], cross[p, m]
            for i in range(num_centroids):
                row[i] = one[i] + other[i]
        sums = scratch[: (count + 7) // 8 * 8]
        scan(table, packed[starts[p] : starts[p + 1]], squared_length(query, centroids[p]), sums)
        limit = most[0] + error
        for n in range(count):
            if sums[n] <= limit:
                if found == len(places):  # those go that are ruled out by now
                    found = 0
                    for j in range(len(places)):
                        if bounds[j] <= most[0]:
                            bounds[found] = bounds[j]
                            places[found, 0], places[found, 1] = places[j, 0], places[j, 1]
                            found += 1
                    if 2 * found > len(places):
                        return places[:0]
                bounds[found] = sums[n] - error
                places[found, 0], places[found, 1] = p, n
                found += 1
                offer(sums[n] + error, 0, most, unused)
                limit = most[0] + error
    kept = 0
    for j in range(found):
        if bounds[j] <= most[0]:
            places[kept, 0], places[kept, 1] = places[j, 0], places[j, 1]
            kept += 1
    return places[:kept]


@njit
def search_partitions(
    query, codebook, columns, cross, reach, factor, centroids, packed, row_ids, starts, offsets, partitions, k
):
    """The min(k, n) nearest of the n vectors in the partitions: row ids and distances, ascending by distance."""
    num_sub_vectors, dsub, num_centroids = columns.shape
    total, largest, visited = 0, 0, 0
    for p in partitions:
        size = offsets[p + 1] - offsets[p]
        total += size
        largest = max(largest, size)
        visited += size > 0
    k = min(k, total)
    ids = np.full(k, -1, np.int64)
    best = np.full(k, np.inf, np.float32)
    table = np.empty((num_sub_vectors, num_centroids), np.float32)
    scratch = np.empty((largest + 7) // 8 * 8, np.float32)
    places = np.empty((0, 2), np.int64)
    if visited * dsub > 96 and 32 * k <= visited * num_centroids and len(cross):
        places = candidates(
            query, columns, cross, reach, factor, centroids, packed, starts, offsets, partitions, k, table, scratch
        )
    for i in range(len(places)):
        p, n = places[i]
        blocks = (offsets[p + 1] - offsets[p] + 7) // 8
        distance = exact(query, centroids[p], codebook, packed[starts[p] : starts[p + 1]], blocks, n)
        offer(distance, row_ids[offsets[p] + n], best, ids)
    for p in partitions:
        first, count = offsets[p], offsets[p + 1] - offsets[p]
        if count and not len(places):
            fill_table(query - centroids[p], columns, table)
            sums = scratch[: (count + 7) // 8 * 8]
            scan(table, packed[starts[p] : starts[p + 1]], np.float32(0.0), sums)
            for n in range(count):
                offer(sums[n], row_ids[first + n], best, ids)
    for size in range(k - 1, 0, -1):
        best[0], best[size] = best[size], best[0]
        ids[0], ids[size] = ids[size], ids[0]
        sift_down(best, ids, size)
    return ids, best


class IvfPqKernel:
    """Answers queries over the partitions of IVF_PQ indices that share codebook and centroids."""

    def __init__(self, shape: PqShape, codebook: NDArray[np.float32], centroids: NDArray[np.float32]) -> None:
        num_sub_vectors, dsub = shape.num_sub_vectors, shape.sub_vector_dim
        self.codebook = codebook
        self.columns = np.ascontiguousarray(codebook.transpose(0, 2, 1))
        self.centroids = centroids
        with np.errstate(over="ignore", invalid="ignore"):
            squares = (codebook.astype(np.float64) ** 2).sum(axis=2)
            cross = np.empty((0, num_sub_vectors, shape.num_centroids), np.float32)
            if len(centroids) * squares.size <= MOST_CROSS:
                parts = centroids.reshape(-1, num_sub_vectors, dsub).transpose(1, 0, 2)
                cross = 2 * np.matmul(parts, self.columns).transpose(1, 0, 2) + squares
            self.cross = np.ascontiguousarray(cross, np.float32)
            lengths = np.sqrt((centroids.astype(np.float64) ** 2).sum(axis=1))
            self.reach = (lengths + np.sqrt(squares.max(axis=1).sum())).astype(np.float32)
        # Of (|q| + |c| + |b|)^2, what two sums of such terms in float32 may be apart (Higham, section 3.1), twice.
        self.factor = np.float32(4 * UNIT * (num_sub_vectors + dsub + shape.dim // 4 + 10))

    def pack_partitions(
        self, codes: NDArray[np.uint8], row_ids: NDArray[np.int64], offsets: NDArray[np.int64]
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Codes of each partition, from starts[p] on, in tiles of (blocks of eight vectors, TILE sub-vectors, 8)."""
        num_sub_vectors = codes.shape[1]
        starts = [0]
        parts = []
        for first, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
            blocks = -(-(end - first) // 8)
            padded = np.zeros((8 * blocks, num_sub_vectors), np.uint8)
            padded[: end - first] = codes[first:end]
            eights = padded.reshape(blocks, 8, num_sub_vectors).transpose(0, 2, 1)
            parts += [eights[:, m : m + TILE].reshape(-1) for m in range(0, num_sub_vectors, TILE)]
            starts.append(starts[-1] + padded.size)
        return np.concatenate(parts), row_ids, np.array(starts), offsets

    def search(
        self,
        index: tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]],
        query: NDArray[np.float32],
        partitions: NDArray[np.int64],
        k: int,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The nearest of all vectors in the partitions. Timed."""
        return search_partitions(
            query,
            self.codebook,
            self.columns,
            self.cross,
            self.reach,
            self.factor,
            self.centroids,
            *index,
            partitions,
            k,
        )
