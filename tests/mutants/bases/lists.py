"""Vectors in lists around pivots; the triangle inequality skips a list that cannot hold a near one.

A pivot is a stored vector, so a query's distance to it is in the table too. Every bound allows for rounding.
"""

import numpy as np

from tests.mutants.bases.plain import PqKernel as Plain

PIVOTS = 16
SLACK = 1e-4


class PqKernel(Plain):
    def __init__(self, shape, codebook):
        super().__init__(shape, codebook)
        self.centroids = codebook.astype(np.float64)

    def squared(self, codes, pivot):
        """Squared distances of coded vectors to another one, float64 (N,)."""
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
        to_pivot = [np.sqrt(table[rows, pivot].sum(dtype=np.float64)) for _, _, pivot, _ in lists]
        for p in np.argsort(to_pivot, kind="stable"):
            ids, codes_t, _, radius = lists[p]
            gap = to_pivot[p] * (1 - SLACK) - radius * (1 + SLACK)
            if len(best) == wanted and gap > 0 and gap * gap * (1 - SLACK) > best[-1]:
                continue
            distance = np.zeros(len(ids), np.float32)
            for m in range(len(table)):
                distance += table[m][codes_t[m]]
            all_ids = np.concatenate([best_ids, ids])
            together = np.concatenate([best, distance])
            order = np.argsort(together, kind="stable")[:wanted]
            best_ids, best = all_ids[order], together[order]
        return best_ids, best
