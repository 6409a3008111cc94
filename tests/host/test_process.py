"""A stop is seen, what runs all the same is found out by its CPU clock, and nothing is waited for without end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from pytest_lance_ar.host import process
from pytest_lance_ar.host.parent import KernelFault, KernelHost
from pytest_lance_ar.host.platform import timing_core
from pytest_lance_ar.host.process import KernelProcess, RanUnasked
from pytest_lance_ar.targets.common.pq.cases import DrawnCase
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.pq_l2.metric import L2
from pytest_lance_ar.targets.registry import targets
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.evidence import FaultKind

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="kernels are stopped on Linux alone")
DRIVER = targets()["pq_l2"].driver
INSTANCE = DrawnCase(L2, PqShape(8, 2, 16), "gaussian", seed=1, n=30, k=5).instance()
BUSY = "while True: pass"


def started(program: str, *, seconds: float = 100.0) -> KernelProcess:
    popen = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
    return KernelProcess(popen, dies_at=time.time() + seconds, timed=True)


@pytest.fixture
def busy() -> Iterator[KernelProcess]:
    one = started(BUSY)
    yield one
    one.end()


def let_go(one: KernelProcess) -> None:
    one.look()
    one.go_on()


def cpu_ns(of: KernelProcess) -> int:
    return time.clock_gettime_ns((~of.pid << 3) | 2)


def used(of: KernelProcess, ns: int) -> None:
    """Wait until a process has used so much CPU time."""
    while cpu_ns(of) < ns:
        time.sleep(0.001)


def test_a_stopped_process_does_not_run_and_goes_on_later(busy: KernelProcess) -> None:
    for _ in range(3):
        let_go(busy)
        used(busy, cpu_ns(busy) + 10_000_000)
        busy.settle()
        before = cpu_ns(busy)
        time.sleep(0.02)
        assert cpu_ns(busy) == before


def test_who_runs_while_stopped_is_found_out(busy: KernelProcess) -> None:
    let_go(busy)
    busy.settle()
    os.kill(busy.pid, signal.SIGCONT)
    used(busy, cpu_ns(busy) + 10_000_000)
    os.kill(busy.pid, signal.SIGSTOP)
    with pytest.raises(RanUnasked, match="while it was stopped"):
        let_go(busy)


def test_one_is_seen_to_be_stopped_before_another_goes_on(busy: KernelProcess) -> None:
    let_go(busy)
    used(busy, cpu_ns(busy) + 10_000_000)
    busy.halt()
    other = started("import time; time.sleep(1000)")
    let_go(other)
    before = cpu_ns(busy)
    time.sleep(0.02)
    assert cpu_ns(busy) == before
    os.kill(busy.pid, signal.SIGCONT)
    used(busy, cpu_ns(busy) + 10_000_000)
    with pytest.raises(RanUnasked, match="while it was stopped"):
        let_go(busy)
    other.end()


def test_who_computes_behind_answers_is_found_out(busy: KernelProcess) -> None:
    def answer_often() -> None:
        for _ in range(10):
            let_go(busy)
            busy.answered()
            used(busy, cpu_ns(busy) + 5_000_000)
            busy.halt()

    with pytest.raises(RanUnasked, match="behind"):
        answer_often()


def test_who_waits_behind_answers_is_not() -> None:
    one = started("import time; time.sleep(1000)")
    for _ in range(200):
        let_go(one)
        one.answered()
        one.halt()
    one.end()


def test_a_process_that_is_gone_is_no_error() -> None:
    one = started("pass")
    assert one.ended_by_itself(100.0) == 0
    let_go(one)
    one.answered()
    one.halt()
    one.kill()
    one.end()
    one.end()


def test_the_watchdog_ends_a_process_that_is_waited_for() -> None:
    one = started(BUSY, seconds=0.5)
    assert one.ended_by_itself(100.0) == -signal.SIGKILL
    one.end()


CONTINUES = """
import ctypes, signal, threading
signal.signal(18, lambda *_: None)
libc = ctypes.CDLL(None, use_errno=True)
event = (ctypes.c_char * 64)()
ctypes.c_int.from_buffer(event, 8).value = 18  # SIGCONT
timer = ctypes.c_void_p()
assert libc.timer_create(1, event, ctypes.byref(timer)) == 0

def burn():
    while True: pass

threading.Thread(target=burn, daemon=True).start()

class PqKernel:
    def __init__(self, shape, codebook):
        assert libc.timer_settime(timer, 0, (ctypes.c_long * 4)(0, 0, 0, 300_000_000), None) == 0
    def distance_table(self, query, out): pass
    def probe_top_k(self, table, codes, k): pass
"""


def test_a_kernel_that_continues_itself_is_tampering() -> None:
    """Without the wall that would have refused it a timer."""

    other = started("import time; time.sleep(1000)")

    def build_often(host: KernelHost) -> None:
        for _ in range(60):  # on an idle machine the first is enough
            host.build(INSTANCE)
            let_go(other)  # as the rival is, whose turn it is then
            time.sleep(0.5)

    with KernelHost(DRIVER, core=timing_core(), deadline=Deadline.after(100), confined=False) as host:
        host.load(CONTINUES.encode(), "kernel.py")
        with pytest.raises(KernelFault, match="where it is not timed") as caught:
            build_often(host)
    other.end()
    assert caught.value.failure.kind is FaultKind.TAMPERED


def test_the_end_of_a_process_is_not_waited_for_without_end(
    busy: KernelProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of one that the system cannot kill."""
    monkeypatch.setattr(process, "END_SECONDS", 0.2)
    with monkeypatch.context() as patch:
        patch.setattr(KernelProcess, "_signal", lambda _self, _number: None)
        busy.end()
    assert busy.popen.poll() is None
    os.kill(busy.pid, signal.SIGKILL)
    busy.popen.wait()
