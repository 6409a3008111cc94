"""Vectors in lists around pivots; the Cauchy-Schwarz inequality skips a list that cannot hold a near one.

A vector's inner product with the query is that of its pivot, and at most the query's length times the distance between
them more. A pivot is a stored vector, so its own product is in the table. Every bound allows for rounding.
"""

import numpy as np

from tests.mutants.dot.plain import PqDotKernel as Plain

PIVOTS = 16
SLACK = 1e-4


class PqDotKernel(Plain):
    def __init__(self, shape, codebook):
        super().__init__(shape, codebook)
        self.centroids = codebook.astype(np.float64)
        self.length = 0.0

    def distance_table(self, query, out):
        super().distance_table(query, out)
        self.length = np.sqrt((query.astype(np.float64) ** 2).sum())

    def squared(self, codes, pivot):
        """Squared L2 distances of coded vectors to another one, float64 (N,)."""
        total = np.zeros(len(codes))
        for m, centroids in enumerate(self.centroids):
            difference = centroids - centroids[pivot[m]]
            total += (difference * difference).sum(axis=1)[codes[:, m]]
        return total

    def pack_codes(self, codes):
        count = len(codes)
        pivots = codes[:: max(1, count // PIVOTS)][:PIVOTS]
        away = np.array([self.squared(codes, pivot) for pivot in pivots]).reshape(len(pivots), count)
        home = away.argmin(axis=0) if count else np.empty(0, np.int64)
        lists = []
        for p, pivot in enumerate(pivots):
            ids = np.flatnonzero(home == p)
            if len(ids):
                radius = np.sqrt(away[p, ids].max())
                lists.append((ids, np.ascontiguousarray(codes[ids].T), pivot, radius))
        return lists, count

    def probe_top_k(self, table, packed, k):
        lists, count = packed
        wanted = min(k, count)
        best_ids = np.empty(0, np.int64)
        best = np.empty(0, np.float32)
        rows = np.arange(len(table))
        to_pivot = [table[rows, pivot].sum(dtype=np.float64) for _, _, pivot, _ in lists]
        reach = np.abs(table).max(axis=1).astype(np.float64).sum()
        bounds = [own - self.length * radius for own, (_, _, _, radius) in zip(to_pivot, lists, strict=True)]
        for p in np.argsort(bounds, kind="stable"):
            ids, codes_t, _, radius = lists[p]
            slack = SLACK * (reach + self.length * radius)
            if len(best) == wanted and bounds[p] - slack > best[-1]:
                continue
            distance = np.zeros(len(ids), np.float32)
            for m in range(len(table)):
                distance += table[m][codes_t[m]]
            all_ids = np.concatenate([best_ids, ids])
            together = np.concatenate([best, distance])
            order = np.argsort(together, kind="stable")[:wanted]
            best_ids, best = all_ids[order], together[order]
        return best_ids, best
