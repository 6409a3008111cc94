"""The process that a kernel runs in, as the gate handles it: let go, stopped, seen to be stopped, and ended.

A stop is not believed but seen, before another kernel's process is let go: the system says when the last thread has
stopped, whatever long system call it was in. And no stop is relied upon alone: the process's CPU clock, which is the
system's, must stand still from then on until the gate lets the process go again, and must not have run on for long
behind an answer.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from contextlib import suppress
from typing import ClassVar, Final

from pytest_lance_ar.host import platform
from pytest_lance_ar.host.forkserver import Forked

END_SECONDS: Final = 5.0
"""How long what was killed may take to be gone: it has memory to give back."""
IDLE_NS: Final = 100_000
"""CPU time that may be charged to a process while it is stopped, on average over its stops: the end of each stop."""
IDLE_ONCE_NS: Final = 5_000_000
"""And all beyond that average: on a busy machine the end of a stop waits for the core now and then."""
BEHIND_NS: Final = 60_000
"""CPU time that a process may take between its answer and its stop, on average: it waits for the next request."""
BEHIND_ONCE_NS: Final = 40_000_000
"""And all that it may take beyond that average: what happens now and then, as when a thread pool goes to sleep."""


Started = subprocess.Popen[bytes] | Forked


class RanUnasked(Exception):
    """The process computed while nobody waited for it; the message says when and for how long."""


class KernelProcess:
    """One process, the leader of a session of its own. Not for sharing between threads, but for `kill`."""

    _last: ClassVar[KernelProcess | None] = None
    """That ran last, of those that are timed."""

    def __init__(self, process: Started, *, dies_at: float, timed: bool) -> None:
        """dies_at: the time (`time.time()`) at which it is killed, whatever the gate waits for then. timed: stops are
        seen and the clock is looked at; where nothing is timed, a stop is asked for and no more: on a machine that is
        busy, to see it takes as long as the call itself."""
        self.popen = process
        self._clock_id = (~process.pid << 3) | 2  # of all its threads: see clock_getcpuclockid(3)
        self._timed = timed
        self._lock = threading.Lock()
        self._ended = False
        self._stopped_at: int | None = None
        self._answered_at: int | None = None
        self._answers = 0
        self._behind_ns = 0
        self._stops = 0
        self._idle_ns = 0
        self._watchdog = threading.Timer(min(max(0.0, dies_at - time.time()), threading.TIMEOUT_MAX), self.kill)
        self._watchdog.daemon = True
        self._watchdog.start()

    @property
    def pid(self) -> int:
        return self.popen.pid

    def look(self) -> None:
        """See that whichever ran before is stopped, and that this one was. Raises RanUnasked when it ran in between."""
        if platform.STOPS and self._timed:
            if KernelProcess._last is not self:
                if KernelProcess._last is not None:
                    KernelProcess._last.settle()
                KernelProcess._last = self
            self._look()

    def go_on(self) -> None:
        """Let it run, once it was looked at. Its threads may have the core at once, before whoever lets them go."""
        if platform.STOPS:
            self._signal(signal.SIGCONT)

    def answered(self) -> None:
        """An answer was taken: from now on it has nothing to do."""
        if platform.STOPS and self._timed:
            self._answered_at = self._cpu_ns()

    def halt(self) -> None:
        """Stop all its threads: none computes behind its answer, or beside the other kernel."""
        if platform.STOPS:
            self._signal(signal.SIGSTOP)

    def settle(self) -> None:
        """See that all its threads are stopped. Between two calls on one process that would be for nothing."""
        self.halt()
        with suppress(ChildProcessError):
            # Blocks for as long as a system call does that cannot be interrupted; the watchdog ends that as well.
            os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        self._count_behind(self._cpu_ns())
        self._stopped_at = self._cpu_ns()

    def _look(self) -> None:
        """What did its CPU clock do since it was to stop? Raises RanUnasked."""
        now = self._cpu_ns() if (self._stopped_at, self._answered_at) != (None, None) else None
        self._count_behind(now)
        stopped, self._stopped_at = self._stopped_at, None
        if stopped is not None and now is not None:
            self._stops += 1
            self._idle_ns += now - stopped
        if self._idle_ns > IDLE_ONCE_NS + IDLE_NS * self._stops:
            raise RanUnasked(f"it ran for {self._idle_ns / 1e6:.1f} ms in all while it was stopped")
        if self._behind_ns > BEHIND_ONCE_NS + BEHIND_NS * self._answers:
            raise RanUnasked(f"it computed on for {self._behind_ns / 1e6:.0f} ms in all behind {self._answers} answers")

    def _count_behind(self, now: int | None) -> None:
        if self._answered_at is not None and now is not None:
            self._answers += 1
            self._behind_ns += now - self._answered_at
        self._answered_at = None

    def kill(self) -> None:
        """Kill the process group. Safe from another thread: what the child's user waits for then fails."""
        with self._lock:
            if not self._ended:
                self._signal(signal.SIGKILL)

    def ended_by_itself(self, seconds: float) -> int | None:
        """The exit status as `subprocess` has it, when there is one within so many seconds."""
        self._await_end(seconds)
        return self.popen.returncode

    def end(self) -> None:
        """Kill it, and wait for its end, within reason."""
        if KernelProcess._last is self:
            KernelProcess._last = None
        self._watchdog.cancel()
        self.kill()
        with self._lock:
            self._ended = True
            self._await_end(END_SECONDS)

    def _await_end(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        if hasattr(os, "pidfd_open") and self.popen.poll() is None:
            with suppress(OSError):  # what `subprocess` does is to look again every 50 ms
                handle = os.pidfd_open(self.pid)
                try:
                    poll = select.poll()
                    poll.register(handle, select.POLLIN)
                    poll.poll(seconds * 1000)
                finally:
                    os.close(handle)
        with suppress(subprocess.TimeoutExpired):
            self.popen.wait(timeout=max(0.0, ends - time.monotonic()))

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _cpu_ns(self) -> int | None:
        """CPU time of all its threads so far; None when it is gone."""
        try:
            return time.clock_gettime_ns(self._clock_id)
        except OSError:
            return None
