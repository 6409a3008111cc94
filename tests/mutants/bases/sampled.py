"""A threshold from a sample, then a sweep: partial sums above it are given up, group by group of sub-vectors."""

import numpy as np

from tests.mutants.bases.plain import PqKernel as Plain

SAMPLE = 50
GROUP = 4


class PqKernel(Plain):
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
        ids = np.arange(count)
        distance = np.zeros(count, np.float32)
        for start in range(0, num_sub_vectors, GROUP):
            for m in range(start, min(start + GROUP, num_sub_vectors)):
                distance += table[m][codes[m][ids]]
            near = distance <= threshold
            ids, distance = ids[near], distance[near]
        order = np.argsort(distance, kind="stable")[:wanted]
        return ids[order], distance[order]
