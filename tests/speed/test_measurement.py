"""The speed half of a trial: guards are timed where there is a gain to keep, and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pytest_lance_ar.speed import measurement
from pytest_lance_ar.speed.measurement import guarded
from pytest_lance_ar.speed.preparation import Preparation
from pytest_lance_ar.trial.evidence import SpeedEvidence
from pytest_lance_ar.trial.trial import Trial
from pytest_lance_ar.trial.verdict import compare
from tests.builders import INCUMBENT, guard, guards_of, speed_of, trial_of

PREPARATION = cast("Preparation", SimpleNamespace(pairs=["first", "second"]))
GAIN = speed_of(guards=None)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """How often guards were timed, and with what."""
    calls: list[dict[str, Any]] = []

    def time_guards(*given: Any, **options: Any) -> Any:
        calls.append({"pairs": given[0], **options})
        return guards_of(0.94, guard(1.06, 1.1, 1.2))

    monkeypatch.setattr(measurement, "time_guards", time_guards)
    return calls


def quiet(_text: str, _passing: bool = False, /) -> None:
    pass


def test_a_gain_is_timed_on_guards_too(asked: list[dict[str, Any]]) -> None:
    trial = trial_of(rtol=1e-6)
    speed = guarded(trial, GAIN, PREPARATION, quiet)
    (with_what,) = asked
    assert with_what["pairs"] == PREPARATION.pairs
    assert (with_what["rtol"], with_what["core"]) == (1e-6, trial.core)
    assert replace(speed, guards=None) == GAIN
    assert not compare(trial, speed).kept


@pytest.mark.parametrize(
    ("trial", "speed"),
    [
        (trial_of(), speed_of(1.02)),
        (trial_of(), replace(GAIN, confirmed=False)),
        (trial_of(), speed_of(0.98, 0.9, 1.1)),
        (trial_of(candidate=INCUMBENT), GAIN),
        (trial_of(incumbent=None), GAIN),
    ],
    ids=["slower", "not confirmed", "noisy", "the same file", "first"],
)
def test_what_is_no_gain_costs_nothing_more(trial: Trial, speed: SpeedEvidence, asked: list[dict[str, Any]]) -> None:
    assert guarded(trial, speed, PREPARATION, quiet) is speed
    assert not asked
