"""What the gate computes itself ends at its deadline and at an interrupt, and no thread of it is waited for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from pytest_lance_ar.host.alarm import OutOfTime, alarm, in_time, on_two_cores
from pytest_lance_ar.host.parent import KernelFault
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.evidence import FaultKind


def compute_forever() -> None:
    while True:
        try:
            sum(range(1000))
        except Exception:  # what it is ended by is none
            continue


def test_a_computation_ends_behind_its_deadline() -> None:
    deadline = Deadline.after(0.05)
    with pytest.raises(OutOfTime), alarm(deadline, grace=0.05):
        compute_forever()
    assert deadline.passed


def test_it_is_told_as_a_timeout() -> None:
    with pytest.raises(KernelFault) as caught, in_time(Deadline.after(-0.9)):
        compute_forever()
    assert caught.value.failure.kind is FaultKind.TIMEOUT


def test_what_is_in_time_is_left_alone_and_the_alarm_before_stays() -> None:
    rang: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda *_: rang.append(1))
    signal.setitimer(signal.ITIMER_REAL, 100)
    try:
        with alarm(Deadline.after(50)):
            pass
        assert 50 < signal.getitimer(signal.ITIMER_REAL)[0] <= 100
        os.kill(os.getpid(), signal.SIGALRM)
        assert rang == [1]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_in_another_thread_nothing_is_ended() -> None:
    ended: list[bool] = []

    def run() -> None:
        with alarm(Deadline.after(-10)):
            ended.append(True)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert ended == [True]


def test_work_comes_back_in_order() -> None:
    assert on_two_cores(lambda n: n * n, range(20)) == [n * n for n in range(20)]
    assert on_two_cores(lambda n: n, []) == []


def test_a_failure_is_told_without_waiting_for_the_others() -> None:
    forever = threading.Event()

    def work(n: int) -> None:
        if n:
            raise ValueError(n)
        forever.wait()

    with pytest.raises(ValueError, match="1"):
        on_two_cores(work, [0, 1])
    forever.set()


def test_an_interrupted_process_ends_though_its_threads_would_not() -> None:
    program = (
        "import sys, time\n"
        "from pytest_lance_ar.host.alarm import on_two_cores\n"
        "print('on', flush=True)\n"
        "on_two_cores(lambda _: time.sleep(1000), [1, 2, 3])\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == -signal.SIGINT
