"""The life of one kernel object: what is packed, dropped and asked again, and whether an answer changed meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.targets.common.inputs import Stream
from pytest_lance_ar.targets.mismatch import Mismatch
from pytest_lance_ar.targets.protocol import DROP, PACK, Arrays, Step

HELD: Final = 4
"""So many packs of an object are alive at a time, besides its first, where it is not said."""


def script(packs: int, goes: int, most: int = HELD) -> Iterator[Step]:
    """Two objects take and drop their packs, two calls each, in turns; then the first of them takes one more and is
    called `goes` times on it. After that, what is still held, `most` besides the first, is asked again."""
    held: list[int] = []
    for number in range(packs):
        for who in (0, 1):
            if number > most:
                yield Step(who, held[0], DROP)
            yield Step(who, number, PACK)
        if number > most:
            held.pop(0)
        if number:
            held.append(number)
        for who in (0, 1):
            for pack in (number, *held[-2:-1], 0):
                yield Step(who, pack, 0)
    if goes:
        yield Step(0, packs, PACK)
        for go in range(goes):
            yield Step(0, packs, go)
    for who in (0, 1):
        for pack in (0, *held):
            yield Step(who, pack, 0)
            yield Step(who, pack, 1)


def asked_again(queries: int, calls: int, stream: Stream) -> NDArray[np.int64]:
    """Which of the queries each call asks, (calls,): all of them once, then any, so that none comes at regular times;
    half of every second call's are the neighbour of the one before, which may be nearly the same."""
    asked = stream.below(queries, calls)
    before = asked[: calls - 1 : 2]
    asked[1::2] = np.where(stream.chosen(0.5, len(before)), np.minimum(before ^ 1, queries - 1), asked[1::2])
    asked[:queries] = np.arange(queries)[:calls]
    return asked


def changed_answer(
    first: Arrays, asked: NDArray[np.int64], outputs: Arrays, calls_before: int, names: Mapping[str, str]
) -> Mismatch | None:
    """The first answer of many that is not, bit for bit, the one which the same query got the first time.

    first: arrays (Q, ...) of the answers to Q queries. outputs: (C, ...), those to the queries that were asked, (C,).
    names: what each of the arrays is called in a report.
    """
    places = []
    for name, array in outputs.items():
        want, flat = (np.ascontiguousarray(a).reshape(len(a), -1).view(np.uint8) for a in (first[name], array))
        changed = (flat != want[asked]).any(axis=1)
        if changed.any():
            places.append((int(np.argmax(changed)), name))
    if not places:
        return None
    call, name = min(places, key=lambda place: place[0])
    want, got = first[name][asked[call]], outputs[name][call]
    at = np.unravel_index(int(np.argmax((want != got) | (want != want))), want.shape)
    index = tuple(int(i) for i in at)
    return Mismatch(
        names[name],
        index,
        f"{want[at]!s} (the answer to the same query before)",
        f"{got[at]!s} after {calls_before + call} calls",
    )
