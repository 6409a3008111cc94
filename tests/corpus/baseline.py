"""The kernels that the corpus wraps: a compiled scalar one, a quick one without numba, and a wrong one. Texts of
their own, so that an experiment on the shipped kernel does not move the corpus."""

from __future__ import annotations

SCALAR = """
import numpy as np
from numba import njit


@njit(nogil=True)
def fill_table(query, codebook, out):
    num_sub_vectors, num_centroids, dsub = codebook.shape
    for m in range(num_sub_vectors):
        for k in range(num_centroids):
            total = np.float32(0.0)
            for d in range(dsub):
                difference = query[m * dsub + d] - codebook[m, k, d]
                total += difference * difference
            out[m, k] = total


@njit(nogil=True)
def scan(table, codes, distances):
    distances[:] = np.float32(0.0)
    for m in range(codes.shape[0]):
        entries, column = table[m], codes[m]
        for n in range(column.shape[0]):
            distances[n] += entries[column[n]]


def nearest(distances, k):
    k = min(k, len(distances))
    if k == 0:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    ids = np.argpartition(distances, k - 1)[:k]
    ids = ids[np.argsort(distances[ids], kind="stable")]
    return ids, distances[ids]


class PqKernel:
    def __init__(self, shape, codebook):
        self.codebook = codebook

    def pack_codes(self, codes):
        return np.ascontiguousarray(codes.T)

    def distance_table(self, query, out):
        fill_table(query, self.codebook, out)

    def probe_top_k(self, table, codes, k):
        distances = np.empty(codes.shape[1], np.float32)
        scan(table, codes, distances)
        return nearest(distances, k)
"""
"""Correct, compiled, plain: what the cheats duel with."""

QUICK = """
import numpy as np


class PqKernel:
    def __init__(self, shape, codebook):
        self.codebook = codebook

    def pack_codes(self, codes):
        return np.ascontiguousarray(codes.T)

    def distance_table(self, query, out):
        num_sub_vectors, num_centroids, dsub = self.codebook.shape
        parts = query.reshape(num_sub_vectors, dsub)
        out[:] = 0
        for d in range(dsub):
            difference = parts[:, d, None] - self.codebook[:, :, d]
            out += difference * difference

    def probe_top_k(self, table, codes, k):
        distances = np.zeros(codes.shape[1], np.float32)
        for entries, column in zip(table, codes):
            distances += entries[column]
        ids = np.argsort(distances, kind="stable")[:k]
        return ids, distances[ids]
"""
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
