"""Drives a `PqDotKernel` inside the kernel's own process."""

from __future__ import annotations

from pytest_lance_ar.targets.common.pq.driver import PqDriver


class Driver(PqDriver):
    """One kernel object."""

    kernel_class = "PqDotKernel"
