"""Checks of a driver inside the kernel's own process.

They run beside code that nobody trusts, and give honest mistakes a clear sentence; what counts is compared by the gate,
from the bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from pytest_lance_ar.targets.contract import ContractBroken


def class_of(module: ModuleType, name: str) -> Any:
    """The class that the kernel file must define."""
    kernel_class = getattr(module, name, None)
    if kernel_class is None:
        raise ContractBroken(f"the kernel file defines no {name}")
    return kernel_class


def must_have(kernel: object, class_name: str, *methods: str) -> None:
    """Methods that a kernel object must have."""
    for name in methods:
        if not callable(getattr(kernel, name, None)):
            raise ContractBroken(f"{class_name} has no method {name}")


def top_k_taker(method: str, ids_out: Any, distances_out: Any) -> Callable[[object], None]:
    """What copies a method's answer, the tuple (ids, distances), into these arrays, of the length that it must have."""
    wanted = ids_out.shape
    array, int64, float32 = np.ndarray, np.dtype(np.int64), np.dtype(np.float32)

    def take(answer: object) -> None:  # it is timed with the kernel: no more in it than must be
        if type(answer) is not tuple or len(answer) != 2:
            raise ContractBroken(f"{method} must return the tuple (ids, distances), not {describe(answer)}")
        ids, distances = answer
        if type(ids) is not array or ids.dtype != int64 or ids.shape != wanted:
            raise ContractBroken(f"{method} must return ids as int64 of shape {wanted}, not {describe(ids)}")
        if type(distances) is not array or distances.dtype != float32 or distances.shape != wanted:
            raise ContractBroken(
                f"{method} must return distances as float32 of shape {wanted}, not {describe(distances)}"
            )
        ids_out[:] = ids
        distances_out[:] = distances

    return take


def describe(value: object) -> str:
    if type(value) is np.ndarray:
        return f"{value.dtype} of shape {value.shape}"
    if type(value) is tuple:
        return f"a tuple of {len(value)}"
    return f"a {type(value).__name__}"
