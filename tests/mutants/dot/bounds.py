"""8-bit tables rounded down give each vector a lower bound; only what may be among the nearest is summed exactly.

Entries have either sign: rounding may be as large as the sum of their magnitudes says, not as the distance does.
"""

import numpy as np

from tests.mutants.dot.plain import PqDotKernel as Plain

LEVELS = 255


class PqDotKernel(Plain):
    def pack_codes(self, codes):
        return np.ascontiguousarray(codes.T)

    def exact(self, table, codes, ids):
        total = np.zeros(len(ids), np.float32)
        for m in range(len(codes)):
            total += table[m][codes[m][ids]]
        return total

    def lower_bounds(self, table, codes):
        """A number at or below each vector's distance, float64 (N,)."""
        wide = table.astype(np.float64)
        low = wide.min(axis=1)
        step = (wide.max(axis=1) - low).max() / LEVELS
        slack = np.abs(wide).max(axis=1).sum() * len(table) * 2.0**-22
        if not step > 1e-300:
            return np.full(codes.shape[1], low.sum() - slack)
        small = np.floor((wide - low[:, None]) / step).astype(np.uint8)
        sums = np.zeros(codes.shape[1], np.uint32)
        for m in range(len(table)):
            sums += small[m][codes[m]]
        return low.sum() + step * sums.astype(np.float64) - slack

    def probe_top_k(self, table, codes, k):
        count = codes.shape[1]
        wanted = min(k, count)
        if wanted == 0:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        bounds = self.lower_bounds(table, codes)
        first = np.argpartition(bounds, wanted - 1)[:wanted]
        threshold = self.exact(table, codes, first).max()
        ids = np.flatnonzero(bounds <= threshold)
        distance = self.exact(table, codes, ids)
        order = np.argsort(distance, kind="stable")[:wanted]
        return ids[order], distance[order]
