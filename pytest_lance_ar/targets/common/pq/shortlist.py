"""Which coded vectors can be among a query's n nearest: told by matrix products, so that few are left to sum up.

The products say by at most how much they and the reference's sequential sums differ, so that no vector is left out
whose sum is among the n least. Error bounds: Higham, "Accuracy and Stability of Numerical Algorithms", section 3.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.targets.common.inputs import Float32
from pytest_lance_ar.targets.common.pq.metric import Metric

_SCORES: Final = 1 << 23
"""Scores that are held at once: 32 MB of them."""
_CHUNK: Final = 1 << 20
"""Floats of decoded vectors at once: a second-level cache's worth, or two."""
_UNIT: Final = 2.0**-24
_UNDERFLOW: Final = 1e-36
"""More than an operation loses when its result is denormal, or is taken for zero."""


def shortlists(
    metric: Metric, codebook: Float32, codes: NDArray[np.integer[Any]], queries: Float32, n: int
) -> Iterator[NDArray[np.intp]]:
    """For every query the numbers, ascending, of vectors among which its n nearest are, ties included.

    codebook: float32 (M, K, dsub); codes: integers (N, M); queries: float32 (Q, dim); n: from 1 to N.
    """
    step = max(1, _SCORES // len(codes))
    for start in range(0, len(queries), step):
        yield from _of_some(metric, codebook, codes, queries[start : start + step], n)


def _of_some(
    metric: Metric, codebook: Float32, codes: NDArray[np.integer[Any]], queries: Float32, n: int
) -> Iterator[NDArray[np.intp]]:
    dim = queries.shape[1]
    with np.errstate(all="ignore"):  # what is not finite stays on the list
        # Of every vector the mean is taken away where that changes no difference: the products lose less.
        mean = codebook.mean(axis=1).reshape(dim) if metric.squares else np.zeros(dim, np.float32)
        moved = queries - mean
        left = np.float32(metric.products) * moved
        scores = np.empty((len(queries), len(codes)), np.float32)
        farthest = np.float32(0)
        numbers = np.arange(len(codebook))
        step = max(1, _CHUNK // dim)
        for start in range(0, len(codes), step):
            vectors = codebook[numbers, codes[start : start + step]].reshape(-1, dim)
            vectors -= mean
            squares = np.einsum("nd,nd->n", vectors, vectors)
            farthest = np.maximum(farthest, squares.max())
            some = np.matmul(left, vectors.T, out=scores[:, start : start + step])
            if metric.squares:
                some += squares
        # Sequential sum, product, |x|^2 and the move of the origin are each off by at most about dim units of all that
        # is added up, which is at most reach^2; the n-th least score and another one are off twice.
        reach = np.sqrt(np.einsum("qd,qd->q", moved, moved)) + np.sqrt(farthest)
        margin = np.float32(6 * (dim + 6) * _UNIT) * reach * reach + np.float32(_UNDERFLOW * (dim + 6))
        for one, allowed in zip(scores, margin, strict=True):
            yield np.flatnonzero(~(one > np.partition(one, n - 1)[n - 1] + allowed))
