"""Drives faiss's `IndexPQ` in a process of its own, in the place of a kernel: one thread, our codebook, our codes.

What is timed is its C++ `search` of one query, which reads the query from shared memory and writes its answer there:
no copy, no allocation and no check of the Python wrapper's is counted.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.targets.common.inputs import Float32

faiss.omp_set_num_threads(1)


def index_pq(codebook: Float32, codes: NDArray[np.uint8]) -> Any:
    """A faiss.IndexPQ that holds these codes (N, M) under this codebook (M, K, dsub)."""
    num_sub_vectors, num_centroids, dsub = codebook.shape
    nbits = max(1, (num_centroids - 1).bit_length())
    index = faiss.IndexPQ(num_sub_vectors * dsub, num_sub_vectors, nbits)
    centroids = np.zeros((num_sub_vectors, 1 << nbits, dsub), np.float32)
    centroids[:, :num_centroids] = codebook  # no code names one of the others
    faiss.copy_array_to_vector(centroids.reshape(-1), index.pq.centroids)
    faiss.copy_array_to_vector(_packed(codes, nbits).reshape(-1), index.codes)
    index.is_trained = True
    index.ntotal = len(codes)
    return index


def _packed(codes: NDArray[np.uint8], nbits: int) -> NDArray[np.uint8]:
    """The low `nbits` of every code, one behind the other, the least significant bit first: (N, M nbits / 8)."""
    if nbits == 8:
        return codes
    bits = np.unpackbits(codes[:, :, np.newaxis], axis=2, count=nbits, bitorder="little")
    return np.packbits(bits.reshape(len(codes), -1), axis=1, bitorder="little")


class Driver:
    """One codebook. The code set that it is given becomes an index."""

    stage = "IndexPQ"

    def __init__(self, _module: ModuleType, _params: dict[str, Any], arrays: dict[str, Any]) -> None:
        self.codebook = arrays["codebook"]
        self.kept: list[Any] = []

    def pack(
        self, params: dict[str, Any], arrays: dict[str, Any], inputs: dict[str, Any], outputs: dict[str, Any]
    ) -> Callable[[], None]:
        index = index_pq(self.codebook, arrays["codes"])
        k = min(params["k"], len(arrays["codes"]))
        used = inputs["query"], outputs["distances"], outputs["ids"]
        query, distances, ids = map(faiss.swig_ptr, used)
        search = index.search_c
        self.kept.append(used)  # a pointer of SWIG's keeps no array alive

        def call() -> None:
            search(1, query, k, distances, ids)

        return call
