"""Row-major codes, four vectors at a time, the nearest kept in a sorted array."""

import numpy as np
from numba import njit

from tests.parts import Table


@njit
def fill_table(query, codebook, out):
    num_sub_vectors, num_centroids, dsub = codebook.shape
    for m in range(num_sub_vectors):
        for k in range(num_centroids):
            total = np.float32(0.0)
            start = m * dsub
            d = 0
            while d + 4 <= dsub:
                a = query[start + d] - codebook[m, k, d]
                b = query[start + d + 1] - codebook[m, k, d + 1]
                c = query[start + d + 2] - codebook[m, k, d + 2]
                e = query[start + d + 3] - codebook[m, k, d + 3]
                total = (((total + a * a) + b * b) + c * c) + e * e
                d += 4
            while d < dsub:
                a = query[start + d] - codebook[m, k, d]
                total += a * a
                d += 1
            out[m, k] = total


@njit
def offer(ids, best, found, n, distance):
    """Put a vector in its place among the nearest, if it belongs there; returns how many there are."""
    k = len(ids)
    if found == k:
        if not distance < best[k - 1]:
            return found
    else:
        found += 1
    place = found - 1
    while place > 0 and best[place - 1] > distance:
        best[place] = best[place - 1]
        ids[place] = ids[place - 1]
        place -= 1
    best[place] = distance
    ids[place] = n
    return found


@njit
def search(table, codes, ids, best):
    count, num_sub_vectors = codes.shape
    found = 0
    n = 0
    while n + 4 <= count:
        s0 = s1 = s2 = s3 = np.float32(0.0)
        for m in range(num_sub_vectors):
            s0 += table[m, codes[n, m]]
            s1 += table[m, codes[n + 1, m]]
            s2 += table[m, codes[n + 2, m]]
            s3 += table[m, codes[n + 3, m]]
        found = offer(ids, best, found, n, s0)
        found = offer(ids, best, found, n + 1, s1)
        found = offer(ids, best, found, n + 2, s2)
        found = offer(ids, best, found, n + 3, s3)
        n += 4
    while n < count:
        s0 = np.float32(0.0)
        for m in range(num_sub_vectors):
            s0 += table[m, codes[n, m]]
        found = offer(ids, best, found, n, s0)
        n += 1


class PqKernel(Table):
    def probe_top_k(self, table, codes, k):
        wanted = min(k, len(codes))
        ids = np.empty(wanted, np.int64)
        best = np.empty(wanted, np.float32)
        if wanted:
            search(table, codes, ids, best)
        return ids, best
