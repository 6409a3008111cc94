"""Builds workloads in processes of its own: beside whatever the gate does, and ended at once when it gives up."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import IO, Final

from pytest_lance_ar.host.launch import environment, packages_of, program
from pytest_lance_ar.targets.protocol import Combo, Instance, Target
from pytest_lance_ar.targets.registry import reference_of, referenced

NICENESS: Final = 10
"""The gate comes first, and does from their very start: imports take long."""
_STATEMENT: Final = (
    f"import os; os.nice({NICENESS}); "
    "from pytest_lance_ar.speed.quarry import main; main({target!r}, {combos!r}, {queries}, {seed})"
)


class Cancelled(Exception):
    """What was waited for was given up."""


class Quarry:
    """The workloads of one seed, one a combo, being built. `wait` for them, or `close`."""

    def __init__(self, target: Target, queries: int, seed: int) -> None:
        self._target = target
        self._queries = queries
        self._seed = seed
        self._closed = False
        self._changed = threading.Condition()
        self._built: dict[int, Instance] = {}
        self._diggers: list[subprocess.Popen[bytes]] = []
        self._at_work = 0
        self._reference = reference_of(target)
        if self._reference:
            self._start(range(len(target.combos))[::-1])  # the largest first

    def hurry(self) -> None:
        """There is a core to spare: build from the other end as well."""
        with self._changed:
            if self._at_work == 1 and len(self._built) < len(self._target.combos) and not self._closed:
                self._start(range(len(self._target.combos)))

    def keep_to(self, core: int | None) -> None:
        """From now on, build from the larger end on this core alone."""
        with self._changed:
            if core is None or self._closed or not self._diggers:
                return
            with suppress(OSError):  # it is over
                os.sched_setaffinity(self._diggers[0].pid, {core})

    def wait(self, patience: Callable[[], float]) -> list[Instance]:
        """All workloads, in the order of the combos. `patience` tells the seconds that are left.

        Raises TimeoutError, Cancelled. What no process could build is built here.
        """
        combos = self._target.combos
        with self._changed:
            while self._at_work and len(self._built) < len(combos) and not self._closed:
                if not self._changed.wait(max(0.0, patience())):
                    raise TimeoutError
        for digger in self._diggers:
            digger.kill()  # whatever it is at has been built by the other one
        for number, combo in enumerate(combos):
            if self._closed:
                raise Cancelled
            if number not in self._built:
                if patience() <= 0:
                    raise TimeoutError
                self._built[number] = self._target.workload(combo, self._queries, self._seed)
        return [self._built[number] for number in range(len(combos))]

    def close(self) -> None:
        """Give up what is not done. Safe from another thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for digger in self._diggers:
            digger.kill()
        for digger in self._diggers:
            digger.wait()

    def _start(self, numbers: Sequence[int]) -> None:
        statement = _STATEMENT.format(target=self._reference, combos=numbers, queries=self._queries, seed=self._seed)
        digger = subprocess.Popen(
            [sys.executable, "-E", "-B", "-c", program(statement, packages_of(self._reference))],
            stdin=subprocess.PIPE,  # it ends when this does, whatever ended us
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(None),
        )
        assert digger.stdout is not None
        self._diggers.append(digger)
        self._at_work += 1
        threading.Thread(target=self._read, args=(digger.stdout,), daemon=True).start()

    def _read(self, results: IO[bytes]) -> None:
        try:
            with results, suppress(EOFError, pickle.UnpicklingError, OSError, ValueError):
                while True:
                    number, instance = pickle.load(results)
                    with self._changed:
                        self._built.setdefault(number, instance)
                        self._changed.notify_all()
        finally:
            with self._changed:
                self._at_work -= 1
                self._changed.notify_all()


def main(target: str, combos: Sequence[int], queries: int, seed: int) -> None:
    """Entry point of such a process: build, and hand over each workload as soon as it is there."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    builder = referenced(target)
    places: Sequence[Combo] = builder.combos
    for number in combos:
        pickle.dump((number, builder.workload(places[number], queries, seed)), sys.stdout.buffer, protocol=5)
        sys.stdout.buffer.flush()


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)
