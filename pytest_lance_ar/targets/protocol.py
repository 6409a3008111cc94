"""What the core asks of a kernel target, and the instance that travels from a target to a kernel's process.

This module, `contract` and `mismatch` are what a target from outside is written against, with `Driver` in place of what
it drives; such a target is offered by an entry point of the group `pytest_lance_ar.targets`. What is stable: within one
edition, `API`, no name here goes, none changes its meaning, and what is new has a default, so that a target goes on
working. A change that a target would notice is a new edition, in a new minor version of the package (a major one from
1.0 on); a target of another edition is refused in a sentence. Everything else in this package may change at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple, Protocol

from numpy.typing import NDArray

from pytest_lance_ar.targets.mismatch import Mismatch

API: Final = 1
"""The edition of this protocol. A target says for which it was written: `api = 1`."""

Arrays = Mapping[str, NDArray[Any]]
ArraySpec = tuple[str, tuple[int, ...]]
"""dtype and shape of an array that the kernel fills."""


def no_matter(_calls: Sequence[int]) -> None:
    """For a reference that is no faster for knowing what comes."""


@dataclass(frozen=True)
class PackInstance:
    """One set of data that the kernel packs once, and the calls made on it.

    arrays: handed over at packing. calls[i]: the arrays of call i, whose dtypes and shapes never change within a pack.
    outputs: the arrays that a call fills; bulky: those so large that of timed calls only a sample is kept.
    repeats: when it is not 0, calls and outputs have a first axis of so many calls, which are made in one go.
    check(i, outputs, rtol): compares the outputs of call i, all or without the bulky ones, with the reference.
    foresee(calls): that these are checked next; the reference may be many times as fast on all of them at once.
    """

    params: Mapping[str, Any]
    arrays: Arrays
    calls: Sequence[Arrays]
    outputs: Mapping[str, ArraySpec]
    check: Callable[[int, Arrays, float], Mismatch | None]
    bulky: frozenset[str] = frozenset()
    repeats: int = 0
    foresee: Callable[[Sequence[int]], None] = no_matter


PACK: Final = -1
DROP: Final = -2


class Step(NamedTuple):
    """One step with one of an object's packs: PACK, DROP, or the number of a call. object: 0, or 1 and up of those
    beside it."""

    object: int
    pack: int
    action: int


@dataclass(frozen=True)
class Instance:
    """One kernel object: what it is constructed from, and the packs it serves.

    beside: further objects of the same kernel that live at the same time and are called in turns with it.
    script: what is done, step by step, where that is more than packing everything and calling in turns. A call that is
    made again must be answered as the first time, bit for bit.
    """

    params: Mapping[str, Any]
    arrays: Arrays
    packs: Sequence[PackInstance]
    beside: Sequence[Instance] = ()
    script: Sequence[Step] = ()


class StillFails(Protocol):
    """Whether a kernel fails a case as it failed the one that is being reduced: at the same array, and with the same
    advice unless loosely, since the advice on one error changes with the size of the values around it."""

    def __call__(self, case: Case, *, loosely: bool = False) -> bool: ...


class Case(Protocol):
    """One example of the correctness suite, small enough to print."""

    @property
    def spec(self) -> str:
        """One line from which `Target.parse_case` rebuilds this very case."""
        ...

    @property
    def where(self) -> str:
        """The case in words, for the report."""
        ...

    def instance(self) -> Instance: ...


@dataclass(frozen=True)
class Combo:
    """One speed workload: a shape and a distribution."""

    shape: str
    distribution: str

    @property
    def name(self) -> str:
        return f"{self.shape} {self.distribution}"


class Guard(Protocol):
    """A guard workload: one that a gain must not be paid for with."""

    @property
    def name(self) -> str:
        """The workload in words, for the report: shape, data, N, k."""
        ...

    @property
    def spec(self) -> str:
        """One line from which `Target.parse_guard` rebuilds this very workload."""
        ...

    @property
    def batch(self) -> int:
        """Queries that one call answers."""
        ...

    def instance(self, calls: int) -> Instance:
        """One object and its packs, each of which can be asked so many times."""
        ...


class Examiner(Protocol):
    """What a suite's tests are given: the kernel under test, behind its process."""

    def examine(self, case: Case) -> float:
        """Ends the test where the kernel fails the case. Returns the seconds that its slowest call took."""
        ...

    def is_compiling(self) -> bool:
        """Whether the kernel is being compiled: time for the suite to make ready what it needs later."""
        ...


