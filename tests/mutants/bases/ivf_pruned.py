"""An IVF_PQ query that skips what cannot be among the nearest: partitions by the sum of their table's minima, vectors
as soon as a part of their sum is too large. Row-major codes; candidates in a sorted array."""

import numpy as np
from numba import njit


@njit
def fill_table(residual, codebook, table):
    num_sub_vectors, num_centroids, dsub = codebook.shape
    bound = np.float32(0.0)
    for m in range(num_sub_vectors):
        least = np.float32(np.inf)
        for k in range(num_centroids):
            total = np.float32(0.0)
            for d in range(dsub):
                difference = residual[m * dsub + d] - codebook[m, k, d]
                total += difference * difference
            table[m, k] = total
            least = min(least, total)
        bound += least
    return bound


@njit
def insert(ids, distances, size, row_id, distance):
    place = size
    while place > 0 and distances[place - 1] > distance:
        place -= 1
    last = min(size, len(ids) - 1)
    for i in range(last, place, -1):
        ids[i] = ids[i - 1]
        distances[i] = distances[i - 1]
    ids[place] = row_id
    distances[place] = distance
    return min(size + 1, len(ids))


@njit
def search_partitions(query, codebook, centroids, codes, row_ids, offsets, partitions, k, table):
    num_sub_vectors = len(codebook)
    total = 0
    for p in partitions:
        total += offsets[p + 1] - offsets[p]
    wanted = min(k, total)
    ids = np.empty(wanted, np.int64)
    distances = np.empty(wanted, np.float32)
    size = 0
    half = num_sub_vectors // 2
    for p in partitions:
        if offsets[p] == offsets[p + 1]:
            continue
        bound = fill_table(query - centroids[p], codebook, table)
        if size == wanted and bound >= distances[wanted - 1]:
            continue
        for n in range(offsets[p], offsets[p + 1]):
            distance = np.float32(0.0)
            for m in range(half):
                distance += table[m, codes[n, m]]
            if size == wanted and distance >= distances[wanted - 1]:
                continue
            for m in range(half, num_sub_vectors):
                distance += table[m, codes[n, m]]
            if size < wanted or distance < distances[wanted - 1]:
                size = insert(ids, distances, size, row_ids[n], distance)
    return ids, distances


class IvfPqKernel:
    def __init__(self, shape, codebook, centroids):
        self.codebook = codebook
        self.centroids = centroids
        self.table = np.empty((shape.num_sub_vectors, shape.num_centroids), np.float32)

    def pack_partitions(self, codes, row_ids, offsets):
        return codes, row_ids, offsets

    def search(self, index, query, partitions, k):
        codes, row_ids, offsets = index
        return search_partitions(
            query, self.codebook, self.centroids, codes, row_ids, offsets, partitions, k, self.table
        )
