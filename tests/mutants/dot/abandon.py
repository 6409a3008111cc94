"""Gives a vector up as soon as the least that is left cannot bring its partial sum below the k-th.

What is left of a sum is at least the sum of the least entries of the rows that are left, which is mostly negative.
"""

import numpy as np

from tests.mutants.dot.plain import PqDotKernel as Plain

SAMPLE = 50
GROUP = 4


class PqDotKernel(Plain):
    def pack_codes(self, codes):
        return np.ascontiguousarray(codes.T)

    def probe_top_k(self, table, codes, k):
        num_sub_vectors, count = codes.shape
        wanted = min(k, count)
        threshold = np.float32(np.inf)
        size = max(SAMPLE, wanted)
        if wanted > 0 and size < count:
            sample = np.arange(0, count, count // size)
            total = np.zeros(len(sample), np.float32)
            for m in range(num_sub_vectors):
                total += table[m][codes[m][sample]]
            threshold = np.partition(total, wanted - 1)[wanted - 1]
        least = table.min(axis=1).astype(np.float64)
        rest = np.append(np.cumsum(least[::-1])[::-1], 0.0)
        slack = np.abs(table).max(axis=1).astype(np.float64).sum() * num_sub_vectors * 2.0**-22
        ids = np.arange(count)
        distance = np.zeros(count, np.float32)
        for start in range(0, num_sub_vectors, GROUP):
            end = min(start + GROUP, num_sub_vectors)
            for m in range(start, end):
                distance += table[m][codes[m][ids]]
            near = distance + rest[end] - slack <= threshold
            ids, distance = ids[near], distance[near]
        order = np.argsort(distance, kind="stable")[:wanted]
        return ids[order], distance[order]
