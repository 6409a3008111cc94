"""The target `ivf_pq_l2`: one query of an IVF_PQ index, L2: the partitions to visit are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_lance_ar.targets.ivf_pq_l2.target import TARGET

__all__ = ["TARGET"]


def __getattr__(name: str) -> object:
    # A kernel's process imports the driver from here, and needs nothing of what judges it.
    if name == "TARGET":
        from pytest_lance_ar.targets.ivf_pq_l2.target import TARGET

        return TARGET
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
