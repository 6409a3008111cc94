"""Drives faiss's `IndexIVFPQ` in a process of its own: one thread, the kernel's centroids, codebook and codes.

What is timed is its C++ `search_preassigned` of one query, which is told which partitions to visit.
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


def index_ivf_pq(codebook: Float32, centroids: Float32, sizes: NDArray[np.int64], codes: NDArray[np.uint8]) -> Any:
    """A faiss.IndexIVFPQ by residual that holds these codes (N, M), of K = 256; ids count them in their order."""
    num_sub_vectors, num_centroids, dsub = codebook.shape
    assert num_centroids == 256, "faiss packs narrower codes into bits"
    dim = num_sub_vectors * dsub
    coarse: Any = faiss.IndexFlatL2(dim)
    coarse.add(centroids)
    index: Any = faiss.IndexIVFPQ(coarse, dim, len(centroids), num_sub_vectors, 8)
    index.own_fields = True
    coarse.this.disown()
    faiss.copy_array_to_vector(np.ascontiguousarray(codebook).reshape(-1), index.pq.centroids)
    index.is_trained = True
    index.precompute_table()
    ids = np.arange(len(codes), dtype=np.int64)
    start = 0
    for number, size in enumerate(sizes.tolist()):
        if size:
            own = np.ascontiguousarray(codes[start : start + size])
            index.invlists.add_entries(
                number, size, faiss.swig_ptr(ids[start : start + size]), faiss.swig_ptr(own.reshape(-1))
            )
        start += size
    index.ntotal = len(codes)
    return index


class Driver:
    """One codebook. The partitions that it is given become an index."""

    stage = "IndexIVFPQ"

    def __init__(self, _module: ModuleType, _params: dict[str, Any], arrays: dict[str, Any]) -> None:
        self.codebook = arrays["codebook"]
        self.kept: list[Any] = []

    def pack(
        self, params: dict[str, Any], arrays: dict[str, Any], inputs: dict[str, Any], outputs: dict[str, Any]
    ) -> Callable[[], None]:
        centroids, probes, query = arrays["centroids"], inputs["probes"], inputs["query"]
        index = index_ivf_pq(self.codebook, centroids, arrays["sizes"], arrays["codes"])
        index.nprobe = len(probes)
        apart = np.empty(len(probes), np.float32)
        used = query, probes, apart, outputs["distances"], outputs["ids"]
        pointers = [faiss.swig_ptr(array) for array in used]
        search, k = index.search_preassigned_c, params["k"]
        self.kept += [used, index]  # a pointer of SWIG's keeps no array alive

        def call() -> None:
            # The distance to each centroid is a part of what faiss adds up; the kernels' residuals have it in them.
            np.square(query - centroids[probes]).sum(axis=1, out=apart)
            search(1, pointers[0], k, *pointers[1:], False)

        return call
