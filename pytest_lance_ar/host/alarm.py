"""Ends a computation of the gate's own when the time is up, however long it would go on, and lets no thread hold it."""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Final, TypeVar

from pytest_lance_ar.host.parent import KernelFault
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.evidence import Failure, FaultKind

GRACE_SECONDS: Final = 1.0
"""How long behind its deadline a computation is ended: who waits for a kernel has found out by then, and says more."""
LATE: Final = Failure(FaultKind.TIMEOUT, "the time budget ran out while the gate itself computed")

_In = TypeVar("_In")
_Out = TypeVar("_Out")


class OutOfTime(BaseException):
    """The deadline has passed. No `except Exception` holds it up: what it ends may be anything."""


@contextmanager
def alarm(deadline: Deadline, *, grace: float = GRACE_SECONDS) -> Iterator[None]:
    """Raise OutOfTime in what is done meanwhile, soon behind the deadline.

    Only where signals arrive, in the main thread; in another one nothing is ended.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise OutOfTime

    handler = signal.signal(signal.SIGALRM, ring)
    left, every = signal.setitimer(signal.ITIMER_REAL, max(1e-3, deadline.remaining() + grace))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left, every)
        signal.signal(signal.SIGALRM, handler)


@contextmanager
def in_time(deadline: Deadline) -> Iterator[None]:
    """Have what is done meanwhile end soon behind the deadline. Raises KernelFault, whoever is to blame."""
    try:
        with alarm(deadline):
            yield
    except OutOfTime:
        raise KernelFault(LATE) from None


def on_two_cores(work: Callable[[_In], _Out], items: Sequence[_In]) -> list[_Out]:
    """`work` of every item, in their order, done by two threads.

    Who is interrupted, or finds that one of them failed, waits for none of them: they end after the item they are at.
    """
    left: queue.SimpleQueue[tuple[int, _In]] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[int, _Out | BaseException]] = queue.SimpleQueue()
    given_up = threading.Event()
    for item in enumerate(items):
        left.put(item)

    def run() -> None:
        while not given_up.is_set():
            try:
                number, item = left.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((number, work(item)))
            except BaseException as error:
                done.put((number, error))

    for _ in range(min(2, len(items))):
        threading.Thread(target=run, daemon=True).start()
    results: dict[int, _Out] = {}
    try:
        while len(results) < len(items):
            number, result = done.get()
            if isinstance(result, BaseException):
                raise result
            results[number] = result
    finally:
        given_up.set()
    return [results[number] for number in range(len(items))]
