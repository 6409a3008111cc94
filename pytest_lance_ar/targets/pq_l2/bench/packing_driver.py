"""A driver that packs a code set and tells how much memory the result holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np

from pytest_lance_ar.targets.pq_l2 import driver


class Driver(driver.Driver):
    """One kernel object. A call writes the bytes that the packed codes hold into `outputs["bytes"]`."""

    def pack(
        self, _params: dict[str, Any], arrays: dict[str, Any], _inputs: dict[str, Any], outputs: dict[str, Any]
    ) -> Callable[[], None]:
        codes = arrays["codes"]
        pack_codes = getattr(self.kernel, "pack_codes", None)
        if pack_codes is not None:
            self.stage = "pack_codes"
            codes = pack_codes(codes)
        held = held_bytes(codes)

        def call() -> None:
            outputs["bytes"][...] = held

        return call


def held_bytes(value: object) -> int:
    """Bytes of all arrays and byte strings that can be reached from a value through containers and attributes."""
    seen: set[int] = set()
    total, waiting = 0, [value]
    while waiting:
        one = waiting.pop()
        while isinstance(one, np.ndarray) and isinstance(one.base, np.ndarray):
            one = one.base  # a view keeps the whole array alive
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, np.ndarray):
            total += one.nbytes
            if one.dtype == object:
                waiting.extend(one.flat)
        elif isinstance(one, (bytes, bytearray, memoryview)):
            total += memoryview(one).nbytes
        elif isinstance(one, Mapping):
            waiting.extend([*one.keys(), *one.values()])
        elif isinstance(one, (list, tuple, set, frozenset)):
            waiting.extend(one)
        elif not callable(one) and not isinstance(one, ModuleType):
            slots = [name for kind in type(one).__mro__ for name in getattr(kind, "__slots__", ())]
            waiting.extend(getattr(one, name) for name in [*slots, *getattr(one, "__dict__", {})] if hasattr(one, name))
    return total
