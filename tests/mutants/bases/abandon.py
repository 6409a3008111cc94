"""Gives a vector up as soon as its partial sum is no better than the k-th: no later term can mend that."""

import numpy as np
from numba import njit

from pytest_lance_ar.targets.pq_l2.baseline import fill_table  # noqa: F401 - Table calls it
from tests.parts import Table

STEP = 4


@njit
def sink(heap, ids, size):
    """Restore the max-heap of `size` elements after its root was replaced."""
    parent = 0
    while 2 * parent + 1 < size:
        child = 2 * parent + 1
        if child + 1 < size and heap[child] < heap[child + 1]:
            child += 1
        if not heap[parent] < heap[child]:
            break
        heap[parent], heap[child] = heap[child], heap[parent]
        ids[parent], ids[child] = ids[child], ids[parent]
        parent = child


@njit
def search(table, codes, ids, heap):
    count, num_sub_vectors = codes.shape
    k = len(ids)
    threshold = np.float32(np.inf)
    heap[:] = np.inf
    ids[:] = -1
    for n in range(count):
        total = np.float32(0.0)
        m = 0
        while m < num_sub_vectors:
            end = min(m + STEP, num_sub_vectors)
            while m < end:
                total += table[m, codes[n, m]]
                m += 1
            if total >= threshold:
                break
        if total < threshold:
            heap[0] = total
            ids[0] = n
            sink(heap, ids, k)
            threshold = heap[0]
    for last in range(k - 1, 0, -1):
        heap[0], heap[last] = heap[last], heap[0]
        ids[0], ids[last] = ids[last], ids[0]
        sink(heap, ids, last)


class PqKernel(Table):
    def probe_top_k(self, table, codes, k):
        wanted = min(k, codes.shape[0])
        ids = np.empty(wanted, np.int64)
        distances = np.empty(wanted, np.float32)
        if wanted > 0:
            search(table, codes, ids, distances)
        return ids, distances
