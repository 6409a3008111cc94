"""Judges many kernels beside each other, in one process: each case is drawn, and its reference answered, once for all.

So a corpus takes minutes where a gate for each kernel takes an hour. There are no walls and no fences, kernels that
touch memory which is not theirs are left out, and what it lets pass is no verdict: a gate has to say so.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray

from pytest_lance_ar.correctness.examiner import _first_difference, _in_turns, _Object  # what the gate does itself
from pytest_lance_ar.host.child import private_copies, repeated
from pytest_lance_ar.host.parent import _poison
from pytest_lance_ar.plugin.suite import Brief
from pytest_lance_ar.plugin.worker import SuiteHooks
from pytest_lance_ar.targets.common.pq.answers import _Answers, compare_answer
from pytest_lance_ar.targets.common.pq.domain import AT_ONCE, MOST_K
from pytest_lance_ar.targets.common.pq.sessions import Session
from pytest_lance_ar.targets.mismatch import Mismatch
from pytest_lance_ar.targets.pq_l2.driver import Driver
from pytest_lance_ar.targets.protocol import Arrays, Case, Instance, PackInstance
from pytest_lance_ar.trial.deadline import Deadline
from tests.mutants.harness import INCORRECT, PASSED, Outcome
from tests.mutants.mutant import Mutant

CLASS: Final = "\nclass PqKernel"
BUDGET: Final = 36_000.0


class LocalPack:
    """What a `Pack` is, without a process."""

    def __init__(self, driver: Driver, instance: PackInstance) -> None:
        self.instance = instance
        self._inputs = {name: np.array(value) for name, value in instance.calls[0].items()}
        self.outputs: dict[str, NDArray[Any]] = {
            name: np.empty(shape, dtype) for name, (dtype, shape) in instance.outputs.items()
        }
        shown = {name: array.view() for name, array in self._inputs.items()}
        for array in shown.values():
            array.setflags(write=False)
        pack = partial(repeated, driver) if instance.repeats else driver.pack
        self._call = pack(dict(instance.params), private_copies(dict(instance.arrays)), shown, self.outputs)

    def call(self, i: int) -> int:
        for name, value in self.instance.calls[i].items():
            self._inputs[name][...] = value
        for array in self.outputs.values():
            array.fill(_poison(array.dtype))
        start = time.perf_counter_ns()
        self._call()
        return time.perf_counter_ns() - start


class LocalHost:
    """What an examiner asks of a `KernelHost`, without a process."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._drivers: list[Driver] = []

    def build(self, instance: Instance) -> int:
        self._drivers.append(Driver(self._module, dict(instance.params), private_copies(dict(instance.arrays))))
        return len(self._drivers) - 1

    def pack(self, number: int, instance: PackInstance) -> tuple[LocalPack, float]:
        return LocalPack(self._drivers[number], instance), 0.0

    def drop(self, number: int, packs: Sequence[LocalPack], *, later: bool = False) -> None:
        """The packs go with their object."""


@dataclass
class Judged:
    """A kernel so far."""

    mutant: Mutant
    module: ModuleType
    failure: str = ""
    seconds: float = 0.0
    slowest: float = 0.0
    """Seconds of the slowest call of the latest case."""


def modules_of(mutants: Iterable[Mutant]) -> Iterator[Judged]:
    """Their modules; what several have before the class is compiled once."""
    compiled: dict[str, dict[str, Any]] = {}
    for mutant in mutants:
        head, found, rest = mutant.source.partition(CLASS)
        module, shared = ModuleType("kernel"), "@njit" in head and " = {}" not in head
        if shared:
            if head not in compiled:
                compiled[head] = {"__name__": "kernel"}
                exec(head, compiled[head])
            module.__dict__.update(compiled[head])
        exec(found + rest if shared else mutant.source, module.__dict__)
        yield Judged(mutant, module)


class Together:
    """A pytest plugin, and the examiner of all kernels at once: none of them ends a test."""

    failure = None
    examples = 0

    def __init__(self, mutants: Iterable[Mutant], seed: int) -> None:
        self.kernels = list(modules_of(mutants))
        self._seed = seed
        self._test = ""

    def pytest_configure(self, config: pytest.Config) -> None:
        source = self.kernels[0].mutant.source.encode()
        config.pluginmanager.register(
            SuiteHooks(config, Brief("k.py", source, Deadline.after(BUDGET).moment, self._seed, 0))
        )
        config.pluginmanager.register(_Fixtures(self))

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self._test = item.name

    def examine(self, case: Case) -> float:
        left = [kernel for kernel in self.kernels if not kernel.failure]
        if getattr(case, "k", 0) > MOST_K:  # asked of those that answered the case before at once
            left = [kernel for kernel in left if kernel.slowest < AT_ONCE]
        instance = case.instance() if left else None
        for kernel in left:
            start = time.perf_counter()
            try:
                one = case.instance() if isinstance(case, Session) or instance is None else instance
                kernel.slowest = self._judge(kernel, one, case)
            except Exception as error:
                kernel.failure = f"{self._test}: {type(error).__name__}: {error}: {case.spec}"
            kernel.seconds += time.perf_counter() - start
        return min((kernel.slowest for kernel in left), default=0.0)

    def _judge(self, kernel: Judged, instance: Instance, case: Case) -> float:
        host: Any = LocalHost(kernel.module)
        objects = [_Object(host, each) for each in (instance, *instance.beside)]
        for each in objects:
            each.build()
        wrong = _first_difference(objects, instance.script or _in_turns(objects), 0.0)
        if wrong:
            kernel.failure = f"{self._test}: {wrong[1]}: {case.spec}"
        return max(each.slowest for each in objects)

    def is_compiling(self) -> bool:
        return False


class _Fixtures:
    def __init__(self, together: Together) -> None:
        self._together = together

    @pytest.fixture(scope="session")
    def examiner(self) -> Together:
        return self._together


def _check(self: _Answers, i: int, outputs: Arrays, rtol: float) -> Mismatch | None:
    """As `_Answers.check`, but nothing is forgotten: the next kernel is asked the same."""
    if i not in self._known:
        self._known[i] = self._answer(i)
    return compare_answer(*self._known[i], outputs, rtol)


def judge_together(mutants: Iterable[Mutant], seed: int) -> Iterator[Outcome]:
    """Judge all kernels of a corpus of `pq_l2`, but those of the family "memory". Once in a process: the suite's tests
    take their settings once."""
    together = Together([mutant for mutant in mutants if mutant.family != "memory"], seed)
    os.chdir(tempfile.gettempdir())  # no conftest is of any use here
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Answers, "check", _check)
        options = ["-q", "-q", "-p", "no:cacheprovider", "-p", "no:lance_ar", "-c", os.devnull, "--rootdir=."]
        if pytest.main(options, plugins=[together]) != 0:
            raise RuntimeError("the suite itself failed")
    for kernel in together.kernels:
        status = INCORRECT if kernel.failure else PASSED
        yield Outcome(kernel.mutant, status, kernel.seconds, kernel.failure, "", "", "")


def outcomes_together(mutants: Iterable[Mutant], seed: int) -> list[Outcome]:
    """What `judge_together` yields, for a process that is asked from another."""
    return list(judge_together(mutants, seed))
