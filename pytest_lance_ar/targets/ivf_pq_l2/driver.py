"""Drives an `IvfPqKernel` inside the kernel's own process: calls it as the contract says and copies its answer out.

Runs beside code that nobody trusts. Its checks give honest mistakes a clear sentence; what counts is compared by the
gate, from the bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from pytest_lance_ar.targets.common.driver import class_of, describe, must_have
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.contract import ContractBroken


class Driver:
    """One kernel object."""

    building = "IvfPqKernel()"
    packing = "pack_partitions"

    def __init__(self, module: ModuleType, params: dict[str, Any], arrays: dict[str, Any]) -> None:
        self.stage = self.building
        kernel_class = class_of(module, "IvfPqKernel")
        self.kernel = kernel_class(PqShape(*params["shape"]), arrays["codebook"], arrays["centroids"])
        must_have(self.kernel, "IvfPqKernel", "pack_partitions", "search")

    def pack(
        self, params: dict[str, Any], arrays: dict[str, Any], inputs: dict[str, Any], outputs: dict[str, Any]
    ) -> Callable[[], None]:
        """Pack an index. Returns the call that answers `inputs["query"]` into `outputs`, whose first `count` are used.

        Where there is `inputs["visits"]`, so many of `inputs["partitions"]` are visited, else all of them.
        """
        self.stage = self.packing
        index = self.kernel.pack_partitions(arrays["codes"], arrays["row_ids"], arrays["offsets"])
        k, query, partitions, visits = params["k"], inputs["query"], inputs["partitions"], inputs.get("visits")
        all_ids, all_distances, number = outputs["ids"], outputs["distances"], outputs["count"]
        search = self.kernel.search
        array, int64, float32 = np.ndarray, np.dtype(np.int64), np.dtype(np.float32)

        def call() -> None:  # it is timed with the kernel: no more in it than must be
            self.stage = "search"
            answer = search(index, query, partitions if visits is None else some(partitions, visits), k)
            if type(answer) is not tuple or len(answer) != 2:
                raise ContractBroken(f"search must return the tuple (row_ids, distances), not {describe(answer)}")
            ids, distances = answer
            if type(ids) is not array or ids.dtype != int64 or ids.ndim != 1:
                raise ContractBroken(f"search must return row ids as int64 of shape (n,), not {describe(ids)}")
            if type(distances) is not array or distances.dtype != float32 or distances.shape != ids.shape:
                raise ContractBroken(
                    f"search must return distances as float32 of shape {ids.shape}, as many as row ids, not "
                    f"{describe(distances)}"
                )
            count = ids.shape[0]
            if count > k:
                raise ContractBroken(f"search must return at most k row ids, which is {k}, not {count}")
            all_ids[:count] = ids
            all_distances[:count] = distances
            if count < k:
                all_ids[count:] = -1
                all_distances[count:] = np.nan
            number[0] = count

        return call


def some(partitions: Any, visits: Any) -> Any:
    """The first few, as an array of their own."""
    chosen = partitions[: visits[0]].copy()
    chosen.setflags(write=False)
    return chosen
