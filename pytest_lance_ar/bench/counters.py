"""What the processor counts of a process while it runs, where the host offers it: Linux' perf_event_open."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Final

EVENTS: Final = {"cycles": 0, "instructions": 1, "cache_misses": 3, "branch_misses": 5}
"""By their numbers among PERF_TYPE_HARDWARE. Cache misses are those of the last level."""
_HARDWARE: Final = 0
_SYSTEM_CALL: Final = {"x86_64": 298, "aarch64": 241}
_ATTRIBUTES: Final = 128
_FLAGS_AT: Final = 40
_EXCLUDE_KERNEL: Final = 1 << 5
_EXCLUDE_HYPERVISOR: Final = 1 << 6
_READ_FORMAT_AT: Final = 32
_TIMES: Final = 1 | 2
"""Read with the time that the event was enabled for, and that it ran: there may be fewer counters than events."""
_CLOSE_ON_EXEC: Final = 8

Open = Callable[[int, int], int]
"""(event, process) -> descriptor. Raises OSError."""


class Counters:
    """The events of a process's user code, counted from here on. `lacking` says why there are none, else "".

    Use as a context manager.
    """

    def __init__(self, pid: int, open_event: Open | None = None) -> None:
        self.lacking = ""
        self._descriptors: dict[str, int] = {}
        opened = open_event or _open_event
        for name, event in EVENTS.items():
            try:
                self._descriptors[name] = opened(event, pid)
            except OSError as error:
                self.lacking = f"no hardware counters here ({error.strerror or error})"
        if self._descriptors:
            self.lacking = ""

    def __enter__(self) -> Counters:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for descriptor in self._descriptors.values():
            with suppress(OSError):
                os.close(descriptor)

    def read(self) -> dict[str, float]:
        """How much was counted until now, by name; an event that shared its counter is scaled up."""
        counts = {}
        for name, descriptor in self._descriptors.items():
            value, enabled, ran = struct.unpack("QQQ", os.read(descriptor, 24))
            counts[name] = value * enabled / ran if ran else 0.0
        return counts


def per_call(before: Mapping[str, float], after: Mapping[str, float], calls: int) -> dict[str, float]:
    return {name: (after[name] - count) / calls for name, count in before.items()}


def _open_event(event: int, pid: int) -> int:
    number = _SYSTEM_CALL.get(platform.machine())
    if platform.system() != "Linux" or number is None:
        raise OSError(0, "not Linux on x86-64 or arm64")
    attributes = bytearray(_ATTRIBUTES)
    struct.pack_into("IIQ", attributes, 0, _HARDWARE, _ATTRIBUTES, event)
    struct.pack_into("Q", attributes, _READ_FORMAT_AT, _TIMES)
    struct.pack_into("Q", attributes, _FLAGS_AT, _EXCLUDE_KERNEL | _EXCLUDE_HYPERVISOR)
    library = ctypes.CDLL(None, use_errno=True)
    buffer = (ctypes.c_char * _ATTRIBUTES).from_buffer(attributes)
    descriptor = int(library.syscall(number, buffer, pid, -1, -1, _CLOSE_ON_EXEC))
    if descriptor < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"perf_event_open: {os.strerror(code)}")
    return descriptor
