"""Every way to keep the gate waiting ends in time, without the walls that would refuse most of them."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator

import pytest

from pytest_lance_ar.host.parent import KernelFault, KernelHost
from pytest_lance_ar.targets.common.pq.cases import DrawnCase
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.pq_l2.metric import L2
from pytest_lance_ar.targets.registry import targets
from pytest_lance_ar.trial.deadline import Deadline

pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="most of these are ways of Linux"),
]
SECONDS = 1
"""What the kernel has."""
HUNG = 90
"""When the gate is held to hang; on an idle machine all is over after three seconds."""
DRIVER = targets()["pq_l2"].driver
INSTANCE = DrawnCase(L2, PqShape(8, 2, 16), "gaussian", seed=1, n=30, k=5).instance()
HEAD = """
import ctypes, fcntl, gc, os, signal, socket, struct, sys, threading, time
import numpy as np
libc = ctypes.CDLL(None, use_errno=True)
frame = sys._getframe()
while frame.f_code.co_name != "serve":
    frame = frame.f_back
requests, replies = frame.f_locals["requests"], frame.f_locals["replies"]
channel = next(o for o in gc.get_objects() if isinstance(o, socket.socket))

def forever():
    while True:
        time.sleep(100)

def nothing():
    pass

def stop():
    os.kill(os.getpid(), signal.SIGSTOP)

def again(descriptor, flags):
    return os.open(f"/proc/self/fd/{descriptor}", flags)

def fill(descriptor):
    os.set_blocking(descriptor, False)
    try:
        while True:
            os.write(descriptor, bytes(4096))
    except BlockingIOError:
        pass

def fill_requests():
    fill(again(requests, os.O_WRONLY))

def shrink_and_fill_requests():
    fcntl.fcntl(requests, 1031, 4096)
    fill_requests()

def drain_requests():
    def drain():
        while True:
            os.read(requests, 1)
    threading.Thread(target=drain, daemon=True).start()
    forever()

def steal_replies():
    reader = again(replies, os.O_RDONLY)
    def steal():
        while True:
            os.read(reader, 1)
    threading.Thread(target=steal, daemon=True).start()

def fill_replies():
    fill(replies)
    forever()

def close_replies():
    os.close(replies)
    forever()

def close_channel():
    channel.close()
    forever()

def close_everything():
    os.closerange(0, 256)
    forever()

def keep_replies_open():
    os.dup(replies)
    os.close(replies)
    forever()

def half_a_message():
    channel.sendall(struct.pack("<I", 1000) + b"{")
    forever()

def a_message_without_end():
    channel.sendall(struct.pack("<I", 1 << 20))
    while True:
        channel.sendall(b" ")
        time.sleep(0.1)

def a_full_socket():
    channel.setblocking(True)
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    forever()

def an_heir():
    if os.fork():
        os._exit(0)
    os.setsid()
    forever()

def a_child_that_is_waited_for():
    pid = libc.vfork()
    if pid == 0:
        while True:
            libc.sleep(100)

def deaf():
    for number in range(1, 32):
        try:
            signal.signal(number, signal.SIG_IGN)
        except OSError:
            pass
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
    forever()

class Slow(Exception):
    def __str__(self):
        forever()

def an_exception_that_is_never_told():
    raise Slow

class Clinging:
    def __del__(self):
        forever()
"""
KERNEL = """
class PqKernel:
    def __init__(self, shape, codebook):
        self.clinging = Clinging() if AT == "drop" else None
        if AT == "build": act()
    def pack_codes(self, codes):
        if AT == "pack": act()
        return codes
    def distance_table(self, query, out):
        if AT == "call": act()
        out[:] = 0
    def probe_top_k(self, table, codes, k):
        return np.arange(k), np.zeros(k, np.float32)
if AT == "load": act()
"""
ACTS = (
    *(
        "forever",
        "stop",
        "fill_requests",
        "shrink_and_fill_requests",
        "drain_requests",
        "steal_replies",
        "fill_replies",
    ),
    *("close_replies", "close_channel", "close_everything", "keep_replies_open", "half_a_message"),
    *("a_message_without_end", "a_full_socket", "an_heir", "deaf", "an_exception_that_is_never_told"),
)
STAGES = ("load", "build", "pack", "call")
WAYS = [(act, STAGES[number % len(STAGES)]) for number, act in enumerate(ACTS)]
WAYS += [("stop", "load"), ("fill_requests", "load"), ("steal_replies", "pack"), ("a_full_socket", "load")]
WAYS += [("forever", "call"), ("nothing", "drop")]


@pytest.fixture(autouse=True)
def impatience() -> Iterator[None]:
    def give_up(*_: object) -> None:
        raise AssertionError("the gate hung")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(HUNG)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def use(host: KernelHost, source: str) -> None:
    host.load(source.encode(), "kernel.py")
    kernel = host.build(INSTANCE)
    pack, _ = host.pack(kernel, INSTANCE.packs[0])
    for i in range(200):  # of two who read the same reply, either may be first
        pack.call(i % 3)
    host.drop(kernel, [pack])
    host.build(INSTANCE)


@pytest.mark.parametrize(("act", "stage"), WAYS)
def test_no_way_to_keep_the_gate_waiting_works(act: str, stage: str) -> None:
    source = f"{HEAD}\nact, AT = {act}, {stage!r}\n{KERNEL}"
    with KernelHost(DRIVER, core=None, deadline=Deadline.after(1000), confined=False) as host:
        host.await_start()
        host.deadline = Deadline.after(SECONDS)
        with pytest.raises(KernelFault) as caught:
            use(host, source)
    assert caught.value.failure.sentence.isprintable()
