"""Codes packed in blocks of 32 vectors, padded; a block whose least distance is no better than the k-th is skipped."""

import numpy as np
from numba import njit

BLOCK = 32


@njit
def fill_table(query, codebook, out):
    num_sub_vectors, num_centroids, dsub = codebook.shape
    for m in range(num_sub_vectors):
        part = query[m * dsub : (m + 1) * dsub]
        for k in range(num_centroids):
            total = np.float32(0.0)
            for d in range(dsub):
                difference = part[d] - codebook[m, k, d]
                total += difference * difference
            out[m, k] = total


@njit
def search(table, blocks, count, ids, best):
    """blocks: uint8 (B, M, 32)."""
    num_blocks, num_sub_vectors, _ = blocks.shape
    k = len(ids)
    found = 0
    sums = np.empty(BLOCK, np.float32)
    for b in range(num_blocks):
        sums[:] = np.float32(0.0)
        for m in range(num_sub_vectors):
            entries = table[m]
            lanes = blocks[b, m]
            for i in range(BLOCK):
                sums[i] += entries[lanes[i]]
        size = min(BLOCK, count - b * BLOCK)
        least = sums[0]
        for i in range(1, size):
            least = min(least, sums[i])
        if found == k and least >= best[k - 1]:
            continue
        for i in range(size):
            distance = sums[i]
            if found < k:
                place = found
                found += 1
            elif distance < best[k - 1]:
                place = k - 1
            else:
                continue
            while place > 0 and best[place - 1] > distance:
                best[place] = best[place - 1]
                ids[place] = ids[place - 1]
                place -= 1
            best[place] = distance
            ids[place] = b * BLOCK + i


class PqKernel:
    def __init__(self, shape, codebook):
        self.codebook = codebook

    def pack_codes(self, codes):
        count, num_sub_vectors = codes.shape
        padded = np.zeros((-(-count // BLOCK) * BLOCK, num_sub_vectors), np.uint8)
        padded[:count] = codes
        blocks = padded.reshape(-1, BLOCK, num_sub_vectors).transpose(0, 2, 1)
        return np.ascontiguousarray(blocks), count

    def distance_table(self, query, out):
        fill_table(query, self.codebook, out)

    def probe_top_k(self, table, packed, k):
        blocks, count = packed
        wanted = min(k, count)
        ids = np.empty(wanted, np.int64)
        best = np.empty(wanted, np.float32)
        if wanted:
            search(table, blocks, count, ids, best)
        return ids, best
