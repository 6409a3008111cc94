"""Drives a `PqKernel` inside the kernel's own process: calls it as the contract says and copies its answer out.

Runs beside code that nobody trusts. Its checks give honest mistakes a clear sentence; what counts is compared by the
gate, from the bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from pytest_lance_ar.targets.contract import ContractBroken
from pytest_lance_ar.targets.pq_l2.shape import PqShape


class Driver:
    """One kernel object."""

    building = "PqKernel()"
    packing = "pack_codes"
    words: ClassVar[dict[str, str]] = {"table": "`out`, the distance table"}

    def __init__(self, module: ModuleType, params: dict[str, Any], arrays: dict[str, Any]) -> None:
        self.stage = self.building
        kernel_class = getattr(module, "PqKernel", None)
        if kernel_class is None:
            raise ContractBroken("the kernel file defines no PqKernel")
        self.kernel = kernel_class(PqShape(*params["shape"]), arrays["codebook"])
        for name in ("distance_table", "probe_top_k"):
            if not callable(getattr(self.kernel, name, None)):
                raise ContractBroken(f"PqKernel has no method {name}")

    def pack(
        self, params: dict[str, Any], arrays: dict[str, Any], inputs: dict[str, Any], outputs: dict[str, Any]
    ) -> Callable[[], None]:
        """Pack a code set. Returns the call that answers `inputs["query"]` into `outputs`."""
        codes = arrays["codes"]
        count, k = len(codes), params["k"]
        pack_codes = getattr(self.kernel, "pack_codes", None)
        if pack_codes is not None:
            self.stage = "pack_codes"
            codes = pack_codes(codes)

        query, table = inputs["query"], outputs["table"]
        all_ids, all_distances = outputs["ids"], outputs["distances"]
        wanted = (min(k, count),)
        distance_table, probe_top_k = self.kernel.distance_table, self.kernel.probe_top_k
        array, int64, float32 = np.ndarray, np.dtype(np.int64), np.dtype(np.float32)

        def call() -> None:  # it is timed with the kernel: no more in it than must be
            self.stage = "distance_table"
            distance_table(query, table)
            self.stage = "probe_top_k"
            answer = probe_top_k(table, codes, k)
            if type(answer) is not tuple or len(answer) != 2:
                raise ContractBroken(f"probe_top_k must return the tuple (ids, distances), not {describe(answer)}")
            ids, distances = answer
            if type(ids) is not array or ids.dtype != int64 or ids.shape != wanted:
                raise ContractBroken(f"probe_top_k must return ids as int64 of shape {wanted}, not {describe(ids)}")
            if type(distances) is not array or distances.dtype != float32 or distances.shape != wanted:
                raise ContractBroken(
                    f"probe_top_k must return distances as float32 of shape {wanted}, not {describe(distances)}"
                )
            all_ids[:] = ids
            all_distances[:] = distances

        return call


def describe(value: object) -> str:
    if type(value) is np.ndarray:
        return f"{value.dtype} of shape {value.shape}"
    if type(value) is tuple:
        return f"a tuple of {len(value)}"
    return f"a {type(value).__name__}"
