"""Training a product quantizer, coding vectors with it and summing up coded distances: compiled, and deterministic.

Sequential float32 arithmetic without FMA (numba contracts nothing unless `fastmath` asks for it), first index on ties:
the same codebook and the same codes on every machine. The loops release the GIL; numba compiles them on import.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pytest_lance_ar.targets.pq_l2.inputs import Float32, Stream, sampled_codebook
from pytest_lance_ar.targets.pq_l2.shape import PqShape

LLOYD_ITERATIONS: Final = 2


@njit("void(float32[:, ::1], float32[:, :, ::1], uint8[:, ::1])", nogil=True)
def _assign(vectors: Any, transposed: Any, codes: Any) -> None:
    """codes[n, m] = index of the centroid nearest to sub-vector m of vector n. transposed: (M, dsub, K).

    The loops over k are what LLVM turns into SIMD; each sum still runs over d in order.
    """
    num_sub_vectors, dsub, num_centroids = transposed.shape
    distance = np.empty(num_centroids, np.float32)
    bits = distance.view(np.int32)
    for m in range(num_sub_vectors):
        for n in range(vectors.shape[0]):
            x = vectors[n, m * dsub : (m + 1) * dsub]
            distance[:] = np.float32(0.0)
            d = 0
            while d + 4 <= dsub:
                c0, c1, c2, c3 = (
                    transposed[m, d],
                    transposed[m, d + 1],
                    transposed[m, d + 2],
                    transposed[m, d + 3],
                )
                for k in range(num_centroids):
                    e0, e1, e2, e3 = x[d] - c0[k], x[d + 1] - c1[k], x[d + 2] - c2[k], x[d + 3] - c3[k]
                    distance[k] = (((distance[k] + e0 * e0) + e1 * e1) + e2 * e2) + e3 * e3
                d += 4
            while d < dsub:
                for k in range(num_centroids):
                    e0 = x[d] - transposed[m, d, k]
                    distance[k] += e0 * e0
                d += 1
            # The bits of floats that are not negative order as they do; with k below them the minimum is the first.
            nearest = np.int64(np.iinfo(np.int64).max)
            for k in range(num_centroids):
                nearest = min(nearest, (np.int64(bits[k]) << 8) | k)
            codes[n, m] = nearest & 255


@njit("void(float32[:, ::1], uint8[:, ::1], float32[:, :, ::1])", nogil=True)
def _move_to_means(vectors: Any, codes: Any, codebook: Any) -> None:
    """Move every centroid to the mean of its members; one without members stays. codebook: (M, K, dsub)."""
    num_sub_vectors, num_centroids, dsub = codebook.shape
    sums = np.empty((num_centroids, dsub), np.float64)
    counts = np.empty(num_centroids, np.int64)
    for m in range(num_sub_vectors):
        sums[:] = 0.0
        counts[:] = 0
        for n in range(vectors.shape[0]):
            k = codes[n, m]
            counts[k] += 1
            for d in range(dsub):
                sums[k, d] += vectors[n, m * dsub + d]
        for k in range(num_centroids):
            if counts[k] > 0:
                for d in range(dsub):
                    codebook[m, k, d] = np.float32(sums[k, d] / counts[k])


@njit("void(float32[:, ::1], uint8[:, ::1], float32[::1])", nogil=True)
def _sum_entries(table: Any, codes_t: Any, total: Any) -> None:
    num_sub_vectors, count = codes_t.shape
    for start in range(0, count, 2048):
        part = total[start : start + 2048]
        part[:] = np.float32(0.0)
        for m in range(num_sub_vectors):
            column = codes_t[m, start : start + 2048]
            for n in range(len(part)):
                part[n] += table[m, column[n]]


def trained_codebook(vectors: Float32, shape: PqShape, stream: Stream) -> Float32:
    """A sampled codebook after two Lloyd iterations per sub-space (Lloyd, "Least squares quantization in PCM")."""
    codebook = sampled_codebook(vectors, shape, stream)
    for _ in range(LLOYD_ITERATIONS):
        _move_to_means(vectors, encode(vectors, codebook), codebook)
    return codebook


def encode(vectors: Float32, codebook: Float32) -> NDArray[np.uint8]:
    """Code every sub-vector by its nearest centroid: uint8 (N, M). On a tie the first centroid wins."""
    codes = np.empty((len(vectors), codebook.shape[0]), np.uint8)
    _assign(_own(vectors), _own(codebook.transpose(0, 2, 1)), codes)
    return codes


def distances(table: Float32, codes_t: NDArray[np.uint8]) -> Float32:
    """What `reference.distances` returns, bit for bit, from transposed codes (M, N): for checks by the thousand."""
    total = np.empty(codes_t.shape[1], np.float32)
    _sum_entries(_own(table), _own(codes_t), total)
    return total


def _own(array: NDArray[Any]) -> NDArray[Any]:
    """The array, or a copy where it is not C-contiguous or is read-only: the compiled signatures take neither."""
    return np.require(array, requirements=["C", "W"])