class Driver(Protocol):
    """One kernel object inside its own process: a target's driver module has a class `Driver` of this form.

    It runs beside code that nobody trusts, behind walls, and is imported with its package alone: it needs numpy, the
    standard library and `contract`. Its checks give honest mistakes a clear sentence, by raising ContractBroken; what
    counts is compared by the gate, from the bytes.

    stage: the step it is at, for messages; a profile times how long it is at each of a target's `steps`. Of the class,
    where they are not to be "construction", "packing" and the arrays' names: building and packing, what the gate calls
    these while it waits for them, and words, what it calls an array.
    """

    stage: str

    def __init__(self, module: ModuleType, params: dict[str, Any], arrays: dict[str, Any]) -> None:
        """Construct the kernel of this module from an `Instance`'s params and arrays."""
        ...

    def pack(
        self, params: dict[str, Any], arrays: dict[str, Any], inputs: dict[str, Any], outputs: dict[str, Any]
    ) -> Callable[[], None]:
        """Have the kernel pack a `PackInstance`. Returns the call, which is timed: it answers what `inputs` holds then
        into `outputs`, arrays that stay the same."""
        ...


class Target(Protocol):
    """A kind of kernel. Implementations are stateless; one that derives from this class has its defaults.

    benchmarks: the module that has what `bench` times beside combos and guards, as `benchmarks` says; no part of the
    edition. upstream: what is to be done before such a kernel goes where it is used, for the checklist of `finalize`.
    A scalar kernel to begin with, `baseline.py`, and `program.md`, whose first line says what the kernel is
    and whose rest tells an agent about it, lie beside the suite.
    """

    api: int = API
    benchmarks: str = ""
    upstream: str = ""

    @property
    def name(self) -> str: ...

    @property
    def kernel_class(self) -> str:
        """The class that a kernel file defines."""
        ...

    @property
    def driver(self) -> str:
        """The module that drives such a kernel inside its own process: it has a class `Driver`."""
        ...

    @property
    def steps(self) -> Mapping[str, str]:
        """The kernel's methods that a timed call calls, in their order, and a word for each."""
        ...

    @property
    def kernel_names(self) -> Mapping[str, tuple[str, ...]]:
        """What a kernel may import by `from MODULE import NAME`, beside the libraries that all may import."""
        return {}

    @property
    def suite(self) -> Path:
        """The correctness suite: a pytest file.

        Its tests are given `examiner` (Examiner), `fixture_seed` (an int, other each trial) and `earlier_cases` (specs
        that earlier kernels failed on). EXAMPLES: how many examples each test that Hypothesis draws for has, by name.
        """
        ...

    @property
    def suite_tests(self) -> frozenset[str]:
        """Every test of the suite, as pytest names it behind `::`."""
        ...

    @property
    def combos(self) -> tuple[Combo, ...]: ...

    def floor_ns(self, combo: Combo) -> float:
        """Nanoseconds a query below which no core there is could have done the work."""
        ...

    def parse_case(self, spec: str) -> Case:
        """Raises ValueError for a text that is not the spec of a case."""
        ...

    def reduced(self, case: Case, still_fails: StillFails) -> tuple[Case, str]:
        """The smallest case that can be found for which `still_fails` is true, or the case itself; and in a sentence
        which sizes it depends on, "" when that was not found out. By default what Hypothesis ended on."""
        return case, ""

    def workload(self, combo: Combo, queries: int, seed: int) -> Instance:
        """The instance that a combo is timed on: one pack and `queries` calls, each of new content.

        It is built in a process of its own, so it can be pickled.
        """
        ...

    def stand_in(self, combo: Combo) -> Instance:
        """An instance of any content whose first call compiles all that a workload's calls need."""
        return self.workload(combo, 1, 0)

    def guards(self, seed: int) -> Sequence[Guard]:
        """Guard workloads that the seed draws from the target's family; none where the target has no family."""
        return ()

    def parse_guard(self, spec: str) -> Guard:
        """Raises ValueError for a text that is not the spec of a guard workload."""
        raise ValueError(f"the target {self.name} has no guard workloads")
