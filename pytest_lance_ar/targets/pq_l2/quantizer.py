"""Training a product quantizer and coding vectors with it, deterministically.

Sequential float32 arithmetic without FMA (numba contracts nothing unless `fastmath` asks for it), first index on ties:
the same codebook and the same codes on every machine. The loops release the GIL.
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
    """codes[n, m] = index of the centroid nearest to sub-vector m of vector n. transposed: (M, dsub, K)."""
    num_sub_vectors, dsub, num_centroids = transposed.shape
    distance = np.empty(num_centroids, np.float32)
    for m in range(num_sub_vectors):
        for n in range(vectors.shape[0]):
            distance[:] = np.float32(0.0)
            for d in range(dsub):
                value = vectors[n, m * dsub + d]
                for k in range(num_centroids):
                    difference = value - transposed[m, d, k]
                    distance[k] += difference * difference
            nearest = 0
            for k in range(1, num_centroids):
                if distance[k] < distance[nearest]:
                    nearest = k
            codes[n, m] = nearest


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


def trained_codebook(vectors: Float32, shape: PqShape, stream: Stream) -> Float32:
    """A sampled codebook after two Lloyd iterations per sub-space (Lloyd, "Least squares quantization in PCM", 1982)."""
    codebook = sampled_codebook(vectors, shape, stream)
    for _ in range(LLOYD_ITERATIONS):
        _move_to_means(vectors, encode(vectors, codebook), codebook)
    return codebook


def encode(vectors: Float32, codebook: Float32) -> NDArray[np.uint8]:
    """Code every sub-vector by its nearest centroid: uint8 (N, M). On a tie the first centroid wins."""
    codes = np.empty((len(vectors), codebook.shape[0]), np.uint8)
    _assign(vectors, np.ascontiguousarray(codebook.transpose(0, 2, 1)), codes)
    return codes
