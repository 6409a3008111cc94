"""numpy and nothing else: one gather per sub-vector, then a stable sort."""

import numpy as np


class PqDotKernel:
    def __init__(self, shape, codebook):
        self.shape = shape
        self.codebook = codebook

    def distance_table(self, query, out):
        num_sub_vectors, _, dsub = self.codebook.shape
        parts = query.reshape(num_sub_vectors, dsub)
        out[:] = 0
        for d in range(dsub):
            out -= parts[:, d, None] * self.codebook[:, :, d]

    def probe_top_k(self, table, codes, k):
        count, num_sub_vectors = codes.shape
        distance = np.zeros(count, np.float32)
        for m in range(num_sub_vectors):
            distance += table[m][codes[:, m]]
        ids = np.argsort(distance, kind="stable")[:k]
        return ids, distance[ids]
