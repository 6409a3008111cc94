"""An IVF_PQ query in numpy, one step after the other: all that is visited, then the k nearest of it."""

import numpy as np


class IvfPqKernel:
    def __init__(self, shape, codebook, centroids):
        self.codebook = codebook
        self.centroids = centroids

    def pack_partitions(self, codes, row_ids, offsets):
        bounds = zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
        return [(codes[first:end], row_ids[first:end]) for first, end in bounds]

    def search(self, index, query, partitions, k):
        all_ids = [np.empty(0, np.int64)]
        all_distances = [np.empty(0, np.float32)]
        for p in partitions.tolist():
            codes, row_ids = index[p]
            residual = query - self.centroids[p]
            table = self.table(residual)
            total = np.zeros(len(codes), np.float32)
            for entries, column in zip(table, codes.T, strict=True):
                total += entries[column]
            all_ids.append(row_ids)
            all_distances.append(total)
        ids = np.concatenate(all_ids)
        distances = np.concatenate(all_distances)
        order = np.argsort(distances, kind="stable")[:k]
        return ids[order], distances[order]

    def table(self, residual):
        num_sub_vectors, num_centroids, dsub = self.codebook.shape
        parts = residual.reshape(num_sub_vectors, dsub)
        table = np.zeros((num_sub_vectors, num_centroids), np.float32)
        for d in range(dsub):
            difference = parts[:, d, np.newaxis] - self.codebook[:, :, d]
            table += difference * difference
        return table
