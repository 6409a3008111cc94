"""Arrays that lie against inaccessible memory, and who touches it.

During the correctness suite every array of the contract ends where such memory begins, or begins where it ends; what
the kernel must not write is read-only for the hardware as well. So a read or write outside an array, by one byte, is a
fault of the processor, and the handler in here makes a sentence of it. It is not there to keep a kernel in: one that
means to can undo it, and only a kernel that fails is ever told of by it.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import os
import signal
import sys
import weakref
import zlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.host.wire import Layout

FENCE: Final = 1 << 16
"""Bytes that nobody may touch on each side of an array: whole pages, whatever their size is."""
CANARY: Final = 0xA5
"""What the rest of an array's last page is filled with, where the kernel may write."""

_NOTHING, _READ, _BOTH = 0, 1, 3
_SIGINFO: Final = 0x4 if sys.platform.startswith("linux") else 0x40
_ADDRESS_OFFSET: Final = 16 if sys.platform.startswith("linux") else 24
"""Where siginfo_t has the address, on machines of 64 bits."""
_HANDLER: Final = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


class _Sigaction(ctypes.Structure):
    """struct sigaction of Linux (glibc, musl), or of macOS."""

    _fields_ = (
        [
            ("handler", _HANDLER),
            ("mask", ctypes.c_ulong * 16),
            ("flags", ctypes.c_int),
            ("restorer", ctypes.c_void_p),
        ]
        if sys.platform.startswith("linux")
        else [("handler", _HANDLER), ("mask", ctypes.c_uint32), ("flags", ctypes.c_int)]
    )


def offered() -> bool:
    """Whether this platform makes memory inaccessible when asked to."""
    memory = mmap.mmap(-1, mmap.PAGESIZE)
    try:
        return FENCE % mmap.PAGESIZE == 0 and _protect(_address(memory), mmap.PAGESIZE, _NOTHING)
    except (AttributeError, OSError):
        return False


def layout_of(arrays: Mapping[str, tuple[str, tuple[int, ...]]], start: int, salt: bytes) -> tuple[Layout, int]:
    """Place arrays from byte `start`, each on pages of its own between two fences, at the beginning of these pages or
    at their end, as `salt` and its name have it: the layout, and its end."""
    layout: Layout = {}
    for name, (dtype, shape) in arrays.items():
        size, pages = _size(dtype, shape), _pages(dtype, shape)
        at_end = size and zlib.crc32(salt + name.encode()) & 1
        layout[name] = (dtype, shape, start + FENCE + (pages - size if at_end else 0))
        start += FENCE + pages
    return layout, start + FENCE


def slack(segment: int, layout: Layout) -> list[tuple[str, NDArray[np.uint8]]]:
    """What the pages of each array have besides it: its name, and these bytes."""
    memory, rests = mmap.mmap(segment, os.fstat(segment).st_size), []
    for name, (dtype, shape, offset) in layout.items():
        first, size = _first_page(offset), _size(dtype, shape)
        for start, stop in ((first, offset), (offset + size, first + _pages(dtype, shape))):
            if start < stop:
                rests.append((name, np.frombuffer(memory, np.uint8, stop - start, start)))
    return rests


class Fences:
    """The fenced arrays of this process."""

    def __init__(self, told: Callable[[str], None], words: Mapping[str, str]) -> None:
        """told: what to do with "read or wrote outside an array: ...", in a process that cannot go on. words: what
        arrays are called, where not by their names."""
        self._told = told
        self._words = words
        self._arrays: weakref.WeakKeyDictionary[mmap.mmap, list[tuple[str, int, int, bool]]] = (
            weakref.WeakKeyDictionary()
        )
        self._handler = _HANDLER(self._fault)  # kept, since C holds its address
        action = _Sigaction(handler=self._handler, flags=_SIGINFO)
        for number in (signal.SIGSEGV, signal.SIGBUS):
            _libc().sigaction(int(number), ctypes.byref(action), None)

    def map_segment(self, segment: int, inputs: Layout, outputs: Layout) -> dict[str, NDArray[Any]]:
        """Map a segment and fence its arrays: those that may only be read, and those that are written."""
        memory = mmap.mmap(segment, os.fstat(segment).st_size)
        base, known = _address(memory), []
        _protect(base, len(memory), _NOTHING)
        for layout, access in ((inputs, _READ), (outputs, _BOTH)):
            for name, (dtype, shape, offset) in layout.items():
                if _size(dtype, shape):  # an empty array has no byte that may be touched
                    _protect(base + _first_page(offset), _pages(dtype, shape), access)
                known.append((name, base + offset, base + offset + _size(dtype, shape), access == _READ))
        self._arrays[memory] = known
        views = {
            name: np.ndarray(shape, np.dtype(dtype), memory, offset)
            for name, (dtype, shape, offset) in {**inputs, **outputs}.items()
        }
        for name in inputs:
            views[name].setflags(write=False)
        return views

    def _fault(self, number: int, info: int, _context: int) -> None:
        address = ctypes.c_void_p.from_address(info + _ADDRESS_OFFSET).value or 0
        sentence = self.touch(address)
        if sentence:
            self._told(sentence)
        _libc().signal(number, None)  # and the same instruction ends the process as it would have

    def touch(self, address: int) -> str:
        """What a touch of this address is, "" when it is near no array."""
        near = []
        for memory, arrays in list(self._arrays.items()):
            base = _address(memory)
            if base <= address < base + len(memory):
                near += arrays
        if not near:
            return ""

        def distance(array: tuple[str, int, int, bool]) -> int:
            _, start, stop, _ = array
            return max(start - address, address - stop + 1, 0)

        name, start, stop, read_only = min(near, key=distance)
        if start <= address < stop:
            return f"wrote to its input {name}, which is read-only" if read_only else ""
        place = f"byte {start - address} before" if address < start else f"byte {address - stop + 1} behind"
        return f"read or wrote outside an array: {place} {self._words.get(name, f'`{name}`')}"


def _size(dtype: str, shape: tuple[int, ...]) -> int:
    return math.prod(shape) * np.dtype(dtype).itemsize


def _pages(dtype: str, shape: tuple[int, ...]) -> int:
    """Bytes of the whole pages that an array needs; one page where it has no element."""
    return max(-(-_size(dtype, shape) // mmap.PAGESIZE), 1) * mmap.PAGESIZE


def _first_page(offset: int) -> int:
    return offset // mmap.PAGESIZE * mmap.PAGESIZE


def _address(memory: mmap.mmap) -> int:
    return int(np.frombuffer(memory, np.uint8, 1).__array_interface__["data"][0])


@lru_cache(maxsize=1)
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None)
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return libc


def _protect(address: int, size: int, access: int) -> bool:
    return bool(_libc().mprotect(address, size, access) == 0)
