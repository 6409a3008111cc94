"""What the gate and a kernel's process agree on: messages, and arrays in shared memory.

Two channels. Slow operations (load, build, pack, drop) are JSON messages over a Unix socket, with a shared-memory
segment passed along where arrays are. A call is four bytes down a pipe and one byte back: the cheapest round trip
there is on one core, and all that stands between the gate's clock and the kernel.
"""

from __future__ import annotations

import fcntl
import json
import math
import mmap
import os
import socket
import struct
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

CALL: Final = struct.Struct("<i")
CONTROL: Final = CALL.pack(-1)
"""In place of a slot's number: a message waits on the socket."""
DONE: Final = b"\x00"
FAILED: Final = b"\x01"

LENGTH: Final = struct.Struct("<I")
_MAX_MESSAGE: Final = 1 << 20
_ALIGNMENT: Final = 64

Layout = dict[str, tuple[str, tuple[int, ...], int]]
"""Arrays in a segment: name -> (dtype, shape, offset in bytes)."""


class ProtocolError(Exception):
    """What arrived is not a message of this protocol."""


def send(
    channel: socket.socket, message: dict[str, Any], segment: int | None = None, seconds: float | None = None
) -> None:
    """Send a message, and a segment with it. Raises TimeoutError when nobody takes it within so many seconds."""
    body = json.dumps(message).encode()
    ends = math.inf if seconds is None else time.monotonic() + seconds
    _allow(channel, ends)
    if segment is None:
        channel.sendall(LENGTH.pack(len(body)))
    else:
        socket.send_fds(channel, [LENGTH.pack(len(body))], [segment])
    _allow(channel, ends)
    channel.sendall(body)


def receive(channel: socket.socket, seconds: float | None = None) -> tuple[dict[str, Any], int | None]:
    """The next message and the segment that came with it.

    Raises EOFError when the other side is gone, TimeoutError when it is not all there after so many seconds.
    """
    ends = math.inf if seconds is None else time.monotonic() + seconds

    _allow(channel, ends)
    head, segments, _, _ = socket.recv_fds(channel, LENGTH.size, 1)
    while head and len(head) < LENGTH.size:
        _allow(channel, ends)
        more = channel.recv(LENGTH.size - len(head))
        head = head + more if more else b""
    if not head:
        raise EOFError
    (length,) = LENGTH.unpack(head)
    if length > _MAX_MESSAGE:
        raise ProtocolError(f"a message of {length} bytes")
    body = bytearray()
    while len(body) < length:
        _allow(channel, ends)
        more = channel.recv(min(length - len(body), 1 << 16))
        if not more:
            raise EOFError
        body += more
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ProtocolError("a message that is no JSON") from error
    if not isinstance(message, dict):
        raise ProtocolError("a message that is no object")
    return message, segments[0] if segments else None


def _allow(channel: socket.socket, ends: float) -> None:
    """Give what is done next with a channel the time until `ends`. Raises TimeoutError when there is none left."""
    left = ends - time.monotonic()
    if left <= 0:
        raise TimeoutError
    channel.settimeout(None if math.isinf(left) else left)


def layout_of(arrays: Mapping[str, tuple[str, tuple[int, ...]]], start: int = 0) -> tuple[Layout, int]:
    """Place arrays one after the other from byte `start`, each on its own cache line: the layout and its end."""
    layout: Layout = {}
    for name, (dtype, shape) in arrays.items():
        layout[name] = (dtype, shape, start)
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        start += -(-size // _ALIGNMENT) * _ALIGNMENT
    return layout, start


def new_segment(size: int) -> int:
    """The file descriptor of `size` bytes of anonymous memory that another process can map."""
    try:
        segment = os.memfd_create("lance-ar", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    except (AttributeError, OSError):  # macOS, or a container that forbids it
        segment, path = tempfile.mkstemp(prefix="lance-ar-")
        Path(path).unlink()
        os.ftruncate(segment, max(size, 1))
        return segment
    os.ftruncate(segment, max(size, 1))
    # Whoever reads behind the end of a file that another process cut is killed for it: the size stays.
    fcntl.fcntl(segment, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return segment


def map_segment(segment: int, layout: Layout) -> dict[str, NDArray[Any]]:
    """The arrays of a segment, by name. The mapping lives as long as they do; the descriptor may be closed."""
    memory = mmap.mmap(segment, os.fstat(segment).st_size)
    return {name: np.ndarray(shape, np.dtype(dtype), memory, offset) for name, (dtype, shape, offset) in layout.items()}
