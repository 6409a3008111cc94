"""Messages and shared arrays between the gate and a kernel's process."""

from __future__ import annotations

import os
import socket
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from pytest_lance_ar.host import wire


@given(
    st.dictionaries(
        st.text(max_size=5),
        st_numpy.arrays(
            st.sampled_from(["uint8", "float32", "int64"]), st_numpy.array_shapes(min_dims=0, min_side=0, max_side=7)
        ),
        max_size=4,
    )
)
def test_arrays_arrive_unchanged_and_apart(arrays: dict[str, np.ndarray]) -> None:
    layout, size = wire.layout_of({name: (str(array.dtype), array.shape) for name, array in arrays.items()})
    segment = wire.new_segment(size)
    try:
        for name, view in wire.map_segment(segment, layout).items():
            view[...] = arrays[name]
        for name, view in wire.map_segment(segment, layout).items():
            np.testing.assert_array_equal(view, arrays[name])
            assert view.dtype == arrays[name].dtype
            assert view.ctypes.data % 64 == 0
    finally:
        os.close(segment)


def test_a_message_travels_with_its_segment() -> None:
    left, right = socket.socketpair()
    segment = wire.new_segment(8)
    with left, right:
        wire.send(left, {"operation": "pack", "n": 3}, segment)
        wire.send(left, {"operation": "drop"})
        message, received = wire.receive(right)
        assert message == {"operation": "pack", "n": 3}
        assert received is not None
        os.write(received, b"12345678")
        assert os.pread(segment, 8, 0) == b"12345678"
        assert wire.receive(right) == ({"operation": "drop"}, None)
        os.close(received)
        os.close(segment)


def test_a_long_message_arrives_whole() -> None:
    left, right = socket.socketpair()
    text = "x" * 500_000
    with left, right:
        sender = threading.Thread(target=wire.send, args=(left, {"message": text}))
        sender.start()
        assert wire.receive(right)[0] == {"message": text}
        sender.join()


@pytest.mark.parametrize(
    ("written", "error"),
    [
        (b"", EOFError),
        (b"\x05", EOFError),
        (b"\x05\x00\x00\x00{}", EOFError),
        (b"\x02\x00\x00\x00[]", wire.ProtocolError),
        (b"\x02\x00\x00\x00no", wire.ProtocolError),
        (b"\xff\xff\xff\xff", wire.ProtocolError),
    ],
)
def test_what_is_no_message_is_refused(written: bytes, error: type[Exception]) -> None:
    left, right = socket.socketpair()
    with right:
        left.sendall(written)
        left.close()
        with pytest.raises(error):
            wire.receive(right)
