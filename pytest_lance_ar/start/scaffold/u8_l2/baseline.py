"""Squared L2 distances of one uint8 query to many uint8 vectors, one dimension after the other.

`pack` is optional: it is called once for a set of vectors, untimed, and what it returns is handed to `distances`.
"""

from __future__ import annotations

import numba


@numba.njit
def _distances(query, vectors, out):
    out[:] = 0
    for d in range(len(query)):
        for i in range(len(vectors)):
            difference = int(query[d]) - int(vectors[i, d])
            out[i] += difference * difference


class U8L2Kernel:
    def __init__(self, dim):
        """dim: of all vectors, 1 to 4,096."""

    def pack(self, vectors):
        """vectors: uint8 (N, dim), C-contiguous, read-only. Returns any object."""
        return vectors

    def distances(self, query, vectors, out):
        """query: uint8 (dim,). vectors: what `pack` returned. Writes N squared distances into out: uint32 (N,)."""
        _distances(query, vectors, out)
