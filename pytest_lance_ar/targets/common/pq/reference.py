"""The reference: scalar float32 asymmetric distance computation (ADC).

What it computes is, literally and in this order,

    table[m, k]  = 0; for d in range(dsub): table[m, k] += term(query[m, d], codebook[m, k, d])
    distance[n]  = 0; for m in range(M):    distance[n] += table[m, codes[n, m]]

with every single operation rounded to float32 and nothing contracted to FMA; the term is the metric's. numpy applies
one elementwise operation at a time, so the loops over k and n, which carry no sum, are vectorised here without changing
one bit.

Source: Jégou, Douze & Schmid, "Product Quantization for Nearest Neighbor Search", TPAMI 2011, section III-A.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.targets.common.inputs import Float32
from pytest_lance_ar.targets.common.pq.metric import Metric


def distance_table(metric: Metric, query: Float32, codebook: Float32) -> Float32:
    """Distance of every sub-vector of the query to every centroid.

    query: float32 (dim,); codebook: float32 (M, K, dsub). Returns float32 (M, K), read-only.
    """
    num_sub_vectors, num_centroids, dsub = codebook.shape
    parts = query.reshape(num_sub_vectors, dsub)
    table = np.zeros((num_sub_vectors, num_centroids), np.float32)
    for d in range(dsub):
        table += metric.term(parts[:, d, np.newaxis], codebook[:, :, d])
    table.setflags(write=False)
    return table


def distances(table: Float32, codes: NDArray[np.integer[Any]]) -> Float32:
    """Distance of every coded vector: the sum of its M table entries, in the order of m.

    table: float32 (M, K); codes: integers (N, M). Returns float32 (N,), read-only.
    """
    total = np.zeros(len(codes), np.float32)
    for entries, column in zip(table, codes.T, strict=True):
        total += entries[column]
    total.setflags(write=False)
    return total


FEW: Final = 1 << 16
"""Terms, or look-ups, that are made at once."""
BLOCK: Final = 1 << 15
"""Vectors whose sums are made in one go: they stay in a second-level cache."""


class Searcher:
    """The same answers, bit for bit, for many queries of one codebook and code set, however large.

    Codebook and codes are transposed once, so that every pass of numpy's runs over memory in order.
    """

    def __init__(self, metric: Metric, codebook: Float32, codes: NDArray[np.integer[Any]]) -> None:
        """codebook: float32 (M, K, dsub); codes: integers (N, M)."""
        self._metric = metric
        self._by_dimension = np.ascontiguousarray(codebook.transpose(2, 0, 1))
        self._columns = np.ascontiguousarray(codes.T)
        num_sub_vectors, num_centroids, _ = codebook.shape
        self._rows = num_centroids * np.arange(num_sub_vectors)[:, np.newaxis]  # where a table's rows begin

    def distance_table(self, query: Float32) -> Float32:
        """As `distance_table` of this module."""
        dsub, num_sub_vectors, _ = self._by_dimension.shape
        parts = np.ascontiguousarray(query.reshape(num_sub_vectors, dsub).T)[:, :, np.newaxis]
        if self._by_dimension.size <= FEW:
            terms = self._metric.term(parts, self._by_dimension)
            terms[0] += np.float32(0)  # of -0 as well, the sum from +0 on is +0
            # `accumulate` adds one after the other; `reduce` may not.
            table: Float32 = np.add.accumulate(terms, axis=0, dtype=np.float32)[-1].copy()
        else:
            table = np.zeros(self._by_dimension.shape[1:], np.float32)
            for part, centroids in zip(parts, self._by_dimension, strict=True):
                table += self._metric.term(part, centroids)
        table.setflags(write=False)
        return table

    def distances(self, table: Float32, ids: NDArray[np.integer[Any]] | None = None) -> Float32:
        """As `distances` of this module, of all vectors or of some. Entries of the table are sums that start at +0."""
        columns = self._columns if ids is None else self._columns[:, ids]
        num_sub_vectors, count = columns.shape
        if num_sub_vectors * count <= FEW:
            entries = table.take(columns + self._rows)
            total: Float32 = np.add.accumulate(entries, axis=0, dtype=np.float32)[-1].copy()
        else:
            total = np.empty(count, np.float32)
            for start in range(0, count, BLOCK):
                part = np.zeros(min(BLOCK, count - start), np.float32)
                for row, column in zip(table, columns[:, start : start + BLOCK], strict=True):
                    part += row.take(column)
                total[start : start + BLOCK] = part
        total.setflags(write=False)
        return total


def top_k(distance: Float32, k: int) -> tuple[NDArray[np.int64], Float32]:
    """The min(k, N) nearest: ids int64 (n,) and distances float32 (n,), ascending by distance, then by id."""
    ids = np.argsort(distance, kind="stable")[:k].astype(np.int64)
    return ids, distance[ids]
