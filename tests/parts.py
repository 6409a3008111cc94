"""What kernels of the tests share. It is read as text, like a kernel: `tests.kernels.whole` puts a definition in the
place of its import, so that each kernel is one file by itself."""

from __future__ import annotations

import numpy as np
from numba import njit

from pytest_lance_ar.targets.pq_l2.baseline import fill_table


class Table:
    """A kernel without its search. `fill_table` is the kernel's own, or the baseline's."""

    def __init__(self, shape, codebook):
        self.shape = shape
        self.codebook = codebook

    def distance_table(self, query, out):
        fill_table(query, self.codebook, out)


def nearest(distances, k):
    """The min(k, N) smallest and their positions, ascending."""
    k = min(k, len(distances))
    if k == 0:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    ids = np.argpartition(distances, k - 1)[:k]
    ids = ids[np.argsort(distances[ids], kind="stable")]
    return ids, distances[ids]


@njit
def insert(ids, best, n, distance):
    """Vector n takes its place among the nearest, which are sorted; the last of them goes."""
    place = len(best) - 1
    while place > 0 and best[place - 1] > distance:
        best[place], ids[place] = best[place - 1], ids[place - 1]
        place -= 1
    best[place], ids[place] = distance, n
