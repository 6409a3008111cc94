"""From which sizes on a kernel is wrong: each axis of a failing case is bisected, and a sentence says it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from pytest_lance_ar.targets.pq_l2.cases import DrawnCase
from pytest_lance_ar.targets.pq_l2.sessions import Session
from pytest_lance_ar.targets.pq_l2.shape import PqShape
from pytest_lance_ar.targets.protocol import Case, StillFails

AXES: Final = ("N", "k", "M", "dsub", "K")
"""In this order: what makes a case large first."""
LIMITS: Final = {"N": 1_200_000, "k": 70_000, "M": 512, "dsub": 1024, "K": 256}
MAX_DIM: Final = 4096
NOT_WORTH_A_WORD: Final = 5
"""A failure needs a few vectors, centroids or dimensions to show at all."""


def of_drawn(case: DrawnCase, still_fails: StillFails) -> tuple[DrawnCase, str]:
    """The case at the smallest sizes at which it fails, and from which sizes on it does: "" when from the first."""
    whole = case

    def fails(candidate: Case) -> bool:
        return still_fails(candidate, loosely=True)

    for simpler in _simpler(case):
        if fails(simpler):
            case = simpler
    found: list[tuple[str, int, int]] = []
    for axis in AXES:
        high, low = sizes(case)[axis], 1
        if high == low:
            continue
        if fails(at(case, axis, low)):
            case = at(case, axis, low)
            continue
        largest = high
        while high - low > 1:
            middle = (low + high) // 2
            if fails(at(case, axis, middle)):
                high = middle
            else:
                low = middle
        case = at(case, axis, high)
        if high > NOT_WORTH_A_WORD:
            found.append((axis, low, largest))
    if not fails(case):  # the time is over, or the failure comes and goes: nothing was found out
        return whole, ""
    return case, _sentence(case, found, fails)


def of_session(session: Session, still_fails: StillFails) -> tuple[Case, str]:
    """The session with as few packs and calls as fail."""
    found = ""
    if still_fails(replace(session, calls=0)):
        session = replace(session, calls=0)
        low, high = 1, session.packs
        if still_fails(replace(session, packs=1)):
            high = 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if still_fails(replace(session, packs=middle)) else (middle, high)
        session = replace(session, packs=high)
        found = f"wrong once an object has packed {high} code sets" if high > 1 else ""
    else:
        fewer = replace(session, packs=1)
        if still_fails(fewer):
            session = fewer
        found = "wrong only after many calls on one object"
    return (session, found) if still_fails(session) else (session, "")


def sizes(case: DrawnCase) -> dict[str, int]:
    shape = case.shape
    return {
        "N": case.n,
        "k": case.k,
        "M": shape.num_sub_vectors,
        "dsub": shape.sub_vector_dim,
        "K": shape.num_centroids,
    }


def at(case: DrawnCase, axis: str, size: int) -> DrawnCase:
    """The case with one of its sizes changed."""
    if axis == "N":
        return replace(case, n=size)
    if axis == "k":
        return replace(case, k=size)
    new = {**sizes(case), axis: size}
    return replace(case, shape=PqShape(new["M"] * new["dsub"], new["M"], new["K"]))


def _simpler(case: DrawnCase) -> Iterator[DrawnCase]:
    if case.fixture is not None:
        case = replace(case, fixture=None)
        yield case
    if case.code_sets > 1:
        case = replace(case, code_sets=1)
        yield case


def _sentence(case: DrawnCase, found: list[tuple[str, int, int]], fails: Callable[[Case], bool]) -> str:
    """E.g. "wrong for every dsub above 48"."""
    parts = []
    for axis, right, largest in found:
        first = right + 1
        name, right_at = axis, right
        if axis in ("dsub", "M") and (other := _same_dim(case, first)) is not None and fails(other):
            per = case.shape.dim // first
            name, right_at = "dim", right * per
        room = {"dsub": MAX_DIM // sizes(case)["M"], "M": MAX_DIM // sizes(case)["dsub"]}.get(axis, LIMITS[axis])
        beyond = {min(2 * first + 1, LIMITS[axis], room), (first + largest) // 2 + 1, largest}
        if all(fails(at(case, axis, size)) for size in beyond if first < size <= min(LIMITS[axis], room)):
            parts.append(f"every {name} above {right_at:,}")
        else:
            parts.append(f"{name} {first:,} (and not {right:,})")
    return f"wrong for {' with '.join(parts)}" if parts else ""


def _same_dim(case: DrawnCase, first: int) -> DrawnCase | None:
    """Nearly the same dim in another shape, to tell dim from M and dsub."""
    shape = case.shape
    dim = shape.dim
    parts = 3 if shape.num_sub_vectors != 3 else 2
    dsub = -(-dim // parts)
    if dim < 8 or dsub > LIMITS["dsub"] or parts * dsub > MAX_DIM or max(parts, dsub) == first:
        return None
    return replace(case, shape=PqShape(parts * dsub, parts, shape.num_centroids))
