"""Makes a case of arrays that fails as small as it can be and still fail.

It is cut down axis by axis (Zeller & Hildebrandt, "Simplifying and isolating failure-inducing input", 2002) and value
by value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.targets.common.inputs import Float32
from pytest_lance_ar.targets.protocol import Case, StillFails

LITERAL_LIMIT: Final = 1000
"""A literal case whose text is longer is not small: a seed says the same in a line."""
FEW_VALUES: Final = 64
"""So many numbers are simplified one by one."""


class Arrays(Case, Protocol):
    """A frozen dataclass with arrays, and with k where there is one."""

    @property
    def k(self) -> int: ...


A = TypeVar("A", bound=Arrays)


@dataclass(frozen=True)
class Axis(Generic[A]):
    """An axis of a case's arrays. count: how long it is; kept: the case with these of its elements, in their order;
    least: so many must stay. None stands for the case's own k, which is lowered at this place."""

    count: Callable[[A], int]
    kept: Callable[[A, NDArray[np.int64]], A]
    least: int = 1


def smallest(
    case: A, still_fails: StillFails, axes: Sequence[Axis[A] | None], floats: Sequence[str], integers: Sequence[str]
) -> A:
    """The smallest case found that still fails.

    axes: in the order in which they are cut. floats, integers: names of the arrays whose numbers are made simpler.
    """
    return _Reduction(case, still_fails, axes, floats, integers).smallest()


class _Reduction(Generic[A]):
    """A case that fails, made smaller step by step as long as it does."""

    def __init__(
        self,
        case: A,
        still_fails: StillFails,
        axes: Sequence[Axis[A] | None],
        floats: Sequence[str],
        integers: Sequence[str],
    ) -> None:
        self.case = case
        self._still_fails = still_fails
        self._axes = axes
        self._floats = floats
        self._integers = integers

    def smallest(self) -> A:
        while True:
            before = self.case
            for axis in self._axes:
                if axis is None:
                    self._lower_k()
                else:
                    self._drop(axis)
            self._simplify()
            if self.case is before:
                return before

    def _try(self, candidate: A) -> bool:
        if self._still_fails(candidate):
            self.case = candidate
            return True
        return False

    def _drop(self, axis: Axis[A]) -> None:
        """Drop ever smaller runs of an axis."""
        kept = np.arange(axis.count(self.case))
        size = max(len(kept) - 1, 1)
        while size and (len(kept) <= LITERAL_LIMIT or size > len(kept) // 16):  # else it stays too large
            start = 0
            while start < len(kept):
                fewer = np.delete(kept, slice(start, start + size))
                places = np.flatnonzero(np.isin(kept, fewer))
                if len(fewer) >= axis.least and self._try(axis.kept(self.case, places)):
                    kept = fewer
                else:
                    start += size
            size //= 2

    def _lower_k(self) -> None:
        low = 1
        while low < self.case.k:
            if self._try(self._with(k=low)):
                return
            low = min(low * 2, self.case.k - 1) if low < self.case.k - 1 else self.case.k

    def _simplify(self) -> None:
        """Simpler numbers: all at once, then one by one."""
        simpler: tuple[Callable[[Float32], Float32], ...] = (np.zeros_like, np.sign, np.rint)
        for simple in simpler:
            self._change(simple)
        names = (*self._integers, *self._floats)
        if sum(self._array(name).size for name in names) > FEW_VALUES:
            return
        for name in names:
            for index in np.ndindex(self._array(name).shape):
                for value in _simpler(float(self._array(name)[index])):
                    changed = self._array(name).copy()
                    changed[index] = value
                    if self._try(self._with(**{name: changed})):
                        break

    def _change(self, simple: Callable[[Float32], Float32]) -> None:
        """In all arrays of floats, or in one of them."""
        changed = {name: simple(self._array(name)) for name in self._floats}
        for these in (changed, *({name: array} for name, array in changed.items())):
            same = all(array.tobytes() == self._array(name).tobytes() for name, array in these.items())
            if not same and self._try(self._with(**these)):
                return

    def _array(self, name: str) -> NDArray[Any]:
        return np.asarray(getattr(self.case, name))

    def _with(self, **values: object) -> A:
        changed: A = replace(self.case, **values)  # type: ignore[type-var]  # no type says: any dataclass
        return changed


def _simpler(value: float) -> Iterator[float]:
    """Numbers that read more easily than this one, the easiest first; none for 0."""
    seen = {0.0: None, 1.0: None, float(np.float32(np.rint(value))): None, float(np.float32(f"{value:.2g}")): None}
    for number in seen:
        if number == value:
            return
        if abs(number) <= abs(value) or number == 1.0:
            yield number
