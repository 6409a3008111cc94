"""When a duel is prepared and for how long it has the timing core. Nothing is timed: preparation and duel are stood in
for."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_lance_ar.host import turns
from pytest_lance_ar.host.parent import KernelFault
from pytest_lance_ar.host.turns import timing_turn
from pytest_lance_ar.speed import measurement
from pytest_lance_ar.speed.measurement import Measurement, duel_in_turn
from pytest_lance_ar.trial.evidence import (
    AloneEvidence,
    Failure,
    FaultKind,
    OriginEvidence,
    SpeedEvidence,
)
from pytest_lance_ar.trial.trial import Origin
from tests.builders import CANDIDATE, INCUMBENT, speed_of, trial_of


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What happens, each with whether the timing core is free for another gate meanwhile."""
    seen: list[str] = []

    def note(what: str) -> None:
        other = timing_turn()
        seen.append(f"{what}, {'free' if other.attempt() else 'taken'}")
        other.release()

    class FakePreparation:
        foundry = None
        workloads = ()

        def __init__(self, *_: object, **__: object) -> None:
            note("prepared")

        def hurry(self) -> None:
            seen.append("in a hurry")

        def wait(self) -> None:
            note("waited for")

        def close(self) -> None:
            note("closed")

    def duel(*_: object, when_timed: Callable[[], None], **__: Any) -> SpeedEvidence:
        note("timed")
        when_timed()
        note("checked")
        return speed_of(1.02)

    monkeypatch.setattr(turns, "place", lambda: tmp_path / "lock")
    monkeypatch.setattr(measurement, "Preparation", FakePreparation)
    monkeypatch.setattr(measurement, "duel", duel)
    return seen


def silent(_text: str, _passing: bool = False, /) -> None:
    pass


def test_a_duel_is_prepared_beside_the_suite_where_nobody_times(events: list[str]) -> None:
    mine = Measurement(trial_of())
    assert mine.prepare()
    other = timing_turn()
    while not other.attempt():  # until all is ready, and the suite goes on
        time.sleep(0.01)
    assert events == ["prepared, taken", "waited for, taken"]
    other.release()
    mine.run(silent)
    mine.close()
    assert events[2:] == ["in a hurry", "waited for, taken", "timed, taken", "checked, free", "closed, free"]


def test_a_duel_is_prepared_in_its_turn_where_another_gate_times(events: list[str]) -> None:
    other, mine = timing_turn(), Measurement(trial_of())
    assert other.attempt()
    assert not mine.prepare()
    assert events == []
    other.release()
    mine.run(silent)
    assert events == ["prepared, taken", "in a hurry", "waited for, taken", "timed, taken", "checked, free"]
    mine.close()


def test_what_is_given_up_leaves_the_core_to_others(events: list[str]) -> None:
    mine = Measurement(trial_of())
    assert mine.prepare()
    mine.close()
    assert timing_turn().attempt()


def test_a_duel_outside_a_trial_is_prepared_in_its_turn_too(events: list[str]) -> None:
    trial = trial_of()
    duel_in_turn(trial.target, CANDIDATE, INCUMBENT, core=None, deadline=trial.deadline, progress=silent)
    assert events == [
        "prepared, taken",
        "in a hurry",
        "waited for, taken",
        "timed, taken",
        "checked, free",
        "closed, free",
    ]


@pytest.mark.parametrize("kept", [True, False])
def test_what_a_kept_kernel_does_is_looked_at_and_cannot_stop_it(
    events: list[str], monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    def with_steps(*_: object, **__: object) -> SpeedEvidence:
        other = timing_turn()
        events.append(f"looked at, {'free' if other.attempt() else 'taken'}")
        other.release()
        raise KernelFault(Failure(FaultKind.DIED, "no steps"))

    monkeypatch.setattr(measurement, "with_steps", with_steps)
    mine = Measurement(trial_of(incumbent=None if kept else INCUMBENT))
    assert mine.run(silent) == speed_of(1.02)
    mine.close()
    assert events.count("looked at, taken") == kept, "it is timed, while no other gate times"
    assert events[-1] == ("closed, taken" if kept else "closed, free")
    assert timing_turn().attempt()


@pytest.mark.parametrize("slowdowns", [(1.0,), (1.3, 1.0), (1.3, 1.3)])
def test_a_slowed_incumbent_is_timed_once_more(
    events: list[str], monkeypatch: pytest.MonkeyPatch, slowdowns: tuple[float, ...]
) -> None:
    """A host changes its pace now and then; a candidate that slows its rival does so again."""
    asked: list[float] = []

    def time_alone(*_: object, **__: object) -> AloneEvidence:
        asked.append(slowdowns[len(asked)])
        return AloneEvidence(slowdown=asked[-1], explained=1.1)

    monkeypatch.setattr(measurement, "duel", lambda *_, **__: speed_of(0.9))
    monkeypatch.setattr(measurement, "guarded", lambda _trial, speed, *_: speed)
    monkeypatch.setattr(measurement, "time_alone", time_alone)
    monkeypatch.setattr(measurement, "with_steps", lambda speed, *_, **__: speed)
    mine = Measurement(trial_of(incumbent=INCUMBENT))
    speed = mine.run(silent)
    mine.close()
    assert asked == list(slowdowns)
    assert speed.alone is not None
    assert speed.alone.slowdown == slowdowns[-1]


@pytest.mark.parametrize("gains", [(1.7,), (1.3, 1.7), (1.3, 1.3)])
def test_a_claim_that_is_not_seen_is_looked_at_once_more(
    events: list[str], monkeypatch: pytest.MonkeyPatch, gains: tuple[float, ...]
) -> None:
    asked: list[float] = []

    def time_against_first(*_: object, **__: object) -> OriginEvidence:
        asked.append(gains[len(asked)])
        return OriginEvidence(gain=asked[-1], error=1.05)

    monkeypatch.setattr(measurement, "duel", lambda *_, **__: speed_of(0.9))
    monkeypatch.setattr(measurement, "guarded", lambda _trial, speed, *_: speed)
    monkeypatch.setattr(measurement, "time_alone", lambda *_, **__: AloneEvidence(slowdown=1.0, explained=1.1))
    monkeypatch.setattr(measurement, "time_against_first", time_against_first)
    monkeypatch.setattr(measurement, "with_steps", lambda speed, *_, **__: speed)
    mine = Measurement(replace(trial_of(incumbent=INCUMBENT), origin=Origin(INCUMBENT, 1.5)))
    speed = mine.run(silent)
    mine.close()
    assert asked == list(gains)
    assert speed.origin is not None
    assert speed.origin.gain == gains[-1]
