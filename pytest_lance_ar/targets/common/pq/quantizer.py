"""Training a product quantizer, and coding vectors with it: fast, and deterministic.

What is computed is what sequential float32 loops without FMA compute, first index on ties: the same codebook and the
same codes on every machine. Matrix products, whose rounding no two machines share, only tell which centroids a vector
cannot be nearest to; where more than one is left, the loops' own sums decide. `encode_for_timing` alone takes the
products at their word. Nothing is compiled, so that no setting of the user's numba reaches the gate, and no step takes
long: who waits can give up in between.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.targets.common.inputs import Float32, Stream
from pytest_lance_ar.targets.common.pq.shape import PqShape

LLOYD_ITERATIONS: Final = 2
_PRODUCT: Final = 1 << 21
"""Multiplications in one matrix product, about: its result stays in the cache."""
_UNIT: Final = 2.0**-24
_UNDERFLOW: Final = 1e-36
"""More than an operation loses when its result is denormal, or is taken for zero."""


def sampled_codebook(vectors: Float32, shape: PqShape, stream: Stream) -> Float32:
    """Take each sub-space's K centroids from K randomly sampled vectors: float32 (M, K, dsub)."""
    parts = vectors.reshape(len(vectors), shape.num_sub_vectors, shape.sub_vector_dim)
    order = stream.orders(len(vectors), shape.num_sub_vectors)[:, np.arange(shape.num_centroids) % len(vectors)]
    return np.ascontiguousarray(parts[order, np.arange(shape.num_sub_vectors)[:, np.newaxis]])


def trained_codebook(vectors: Float32, shape: PqShape, stream: Stream, iterations: int = LLOYD_ITERATIONS) -> Float32:
    """A sampled codebook after two Lloyd iterations per sub-space (Lloyd, "Least squares quantization in PCM")."""
    codebook = sampled_codebook(vectors, shape, stream)
    for _ in range(iterations):
        _move_to_means(vectors, encode(vectors, codebook), codebook)
    return codebook


def encode(vectors: Float32, codebook: Float32) -> NDArray[np.uint8]:
    """Code every sub-vector by its nearest centroid: uint8 (N, M). On a tie the first centroid wins."""
    codes = np.empty((len(vectors), len(codebook)), np.uint8)
    for part, centroids, column in zip(_parts(vectors, codebook), codebook, codes.T, strict=True):
        if np.count_nonzero(part) < part.size // 2:  # sparse data: all zeros have one answer
            live = np.flatnonzero(part.any(axis=1))
            column[:] = _nearest(np.zeros((1, part.shape[1]), np.float32), centroids)
            column[live] = _nearest(part[live], centroids)
        else:
            column[:] = _nearest(part, centroids)
    return codes


