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

_STATEMENT: Final = "from pytest_lance_ar.speed.quarry import main; main({target!r}, {combos!r}, {queries}, {seed})"


NICENESS: Final = 10
"""What is compiled is waited for first."""


class Cancelled(Exception):
    """What was waited for was given up."""


class Quarry:
    """The workloads of one seed, one a combo, being built. `wait` for them, or `close`."""

    def __init__(self, target: Target, queries: int, seed: int, *, processes: int) -> None:
        self._target = target
        self._queries = queries
        self._seed = seed
        self._closed = False
        self._built: dict[int, Instance] = {}
        self._diggers: list[subprocess.Popen[bytes]] = []
        self._readers: list[threading.Thread] = []
        numbers = range(len(target.combos))[::-1]  # the largest first, so that all end together
        self._reference = reference_of(target)
        if self._reference:
            shares = [numbers[first::processes] for first in range(processes)]
            for share in shares:
                self._start(list(share))

    def wait(self, patience: Callable[[], float]) -> list[Instance]:
        """All workloads, in the order of the combos. `patience` tells the seconds that are left.

        Raises TimeoutError, Cancelled. What no process could build is built here.
        """
        for reader in self._readers:
            reader.join(max(0.0, patience()))
            if reader.is_alive():
                raise TimeoutError
        for number, combo in enumerate(self._target.combos):
            if self._closed:
                raise Cancelled
            if number not in self._built:
                if patience() <= 0:
                    raise TimeoutError
                self._built[number] = self._target.workload(combo, self._queries, self._seed)
        return [self._built[number] for number in range(len(self._target.combos))]

    def close(self) -> None:
        """Give up what is not done. Safe from another thread."""
        self._closed = True
        for digger in self._diggers:
            digger.kill()
        for digger in self._diggers:
            digger.wait()

    def _start(self, share: list[int]) -> None:
        statement = _STATEMENT.format(target=self._reference, combos=share, queries=self._queries, seed=self._seed)
        digger = subprocess.Popen(
            [sys.executable, "-E", "-B", "-c", program(statement, packages_of(self._reference))],
            stdin=subprocess.PIPE,  # it ends when this does, whatever ended us
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(None),
        )
        assert digger.stdout is not None
        reader = threading.Thread(target=self._read, args=(digger.stdout,), daemon=True)
        self._diggers.append(digger)
        self._readers.append(reader)
        reader.start()

    def _read(self, results: IO[bytes]) -> None:
        with results, suppress(EOFError, pickle.UnpicklingError, OSError, ValueError):
            while True:
                number, instance = pickle.load(results)
                self._built[number] = instance


def main(target: str, combos: Sequence[int], queries: int, seed: int) -> None:
    """Entry point of such a process: build, and hand over each workload as soon as it is there."""
    os.nice(NICENESS)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    builder = referenced(target)
    places: Sequence[Combo] = builder.combos
    for number in combos:
        pickle.dump((number, builder.workload(places[number], queries, seed)), sys.stdout.buffer, protocol=5)
        sys.stdout.buffer.flush()


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)
