"""What the core asks of a kernel target, and the instance that travels from a target to a kernel's process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from numpy.typing import NDArray

from pytest_lance_ar.targets.mismatch import Mismatch

Arrays = Mapping[str, NDArray[Any]]
ArraySpec = tuple[str, tuple[int, ...]]
"""dtype and shape of an array that the kernel fills."""


def no_matter(_calls: Sequence[int]) -> None:
    """For a reference that is no faster for knowing what comes."""


@dataclass(frozen=True)
class PackInstance:
    """One code set: what the kernel packs once, and the calls made on it.

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
        """One object and its code sets, each of which can be asked so many times."""
        ...


class Examiner(Protocol):
    """What a suite's tests are given: the kernel under test, behind its process."""

    def examine(self, case: Case) -> float:
        """Ends the test where the kernel fails the case. Returns the seconds that its slowest call took."""
        ...


class Target(Protocol):
    """A kind of kernel. Implementations are stateless."""

    @property
    def name(self) -> str: ...

    @property
    def kernel_class(self) -> str:
        """The class that a kernel file defines."""
        ...

    @property
    def driver(self) -> str:
        """The module that drives such a kernel inside its own process."""
        ...

    @property
    def suite(self) -> Path:
        """The correctness suite: a pytest file."""
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
        which sizes it depends on, "" when that was not found out."""
        ...

    def workload(self, combo: Combo, queries: int, seed: int) -> Instance:
        """The instance that a combo is timed on: one pack and `queries` calls."""
        ...

    def guards(self, seed: int) -> Sequence[Guard]:
        """Guard workloads that the seed draws from the target's family; none where the target has no family."""
        ...

    def parse_guard(self, spec: str) -> Guard:
        """Raises ValueError for a text that is not the spec of a guard workload."""
        ...
