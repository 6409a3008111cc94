"""The target `pq_dot`: inner products of a query with product-quantized vectors, the largest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_lance_ar.targets.pq_dot.target import TARGET

__all__ = ["TARGET"]


def __getattr__(name: str) -> object:
    # A kernel's process imports the driver from here, and needs nothing of what judges it.
    if name == "TARGET":
        from pytest_lance_ar.targets.pq_dot.target import TARGET

        return TARGET
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
