"""A codebook transposed for loops over centroids, eight at a time, and two sub-vectors a pass over the distances."""

import numpy as np
from numba import njit

LANES = 8


@njit
def fill_table(query, transposed, out):
    """transposed: float32 (M, dsub, K)."""
    num_sub_vectors, dsub, num_centroids = transposed.shape
    for m in range(num_sub_vectors):
        row = out[m]
        row[:] = np.float32(0.0)
        whole = num_centroids - num_centroids % LANES
        for d in range(dsub):
            x = query[m * dsub + d]
            centroids = transposed[m, d]
            for first in range(0, whole, LANES):
                for k in range(first, first + LANES):
                    difference = x - centroids[k]
                    row[k] += difference * difference
            for k in range(whole, num_centroids):
                difference = x - centroids[k]
                row[k] += difference * difference


@njit
def scan(table, codes_t, distances):
    num_sub_vectors, count = codes_t.shape
    distances[:] = np.float32(0.0)
    m = 0
    while m + 2 <= num_sub_vectors:
        t0, t1 = table[m], table[m + 1]
        c0, c1 = codes_t[m], codes_t[m + 1]
        for n in range(count):
            distances[n] = (distances[n] + t0[c0[n]]) + t1[c1[n]]
        m += 2
    if m < num_sub_vectors:
        t0, c0 = table[m], codes_t[m]
        for n in range(count):
            distances[n] += t0[c0[n]]


class PqKernel:
    def __init__(self, shape, codebook):
        self.transposed = np.ascontiguousarray(codebook.transpose(0, 2, 1))
        self.buffer = np.empty(0, np.float32)

    def pack_codes(self, codes):
        return np.ascontiguousarray(codes.T)

    def distance_table(self, query, out):
        fill_table(query, self.transposed, out)

    def probe_top_k(self, table, codes_t, k):
        count = codes_t.shape[1]
        wanted = min(k, count)
        if len(self.buffer) < count:
            self.buffer = np.empty(count, np.float32)
        distances = self.buffer[:count]
        scan(table, codes_t, distances)
        ids = np.argpartition(distances, wanted)[:wanted] if wanted < count else np.arange(count)
        ids = ids[np.argsort(distances[ids], kind="stable")]
        return ids, distances[ids]
