"""The kernels that the corpus wraps: a compiled scalar one, a quick one without numba, and a wrong one. Texts of
their own, so that an experiment on the shipped kernel does not move the corpus."""

from __future__ import annotations

from tests.kernels import PURE_PYTHON, changed, whole

SCALAR = changed(
    whole("""
import numpy as np
from numba import njit

from pytest_lance_ar.targets.pq_l2.baseline import fill_table, scan
from tests.parts import Table, nearest


class PqKernel(Table):
    def pack_codes(self, codes):
        return np.ascontiguousarray(codes.T)

    def probe_top_k(self, table, codes, k):
        distances = np.empty(codes.shape[1], np.float32)
        scan(table, codes, distances)
        return nearest(distances, k)
"""),
    "@njit\n",
    "@njit(nogil=True)\n",
    times=2,
)
"""Correct, compiled, plain: what the cheats duel with."""

QUICK = changed(
    PURE_PYTHON,
    "    def distance_table",
    "    def pack_codes(self, codes):\n        return np.ascontiguousarray(codes.T)\n\n    def distance_table",
    "count, num_sub_vectors = codes.shape",
    "num_sub_vectors, count = codes.shape",
    "codes[:, m]",
    "codes[m]",
)
"""Correct, and quick to start: nothing is compiled."""

WRONG = """
import numpy as np


class PqKernel:
    def __init__(self, shape, codebook):
        pass

    def distance_table(self, query, out):
        out[:] = 0

    def probe_top_k(self, table, codes, k):
        n = min(k, len(codes))
        return np.arange(n), np.zeros(n, np.float32)
"""
"""Answers zero. A cheat that wraps it attacks what would find that out."""
