"""Answers are compared pack by pack, foreseen together, and blamed on the side that gave them."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

import pytest

from pytest_lance_ar.host.parent import KernelFault
from pytest_lance_ar.speed import sides
from pytest_lance_ar.speed.sides import Answer, IncumbentFailed, Side, check
from pytest_lance_ar.targets.mismatch import Mismatch
from pytest_lance_ar.targets.protocol import Arrays, PackInstance

CANDIDATE, INCUMBENT = (cast(Side, SimpleNamespace(is_candidate=which)) for which in (True, False))


def pack_of(events: list[object], wrong: Sequence[int] = ()) -> PackInstance:
    def checked(call: int, _outputs: Arrays, _rtol: float) -> Mismatch | None:
        events.append(call)
        return Mismatch("ids", (0,), "1", "2") if call in wrong else None

    return PackInstance({}, {}, [], {}, checked, foresee=lambda calls: events.append(list(calls)))


def answers_to(*calls: int, side: Side = CANDIDATE) -> list[Answer]:
    return [Answer(side, 0, call, {}, checked=True) for call in calls]


def test_calls_are_foreseen_some_at_a_time_and_checked_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sides, "FORESEEN", 2)
    events: list[object] = []
    answers = answers_to(7, 3, 5) + answers_to(3, 9, 1, side=INCUMBENT)
    check([("a workload", pack_of(events), answers)], 0.0)
    assert events == [[1, 3], 1, 3, 3, [5, 7], 5, 7, [9], 9]


def test_a_pack_without_answers_is_not_asked() -> None:
    events: list[object] = []
    check([("a workload", pack_of(events), [])], 0.0)
    assert events == []


@pytest.mark.parametrize(("side", "error"), [(CANDIDATE, KernelFault), (INCUMBENT, IncumbentFailed)])
def test_who_gave_a_wrong_answer_is_blamed(side: Side, error: type[KernelFault | IncumbentFailed]) -> None:
    groups = [("one", pack_of([]), answers_to(1)), ("another", pack_of([], [4]), answers_to(2, 4, side=side))]
    with pytest.raises((KernelFault, IncumbentFailed)) as caught:
        check(groups, 0.0)
    assert type(caught.value) is error
    assert caught.value.failure.where == "timed call on another, query 4"
