"""Compiles every kernel once: what one of its processes compiled is handed to the next, and to no one else.

The code comes from processes that do the same whichever side the kernel is on, and before anything is timed: one that
compiles what stand-ins need, and the first that has the workloads. A kernel that cannot be compiled like this is
compiled in each of its processes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Final

from pytest_lance_ar.host.parent import KernelFault, KernelHost
from pytest_lance_ar.targets.protocol import Instance, Target
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.evidence import FaultKind
from pytest_lance_ar.trial.kernel_source import Kernel

CALLS: Final = 2


class Foundry:
    """The machine code of a trial's kernels. known: what is there already, by the hash of the source."""

    def __init__(self, target: Target, *, deadline: Deadline, known: Mapping[str, bytes]) -> None:
        self.costs: dict[str, dict[str, float]] = {}
        """What it took to start a process, and to compile in it, in seconds, by the hash of the source."""
        self._target = target
        self._deadline = deadline
        self._codes = dict(known)
        self._faults: dict[str, KernelFault] = {}
        self._changed = threading.Condition()
        self._host: KernelHost | None = None
        self._closed = False

    def forge(self, kernel: Kernel) -> None:
        """Compile a kernel, unless its code is there. A fault is left for those to find who need the code."""
        if kernel.sha256 in self._codes:
            return
        code = b""
        try:
            code = self._compiled(kernel)
        except KernelFault as fault:
            self._faults[kernel.sha256] = fault
        finally:
            with self._changed:
                self._codes[kernel.sha256] = code
                self._changed.notify_all()

    def code_of(self, kernel: Kernel) -> bytes:
        """A kernel's code, once it is there; b"" for one to compile where it is needed.

        Raises KernelFault where the kernel never came back: nobody needs to wait for that twice.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: kernel.sha256 in self._codes or self._closed, max(0.0, self._deadline.remaining())
            )
        fault = self._faults.get(kernel.sha256)
        if fault is not None and fault.failure.kind is FaultKind.TIMEOUT:
            raise fault
        return self._codes.get(kernel.sha256, b"")

    def learn(self, kernel: Kernel, host: KernelHost) -> None:
        """Take what a process of a kernel has compiled by now, for those that come after it. Raises KernelFault."""
        code = host.code()
        if code:  # not too much of it
            with self._changed:
                self._codes[kernel.sha256] = code

    def known(self, kernel: Kernel) -> bytes:
        """A kernel's code, if it is there now."""
        return self._codes.get(kernel.sha256, b"")

    def close(self) -> None:
        """Nothing more is compiled. Safe from another thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        host = self._host
        if host is not None:
            host.kill()

    def _compiled(self, kernel: Kernel) -> bytes:
        begun = time.perf_counter()
        with KernelHost(self._target.driver, core=None, deadline=self._deadline) as host:
            self._host = host
            if self._closed:
                return b""
            host.await_start()
            started = time.perf_counter()
            host.load(kernel.source, kernel.name)
            for instance in stand_ins(self._target):
                number = host.build(instance)
                pack, _ = host.pack(number, instance.packs[0])
                for _ in range(CALLS):
                    pack.call(0)
                host.drop(number, [pack])
            self.costs[kernel.sha256] = {"start": started - begun, "compile": time.perf_counter() - started}
            return host.code()


def stand_ins(target: Target) -> list[Instance]:
    """What makes a kernel compile all that the timed workloads need, one a shape."""
    of_shape = {combo.shape: combo for combo in target.combos}
    return [target.stand_in(combo) for combo in of_shape.values()]
