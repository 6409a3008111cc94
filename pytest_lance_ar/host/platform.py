"""What the machine offers for a quiet measurement. What it lacks is done without, and said in the report's header."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def timing_core() -> int | None:
    """The core that kernels are timed on: the highest one allowed, since the first serves most interrupts.

    None where processes cannot be pinned (macOS).
    """
    if not hasattr(os, "sched_getaffinity"):
        return None
    return max(os.sched_getaffinity(0))


def pin(core: int | None) -> None:
    """Pin the calling process to a core."""
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


@contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """Pin this process to a core, and let it go again."""
    if core is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def die_with_parent() -> bool:
    """Have the kernel of Linux kill this process when the thread that started it ends."""
    if not sys.platform.startswith("linux"):
        return False
    pr_set_pdeathsig = 1
    return bool(ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0) == 0)


def peak_resident_bytes(pid: int) -> int | None:
    """The most memory that a live process ever had resident. None where /proc does not say."""
    with suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None


def cpu_name() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def lacking() -> list[str]:
    """What this platform lacks of what the gate would use, in words."""
    lacks = []
    if not hasattr(os, "sched_setaffinity"):
        lacks.append("core pinning")
    if not sys.platform.startswith("linux"):
        lacks.append("parent-death signal")
    return lacks
