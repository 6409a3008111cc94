"""What the machine offers for a quiet measurement. What it lacks is done without, and said in the report's header."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Final

from pytest_lance_ar.host import cgroup, confinement

STOPS: Final = sys.platform.startswith("linux")
"""Whether a kernel is stopped while nobody waits for it. Elsewhere it could not be killed should the gate be."""
THREAD_VARIABLES: Final = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
MOST_PATIENCE: Final = 10.0
_MARKS: Final = ("/.dockerenv", "/run/.containerenv")
"""What Docker and Podman put into every container."""
_ADDR_NO_RANDOMIZE: Final = 0x0040000
_ASK: Final = 0xFFFFFFFF


def one_thread() -> None:
    """Have numpy's matrix products run in the thread that asks: idle threads of BLAS take turns on the timing core.

    Without effect where numpy is imported already.
    """
    if "numpy" not in sys.modules:
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))


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


@contextmanager
def kept_to(core: int | None) -> Iterator[None]:
    """Keep this thread, and what it starts, on a core where there is but one other: who is waited for has that."""
    two = hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) == 2
    with pinned(core if two else None):
        yield


@contextmanager
def kept_off(core: int | None) -> Iterator[None]:
    """Keep this thread, and the processes that it starts, off a core, if there is another one."""
    others = os.sched_getaffinity(0) - {core} if hasattr(os, "sched_getaffinity") and core is not None else set()
    if not others:
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, others)
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


@contextmanager
def fixed_addresses() -> Iterator[bool]:
    """Have the processes that this thread starts meanwhile laid out alike in memory; yields whether they are.

    Address-space randomisation decides which branches and cache lines collide: of processes with the same kernel, one
    in six took 4 us more for every call than the others, for as long as it lived. See personality(2).
    """
    if not sys.platform.startswith("linux"):
        yield False
        return
    personality = ctypes.CDLL(None).personality
    personality.argtypes = [ctypes.c_ulong]
    before = personality(_ASK)
    fixed = before != -1 and personality(before | _ADDR_NO_RANDOMIZE) != -1  # a container may forbid it
    try:
        yield fixed
    finally:
        if fixed:
            personality(before)


def adopt_orphans() -> None:
    """Have processes that lose their parent become children of this one, however they left it."""
    if sys.platform.startswith("linux"):
        pr_set_child_subreaper = 36
        ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0)


def kill_strays(known: Collection[int]) -> None:
    """Kill the children of this process that live in a session of their own and are not known: adopted orphans."""
    for _ in range(1000):  # each that dies may leave children in turn
        strays = [pid for pid in _children_in_other_sessions() if pid not in known]
        if not strays:
            return
        for pid in strays:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def _children_in_other_sessions() -> list[int]:
    children = []
    with suppress(OSError):
        for entry in os.scandir("/proc"):
            if not entry.name.isdecimal():
                continue
            with suppress(OSError):
                _state, parent, _group, session = Path(entry.path, "stat").read_text().rpartition(")")[2].split()[:4]
                if int(parent) == os.getpid() and int(session) != os.getsid(0):
                    children.append(int(entry.name))
    return children


def peak_resident_bytes(pid: int) -> int | None:
    """The most memory that a live process ever had resident. None where /proc does not say."""
    with suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None


def first_to_be_killed() -> None:
    """Have the system kill this process before others, when it runs out of memory: not the gate."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


@lru_cache(maxsize=1)
def patience() -> float:
    """How many times as long as elsewhere a kernel may take where the CPU time is limited to less than a core."""
    cores = cgroup.limits().cores
    return 1.0 if cores is None else min(MOST_PATIENCE, max(1.0, 1 / cores))


def container() -> str:
    """What a container leaves of its machine, in words; "" outside of one, as far as one can tell."""
    limits, words = cgroup.limits(), []
    if limits.memory is not None:
        words.append(f"{limits.memory / 1e6:.0f} MB")
    if limits.cores is not None:
        words.append(f"{limits.cores:g} cores of CPU time")
    if any(Path(mark).exists() for mark in _MARKS):
        words.append("no sight of gates in others")
    return ", ".join(words)


def cpu_name() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


@lru_cache(maxsize=1)
def compiled_for() -> str:
    """What machine code depends on besides its source: processor, interpreter and compiler, without importing any."""
    versions = [f"{name} {version(name)}" for name in ("numba", "llvmlite", "numpy")]
    flags = ""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        flags = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return "\n".join([platform.machine(), cpu_name(), flags, sys.version, *versions])


def lacking() -> list[str]:
    """What this platform lacks of what the gate would use, in words."""
    lacks = []
    if not hasattr(os, "sched_setaffinity"):
        lacks.append("core pinning")
    if not STOPS:
        lacks.append("stopping kernels between calls")
    with fixed_addresses() as fixed:
        if not fixed:
            lacks.append("fixed addresses")
    from pytest_lance_ar.host import fences  # imports numpy, which `one_thread` must come before

    if not fences.offered():
        lacks.append("inaccessible memory around arrays")
    offered = confinement.offered()
    return lacks + [wall for wall in confinement.WALLS if wall not in offered]
