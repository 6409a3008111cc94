"""A warm process, from which those of kernels are forked: numpy and numba are imported once a run, and numba's tables
of types and operations are filled once.

It is there before any kernel is, loads none, and hears the gate alone. What it forks is the gate's own child: its
parent ends at once, and the gate adopts it. So nothing of a kernel ever reaches this process, and what it hands on is
what a process has that is about to compile its first function. Where there is none, processes are started one by one.
"""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import gc
import importlib
import json
import math
import os
import resource
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Final

from pytest_lance_ar.host import platform
from pytest_lance_ar.host.launch import environment, program

DESCRIPTORS: Final = (3, 4, 5)
"""What the three descriptors that are handed over are in the process that is forked."""
FORK_SECONDS: Final = 120.0
"""Allowance for a process, the first one with all that is imported for it."""
_STATEMENT: Final = "from pytest_lance_ar.host.forkserver import serve; serve({channel})"
_FOR_THE_FIRST_FUNCTION: Final = ("numpy.ma", "numba.core.boxing", "numba.core.runtime.context")
"""What numba imports when it compiles for the first time, besides its tables."""
_APART, _BESIDE = b"A", b"B"
_ADOPTED: Final = b"."
_NUMBER: Final = 32
_NEWPID: Final = 0x20000000
_FIRST_FREE: Final = 64


class Forked:
    """A process that is this one's child, though another forked it; as `subprocess.Popen` has it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                self.returncode = 0  # somebody else took it
            else:
                if pid == self.pid:
                    self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float = math.inf) -> int:
        """Raises subprocess.TimeoutExpired."""
        ends = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() >= ends:
                raise subprocess.TimeoutExpired("a kernel's process", timeout)
            time.sleep(0.002)
        return status


class _Server:
    def __init__(self) -> None:
        self._channel, channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.owner = os.getpid()
        with channel, platform.fixed_addresses():
            self.process = subprocess.Popen(
                [sys.executable, "-E", "-B", "-c", program(_STATEMENT.format(channel=channel.fileno()))],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=environment(None),
                pass_fds=(channel.fileno(),),
                start_new_session=True,
            )
        atexit.register(self.end)

    def fork(self, order: Mapping[str, Any], descriptors: Sequence[int], seconds: float, *, apart: bool) -> int:
        """The number of the new process, 0 for none. Raises OSError, ValueError."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self._channel.settimeout(seconds)
            socket.send_fds(self._channel, [_APART if apart else _BESIDE], [theirs.fileno(), *descriptors])
            told = self._channel.recv(_NUMBER)
            if told == _ADOPTED or self._channel.recv(_NUMBER) != _ADOPTED:
                return 0
            ours.settimeout(seconds)
            ours.sendall(json.dumps(order).encode())
            return int(told)

    def end(self) -> None:
        atexit.unregister(self.end)
        if self.owner != os.getpid():
            return
        self._channel.close()
        self.process.kill()
        self.process.wait()


_LOCK: Final = threading.Lock()
_server: _Server | None = None
_broken = False


def begin() -> None:
    """Start it, if it is not there; who needs a process later need not wait for its imports then."""
    global _server
    with _LOCK:
        if not _broken and sys.platform.startswith("linux") and (_server is None or _server.owner != os.getpid()):
            with suppress(OSError, subprocess.SubprocessError):
                _server = _Server()


def forked(
    statement: str,
    packages: Mapping[str, str],
    *,
    directory: Path,
    output: int,
    descriptors: Sequence[int],
    apart: bool,
    known: set[int],
    seconds: float,
) -> Forked | None:
    """A new process that runs a statement, with the descriptors as DESCRIPTORS; None where it must be started anew.

    directory: its home. output: what it prints to. apart: the first of a process namespace, where that can be.
    known: the processes of this one, among which the server is from now on. seconds: how long it may take.
    """
    global _server, _broken
    begin()
    with _LOCK:
        if _server is None:
            return None
        known.add(_server.process.pid)
        order = {
            "statement": statement,
            "packages": dict(packages),
            "directory": str(directory),
            "environment": environment(directory),
            "cores": sorted(os.sched_getaffinity(0)),
        }
        pid = 0
        try:
            allowance = min(FORK_SECONDS * platform.patience(), max(0.001, seconds))
            with suppress(OSError, ValueError):
                pid = _server.fork(order, (output, *descriptors), allowance, apart=apart and os.geteuid() == 0)
        finally:
            if pid <= 0:  # also after an interrupt: the answer to this would be taken for that to the next
                _server.end()
                _server, _broken = None, True
        return Forked(pid) if pid > 0 else None


def serve(channel_number: int) -> None:
    """Entry point of the server: fork what the gate asks for, until the gate is gone."""
    for module in ("pytest_lance_ar.host.child", "pytest_lance_ar.host.code_cache", *_FOR_THE_FIRST_FUNCTION):
        importlib.import_module(module)
    target = sys.modules["numba.core.registry"].cpu_target
    target.typing_context.refresh()  # with the next, a third of a second of each process that compiles or links
    target.target_context.refresh()
    channel = socket.socket(fileno=channel_number)
    gc.collect()
    gc.freeze()  # else a collection touches, and so copies, what is shared
    while True:
        asked, descriptors, _, _ = socket.recv_fds(channel, len(_APART), 2 + len(DESCRIPTORS))
        if not asked:
            return
        _fork(channel, descriptors, apart=asked == _APART)
        for descriptor in descriptors:
            os.close(descriptor)


def _fork(channel: socket.socket, descriptors: Sequence[int], *, apart: bool) -> None:
    """Fork twice. The one between tells the gate and ends, is waited for, and with it gone the other one begins."""
    held, hold = os.pipe()
    between = os.fork()
    if between == 0:
        try:
            if apart:
                ctypes.CDLL(None).unshare(_NEWPID)
            pid = os.fork()
            if pid == 0:
                os.close(hold)
                os.read(held, 1)
                channel.detach()  # it is closed below, and its number is another's then
                _become(descriptors)
            channel.send(str(pid).encode())
        finally:
            os._exit(0)
    os.close(held)
    os.waitpid(between, 0)
    channel.send(_ADOPTED)
    os.close(hold)


def _become(descriptors: Sequence[int]) -> None:
    """Be the process that was asked for, and never return.

    What that is the gate says to this process alone: nothing of one kernel's process is in the memory of the next.
    """
    status = 1
    try:
        os.setsid()
        orders, *given = descriptors
        text = b""
        while part := os.read(orders, 1 << 16):
            text += part
        order = json.loads(text)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # the server's is one description, with flags that all would see
        output, *others = (fcntl.fcntl(descriptor, fcntl.F_DUPFD, _FIRST_FREE) for descriptor in given)
        for standard in (1, 2):
            os.dup2(output, standard)
        for descriptor, wanted in zip(others, DESCRIPTORS, strict=True):
            os.dup2(descriptor, wanted, inheritable=False)
        os.closerange(max(DESCRIPTORS) + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        os.chdir(order["directory"])
        os.environ.clear()
        os.environ.update(order["environment"])
        sys.modules["numba"].core.config.reload_config()
        os.sched_setaffinity(0, order["cores"])  # not before: numba counts the cores, and counts as many everywhere
        for name, place in order["packages"].items():
            if name not in sys.modules:
                spec = spec_from_file_location(name, place)
                assert spec is not None
                assert spec.loader is not None
                sys.modules[name] = module_from_spec(spec)
                spec.loader.exec_module(sys.modules[name])
        exec(order["statement"], {"__name__": "__main__"})
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)
