"""The negative inner product: the larger the product, the nearer.

    table[m, k] = 0; for d in range(dsub): table[m, k] -= query[m, d] * codebook[m, k, d]

Entries and distances have either sign. Lance's "dot" distance is 1 - q.x: this one, and 1. Its "cosine" is the squared
L2 distance |q|^2 + |x|^2 - 2 q.x of what was normalised before it was coded, which `pq_l2` answers; who normalises
vectors and queries and wants cosines by their products has them here.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from pytest_lance_ar.targets.common.inputs import Float32
from pytest_lance_ar.targets.common.pq.metric import Metric

POSITIONS: Final = ("as drawn", "alike", "opposed", "turning")


def term(query: Float32, centroids: Float32) -> Float32:
    product: Float32 = query * centroids
    np.negative(product, out=product)
    return product


def midway(u: Float32, v: Float32, side: Float32) -> Float32:
    """Between them, and at a right angle to what parts them, but for a little."""
    middle, apart = (u.astype(np.float64) + v) / 2, v.astype(np.float64) - u
    # One addition after the other: in another order the last bit might differ.
    along, length = (np.add.accumulate(one * apart, axis=1)[:, -1:] for one in (middle, apart))
    share = np.divide(along, length, out=np.zeros_like(along), where=length > 0)
    return np.asarray(middle - (share - side * 2.0**-9) * apart, np.float32)


def posed(vectors: Float32, num_sub_vectors: int, seed: int, role: str) -> Float32:
    """By the seed's last two bits: as drawn; all in one orthant, so that no distance is positive; queries in the
    opposite one, so that none is negative; or turning: a query's first half is opposed and the rest is not, so that
    partial sums climb above every distance and come down again."""
    position = POSITIONS[seed % len(POSITIONS)]
    if position == "as drawn":
        return vectors
    positive = np.abs(vectors)
    if role.startswith("query") and position != "alike":
        parts = positive.reshape(len(positive), num_sub_vectors, -1)
        opposed = num_sub_vectors if position == "opposed" else num_sub_vectors // 2
        parts[:, :opposed] *= np.float32(-1)
    return positive


DOT: Final = Metric(
    "negative inner product", term, operations=2, midway=midway, products=-1, squares=False, posed=posed
)
