"""Drives a `U8L2Kernel` inside the kernel's own process. Its checks give honest mistakes a clear sentence."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, ClassVar

from pytest_lance_ar.targets.contract import ContractBroken


class Driver:
    """One kernel object."""

    building = "U8L2Kernel()"
    packing = "pack"
    words: ClassVar[dict[str, str]] = {"distances": "`out`"}

    def __init__(self, module: ModuleType, params: dict[str, Any], arrays: dict[str, Any]) -> None:
        self.stage = self.building
        self.kernel = module.U8L2Kernel(params["dim"])
        if not callable(getattr(self.kernel, "distances", None)):
            raise ContractBroken("U8L2Kernel has no method distances")

    def pack(
        self, params: dict[str, Any], arrays: dict[str, Any], inputs: dict[str, Any], outputs: dict[str, Any]
    ) -> Callable[[], None]:
        vectors = arrays["vectors"]
        pack = getattr(self.kernel, "pack", None)
        if pack is not None:
            self.stage = "pack"
            vectors = pack(vectors)
        distances, query, out = self.kernel.distances, inputs["query"], outputs["distances"]

        def call() -> None:  # it is timed with the kernel: no more in it than must be
            self.stage = "distances"
            distances(query, vectors, out)

        return call
