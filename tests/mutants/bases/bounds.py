"""8-bit tables rounded down give each vector a lower bound; only what may be among the nearest is summed exactly."""

import numpy as np

from tests.mutants.bases.plain import PqKernel as Plain

LEVELS = 255


class PqKernel(Plain):
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
        if not step > 1e-300:
            return np.zeros(codes.shape[1])
        small = np.floor((wide - low[:, None]) / step).astype(np.uint8)
        sums = np.zeros(codes.shape[1], np.uint16 if len(table) * LEVELS < 65536 else np.uint32)
        for m in range(len(table)):
            sums += small[m][codes[m]]
        slack = 1 - len(table) * 2.0**-22
        return (low.sum() + step * sums.astype(np.float64)) * slack

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
