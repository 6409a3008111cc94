"""Kernels for tests: the shipped one, the scalar baseline, and what becomes of it by small changes."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
SHIPPED = (ROOT / "kernel" / "pq_l2.py").read_text()
BASELINE = (ROOT / "pytest_lance_ar" / "targets" / "pq_l2" / "baseline.py").read_text()

PURE_PYTHON = """
import numpy as np


class PqKernel:
    def __init__(self, shape, codebook):
        self.codebook = codebook

    def distance_table(self, query, out):
        num_sub_vectors, num_centroids, dsub = self.codebook.shape
        parts = query.reshape(num_sub_vectors, dsub)
        out[:] = 0
        for d in range(dsub):
            difference = parts[:, d, None] - self.codebook[:, :, d]
            out += difference * difference

    def probe_top_k(self, table, codes, k):
        distance = np.zeros(len(codes), np.float32)
        for m in range(table.shape[0]):
            distance += table[m][codes[:, m]]
        ids = np.argsort(distance, kind="stable")[:k]
        return ids, distance[ids]
"""
"""A correct kernel that numba need not compile, for tests that want to be quick."""


def changed(source: str, old: str, new: str) -> str:
    """The source with one place of it changed."""
    assert source.count(old) == 1, f"{source.count(old)} places have {old!r}"
    return source.replace(old, new)


def with_table(statement: str) -> str:
    """The quick kernel with another body of distance_table."""
    head, rest = PURE_PYTHON.split("        num_sub_vectors, num_centroids, dsub", 1)
    tail = rest[rest.index("    def probe_top_k") :]
    return f"{head}        {statement}\n\n{tail}"


def with_answer(expression: str) -> str:
    """The quick kernel with another answer of probe_top_k; `ids` and `distance` are at hand."""
    return changed(PURE_PYTHON, "return ids, distance[ids]", f"return {expression}")


FASTER = changed(
    BASELINE,
    """    for m in range(codes_t.shape[0]):
        entries = table[m]
        column = codes_t[m]
        for n in range(column.shape[0]):
            distances[n] += entries[column[n]]
""",
    """    num_sub_vectors, count = codes_t.shape
    m = 0
    while m + 4 <= num_sub_vectors:
        t0, t1, t2, t3 = table[m], table[m + 1], table[m + 2], table[m + 3]
        c0, c1, c2, c3 = codes_t[m], codes_t[m + 1], codes_t[m + 2], codes_t[m + 3]
        for n in range(count):
            distances[n] = (((distances[n] + t0[c0[n]]) + t1[c1[n]]) + t2[c2[n]]) + t3[c3[n]]
        m += 4
    while m < num_sub_vectors:
        entries, column = table[m], codes_t[m]
        for n in range(count):
            distances[n] += entries[column[n]]
        m += 1
""",
)
"""Four sub-vectors a pass, in the reference's order: about 1.4 times as fast."""

SLOWER = changed(
    BASELINE,
    "        scan(table, codes, distances)\n",
    "        scan(table, codes, distances)\n        scan(table, codes, distances)\n",
)
"""Scans twice."""

ZERO = changed(BASELINE, "        fill_table(query, self.codebook, out)", "        out[:] = 0")
"""All distances are zero: very fast, and wrong."""
