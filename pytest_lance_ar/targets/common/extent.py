"""From which sizes on a kernel is wrong: each axis of a failing case is bisected, and a sentence says it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol, TypeVar

from pytest_lance_ar.targets.protocol import Case, StillFails

NOT_WORTH_A_WORD: Final = 5
"""A failure needs a few vectors, centroids or dimensions to show at all."""


class Sized(Case, Protocol):
    """A case with sizes to bisect, each from 1 up. What its methods return is of its own kind."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """By axis, what makes a case large first."""
        ...

    def at(self, axis: str, size: int) -> Any:
        """The case with one of its sizes changed."""
        ...

    def room(self, axis: str) -> int:
        """The largest that one of the sizes may be beside the others."""
        ...

    def simpler(self) -> Iterable[Any]:
        """Cases of the same sizes that are simpler, each more than the one before."""
        ...

    def alias(self, axis: str, size: int) -> tuple[str, int, Any] | None:
        """What another quantity is called that grows with the axis, by how much at a time, and a case in which it alone
        is about as large as it is here at this size; None where there is no such thing."""
        ...


S = TypeVar("S", bound=Sized)


def bisected(case: S, still_fails: StillFails) -> tuple[S, str]:
    """The case at the smallest sizes at which it fails, and from which sizes on it does: "" when from the first."""
    whole = case

    def fails(candidate: Case) -> bool:
        return still_fails(candidate, loosely=True)

    for simpler in whole.simpler():
        if fails(simpler):
            case = simpler
    found: list[tuple[str, int, int]] = []
    for axis in whole.sizes:
        high, low = case.sizes[axis], 1
        if high == low:
            continue
        if fails(case.at(axis, low)):
            case = case.at(axis, low)
            continue
        largest = high
        while high - low > 1:
            middle = (low + high) // 2
            if fails(case.at(axis, middle)):
                high = middle
            else:
                low = middle
        case = case.at(axis, high)
        if high > NOT_WORTH_A_WORD:
            found.append((axis, low, largest))
    if not fails(case):  # the time is over, or the failure comes and goes: nothing was found out
        return whole, ""
    return case, _sentence(case, found, fails)


def _sentence(case: Sized, found: list[tuple[str, int, int]], fails: Callable[[Case], bool]) -> str:
    """E.g. "wrong for every dsub above 48"."""
    parts = []
    for axis, right, largest in found:
        first = right + 1
        name, right_at = axis, right
        if (other := case.alias(axis, first)) is not None and fails(other[2]):
            name, right_at = other[0], right * other[1]
        room = case.room(axis)
        beyond = {min(2 * first + 1, room), (first + largest) // 2 + 1, largest}
        if all(fails(case.at(axis, size)) for size in beyond if first < size <= room):
            parts.append(f"every {name} above {right_at:,}")
        else:
            parts.append(f"{name} {first:,} (and not {right:,})")
    return f"wrong for {' with '.join(parts)}" if parts else ""
