"""A driver that asks a kernel the way an IVF_PQ index does: many small partitions a query, the k nearest of all."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from pytest_lance_ar.targets.pq_l2 import driver


class Driver(driver.Driver):
    """One kernel object, which serves every partition of an index."""

    def __init__(self, module: ModuleType, params: dict[str, Any], arrays: dict[str, Any]) -> None:
        super().__init__(module, params, arrays)
        self.table_shape = arrays["codebook"].shape[:2]

    def pack(
        self, params: dict[str, Any], arrays: dict[str, Any], inputs: dict[str, Any], outputs: dict[str, Any]
    ) -> Callable[[], None]:
        """Pack every partition. A call visits `inputs["probes"]` with the residuals of `inputs["query"]`."""
        centroids, k = arrays["centroids"], params["k"]
        pack_codes = getattr(self.kernel, "pack_codes", None)
        starts, packed = np.cumsum(arrays["sizes"]) - arrays["sizes"], []
        for start, size in zip(starts.tolist(), arrays["sizes"].tolist(), strict=True):
            codes = np.array(arrays["codes"][start : start + size])
            codes.setflags(write=False)
            if pack_codes is not None and size:
                self.stage = "pack_codes"
                codes = pack_codes(codes)
            packed.append((start, size, codes))
        query, probes = inputs["query"], inputs["probes"]
        table = np.empty(self.table_shape, np.float32)
        residual = np.empty_like(centroids[0])
        seen = residual.view()
        seen.setflags(write=False)
        distance_table, probe_top_k = self.kernel.distance_table, self.kernel.probe_top_k
        all_ids, all_distances = outputs["ids"], outputs["distances"]

        def call() -> None:
            some_ids, some_distances = [], []
            for p in probes.tolist():
                start, size, codes = packed[p]
                if not size:
                    continue
                np.subtract(query, centroids[p], out=residual)
                self.stage = "distance_table"
                distance_table(seen, table)
                self.stage = "probe_top_k"
                ids, distances = probe_top_k(table, codes, k)
                some_ids.append(ids + start)
                some_distances.append(distances)
            ids, distances = np.concatenate(some_ids), np.concatenate(some_distances)
            order = np.argsort(distances, kind="stable")[:k]
            all_ids[:] = ids[order]
            all_distances[:] = distances[order]

        return call
