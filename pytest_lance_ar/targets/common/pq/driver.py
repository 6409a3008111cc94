"""Drives a PQ kernel inside its own process: calls it as the contract says and copies its answer out."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, ClassVar

from pytest_lance_ar.targets.common.driver import class_of, must_have, top_k_taker
from pytest_lance_ar.targets.common.pq.shape import PqShape


class PqDriver:
    """One kernel object, of the class that the target names."""

    kernel_class: ClassVar[str]
    building: ClassVar[str]
    packing = "pack_codes"
    words: ClassVar[dict[str, str]] = {"table": "`out`, the distance table"}

    def __init_subclass__(cls) -> None:
        cls.building = f"{cls.kernel_class}()"

    def __init__(self, module: ModuleType, params: dict[str, Any], arrays: dict[str, Any]) -> None:
        self.stage = self.building
        self.kernel = class_of(module, self.kernel_class)(PqShape(*params["shape"]), arrays["codebook"])
        must_have(self.kernel, self.kernel_class, "distance_table", "probe_top_k")

    def pack(
        self, params: dict[str, Any], arrays: dict[str, Any], inputs: dict[str, Any], outputs: dict[str, Any]
    ) -> Callable[[], None]:
        """Pack a code set. Returns the call that answers `inputs["query"]` into `outputs`."""
        codes, k = arrays["codes"], params["k"]
        take = top_k_taker("probe_top_k", outputs["ids"], outputs["distances"])
        pack_codes = getattr(self.kernel, "pack_codes", None)
        if pack_codes is not None:
            self.stage = "pack_codes"
            codes = pack_codes(codes)

        query, table = inputs["query"], outputs["table"]
        distance_table, probe_top_k = self.kernel.distance_table, self.kernel.probe_top_k

        def call() -> None:  # it is timed with the kernel: no more in it than must be
            self.stage = "distance_table"
            distance_table(query, table)
            self.stage = "probe_top_k"
            take(probe_top_k(table, codes, k))

        return call