def encode_for_timing(vectors: Float32, codebook: Float32) -> NDArray[np.uint8]:
    """As `encode`, in half the time on dense data: where two centroids are equally near but for rounding, either may
    win, so that another machine may code one sub-vector in some thousands otherwise.
    """
    num_sub_vectors, num_centroids, dsub = codebook.shape
    squares = np.einsum("mkd,mkd->mk", codebook, codebook)[:, np.newaxis]
    right = np.concatenate([-2 * codebook.transpose(0, 2, 1), squares], axis=1)
    parts = vectors.reshape(len(vectors), num_sub_vectors, dsub)
    codes = np.empty((len(vectors), num_sub_vectors), np.uint8)
    step = max(16, _PRODUCT // right[0].size)
    left, scores = np.ones((step, dsub + 1), np.float32), np.empty((step, num_centroids), np.float32)
    for start in range(0, len(vectors), step):  # rows that stay in the cache until all their parts are coded
        rows = parts[start : start + step]
        some = scores[: len(rows)]
        for number in range(num_sub_vectors):
            left[: len(rows), :dsub] = rows[:, number]
            np.matmul(left[: len(rows)], right[number], out=some)
            codes[start : start + step, number] = some.argmin(axis=1)
    return codes


def _parts(vectors: Float32, codebook: Float32) -> list[Float32]:
    """The sub-vectors, M times (N, dsub), C-contiguous."""
    parts = vectors.reshape(len(vectors), len(codebook), codebook.shape[2]).transpose(1, 0, 2)
    return [np.ascontiguousarray(part) for part in parts]


def _move_to_means(vectors: Float32, codes: NDArray[np.uint8], codebook: Float32) -> None:
    """Move every centroid to the mean of its members; one without members stays. codebook: (M, K, dsub)."""
    num_centroids = codebook.shape[1]
    for part, column, centroids in zip(_parts(vectors, codebook), codes.T, codebook, strict=True):
        counts = np.bincount(column, minlength=num_centroids)
        some = counts > 0
        for values, moved in zip(part.T, centroids.T, strict=True):
            sums = np.bincount(column, values, num_centroids)  # in float64, one member after the other
            moved[some] = sums[some] / counts[some]


def _nearest(vectors: Float32, centroids: Float32) -> NDArray[np.intp]:
    """The index of the nearest centroid, the first of several: (N,). vectors: (N, dsub); centroids: (K, dsub).

    Up to |x|^2, which all centroids share, the squared distance is |c|^2 - 2 x.c. The product's error and that of the
    sequential sum are bounded as for any order of summation (Higham, "Accuracy and Stability of Numerical Algorithms",
    section 3.1), the shift of the origin adds a little: a centroid that is farther than the least by more than
    `margin` has a larger sequential sum.
    """
    count, dsub = vectors.shape
    kept = _distinct(centroids)
    centroids = centroids[kept]
    with np.errstate(all="ignore"):  # what is not finite is left to the sequential sums
        origin = centroids.mean(axis=0)
        shifted = centroids - origin
        squares = np.einsum("kd,kd->k", shifted, shifted)
        right = np.concatenate([-2 * shifted.T, squares[np.newaxis]])
        left = np.ones((count, dsub + 1), np.float32)
        np.subtract(vectors, origin, out=left[:, :dsub])
        reach = np.sqrt(np.einsum("nd,nd->n", left[:, :dsub], left[:, :dsub])) + np.sqrt(squares.max())
        margin = np.float32(6 * (dsub + 3) * _UNIT) * reach * reach + np.float32(_UNDERFLOW * (dsub + 3))
        nearest = np.empty(count, np.intp)
        step = max(16, _PRODUCT // right.size)
        numbers = np.arange(step)
        undecided: list[NDArray[np.intp]] = []
        possible: list[NDArray[np.bool_]] = []
        for start in range(0, count, step):
            scores = left[start : start + step] @ right
            rows = numbers[: len(scores)]
            best = scores.argmin(axis=1)
            nearest[start : start + step] = best
            bound = scores[rows, best] + margin[start : start + step]
            scores[rows, best] = np.inf
            second = scores.argmin(axis=1)  # twice as fast as `min`, and a NaN counts as least here too
            close = np.flatnonzero(~(scores[rows, second] > bound))
            if len(close):
                scores[rows, best] = -np.inf
                possible.append(~(scores[close] > bound[close, np.newaxis]))
                undecided.append(start + close)
        if undecided:
            which = np.concatenate(undecided)
            nearest[which] = _first_least(vectors[which], centroids, np.concatenate(possible))
    return kept[nearest]


def _distinct(centroids: Float32) -> NDArray[np.intp]:
    """The indices of all centroids that are not one before again, ascending."""
    sums = np.sort(centroids.sum(axis=1))
    if (sums[1:] != sums[:-1]).all():
        return np.arange(len(centroids))
    positive = np.ascontiguousarray(centroids + np.float32(0))  # of two zeros one
    keys = positive.view(np.dtype((np.void, positive.shape[1] * positive.itemsize))).ravel()
    return np.sort(np.unique(keys, return_index=True)[1])


def _first_least(vectors: Float32, centroids: Float32, possible: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The first possible centroid whose sequential float32 sum is the least: (N,). possible: (N, K), never none."""
    rows, columns = np.nonzero(possible)
    sums = np.zeros(len(rows), np.float32)
    for values, entries in zip(vectors.T, centroids.T, strict=True):
        difference = values[rows] - entries[columns]
        sums += difference * difference
    numbers = np.arange(len(vectors))
    least = np.minimum.reduceat(sums, np.searchsorted(rows, numbers))
    hits = np.flatnonzero(sums == least[rows])
    return np.asarray(columns[hits[np.searchsorted(rows[hits], numbers)]])
