"""The kernel under experiment: asymmetric L2 search over product-quantized vectors.

This is the one file to edit. It may import numpy, numba, llvmlite, math, typing, functools, dataclasses, __future__
and `PqShape`; nothing else. `program.md` says how the experiment runs.

Asymmetric distance computation (ADC): a vector is stored as M one-byte codes, each the index of a centroid. For a
query, `distance_table` holds the squared L2 distance of each of its M sub-vectors to each of the K centroids, and the
distance to a stored vector is the sum of M table entries, one per code.

Codes stay row by row; four vectors are summed at a time and offered to a bounded heap. The codebook is transposed, so
that the table is filled many centroids at a time. Every sum has the reference's order (over d, then over m, in
float32), so it agrees with it bit for bit.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pytest_lance_ar import PqShape


@njit(error_model="numpy")
def fill_table(query, codebook_t, out):
    """out[m, k] = squared L2 distance of sub-vector m of the query to centroid k. codebook_t: (M, dsub, K).

    The loops over k become SIMD; each sum still runs over d in order.
    """
    num_sub_vectors, dsub, num_centroids = codebook_t.shape
    for m in range(num_sub_vectors):
        q = m * dsub
        for k in range(num_centroids):
            out[m, k] = np.float32(0.0)
        d = 0
        while d + 4 <= dsub:
            q0, q1, q2, q3 = query[q + d], query[q + d + 1], query[q + d + 2], query[q + d + 3]
            for k in range(num_centroids):
                e0, e1 = q0 - codebook_t[m, d, k], q1 - codebook_t[m, d + 1, k]
                e2, e3 = q2 - codebook_t[m, d + 2, k], q3 - codebook_t[m, d + 3, k]
                out[m, k] = (((out[m, k] + e0 * e0) + e1 * e1) + e2 * e2) + e3 * e3
            d += 4
        while d < dsub:
            for k in range(num_centroids):
                e0 = query[q + d] - codebook_t[m, d, k]
                out[m, k] += e0 * e0
            d += 1


@njit(error_model="numpy")
def sift_down(best, ids, size):
    """Restore the max-heap after its root was replaced."""
    parent = 0
    while True:
        child = 2 * parent + 1
        if child >= size:
            return
        if child + 1 < size and best[child + 1] > best[child]:
            child += 1
        if best[parent] >= best[child]:
            return
        best[parent], best[child] = best[child], best[parent]
        ids[parent], ids[child] = ids[child], ids[parent]
        parent = child


@njit(error_model="numpy")
def probe(table, codes, best, ids):
    """Fill best and ids with the nearest vectors, ascending. codes: (N, M).

    Four vectors at a time: four independent chains of additions, and no array of distances.
    """
    count, k = codes.shape[0], best.size
    last = count - 1
    for i in range(k):
        best[i], ids[i] = np.inf, -1
    for n in range(0, count, 4):
        n1, n2, n3 = min(n + 1, last), min(n + 2, last), min(n + 3, last)
        d0 = d1 = d2 = d3 = np.float32(0.0)
        for m in range(table.shape[0]):
            d0 += table[m, codes[n, m]]
            d1 += table[m, codes[n1, m]]
            d2 += table[m, codes[n2, m]]
            d3 += table[m, codes[n3, m]]
        if min(min(d0, d1), min(d2, d3)) < best[0]:
            four = (d0, d1, d2, d3)
            for j in range(min(4, count - n)):
                if four[j] < best[0]:
                    best[0], ids[0] = four[j], n + j
                    sift_down(best, ids, k)
    for size in range(k - 1, 0, -1):
        best[0], best[size] = best[size], best[0]
        ids[0], ids[size] = ids[size], ids[0]
        sift_down(best, ids, size)


class PqKernel:
    """Answers top-k queries over packed codes."""

    def __init__(self, shape: PqShape, codebook: NDArray[np.float32]) -> None:
        self.shape = shape
        self.codebook_t = np.ascontiguousarray(codebook.transpose(0, 2, 1))

    def distance_table(self, query: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """Fill out, float32 (M, K), for one query, float32 (dim,). Timed."""
        fill_table(query, self.codebook_t, out)

    def probe_top_k(
        self, table: NDArray[np.float32], codes: NDArray[np.uint8], k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The min(k, N) nearest: ids int64 and distances float32, ascending. Timed.

        `codes` are those given, uint8 (N, M): there is no pack_codes.
        """
        size = min(k, len(codes))
        ids, distances = np.empty(size, np.int64), np.empty(size, np.float32)
        if size:
            probe(table, codes, distances, ids)
        return ids, distances
