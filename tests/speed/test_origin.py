"""The candidate against the first baseline: in new processes, with nobody of the old ones about."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from pytest_lance_ar.speed import origin
from pytest_lance_ar.speed.alone import OTHERS
from pytest_lance_ar.speed.foundry import Foundry
from pytest_lance_ar.speed.preparation import Preparation
from pytest_lance_ar.speed.sides import IncumbentFailed, Side
from pytest_lance_ar.store import ledger
from pytest_lance_ar.store.ledger import Head
from pytest_lance_ar.store.state import StateDirectory
from pytest_lance_ar.store.store import Store
from pytest_lance_ar.targets.pq_l2.target import TARGET
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.kernel_source import Kernel
from tests.builders import CANDIDATE, INCUMBENT, WRONG, trial_of

FIRST = Kernel("baseline", b"class PqKernel: ...  # the first\n")
LOG: list[str] = []


class FakeHost:
    def __init__(self, *_: object, **__: object) -> None:
        LOG.append("started")

    def close(self) -> None:
        LOG.append("ended")


@dataclass
class FakePreparation:
    workloads: list[None]
    foundry: Foundry

    def end_processes(self) -> None:
        LOG.append("the old ones ended")


PREPARATION = cast(Preparation, FakePreparation([None] * 9, Foundry(TARGET, deadline=Deadline.after(1), known={})))


@pytest.fixture(autouse=True)
def _without_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    LOG.clear()
    monkeypatch.setattr(origin, "KernelHost", FakeHost)
    monkeypatch.setattr(Side, "load", lambda side: LOG.append(side.kernel.name))


def test_who_is_timed_and_what_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def timed_rounds(pair: Any, *_: object) -> list[Any]:
        assert [side.kernel for side in pair] == [CANDIDATE, FIRST]
        return [np.log([100.0, 150.0])] * 4

    monkeypatch.setattr(origin, "timed_rounds", timed_rounds)
    found = origin.time_against_first(replace(trial_of(), core=None), FIRST, PREPARATION, transport_ns=0.0)
    assert found is not None
    assert found.gain == pytest.approx(1.5)
    assert math.log(found.error) == pytest.approx(OTHERS)
    assert LOG[:3] == ["the old ones ended", "started", "started"]
    assert sorted(LOG[3:5]) == sorted([CANDIDATE.name, FIRST.name])
    assert LOG[5:] == ["ended", "ended"]


def test_a_baseline_that_does_not_run_any_more_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def timed_rounds(*_: object) -> list[Any]:
        raise IncumbentFailed(WRONG)

    monkeypatch.setattr(origin, "timed_rounds", timed_rounds)
    trial = replace(trial_of(), core=None)
    assert origin.time_against_first(trial, FIRST, PREPARATION, transport_ns=0.0) is None
    assert LOG[-2:] == ["ended", "ended"]


def remembered(path: Path, *rows: tuple[Kernel, str, str]) -> Store:
    """A store with these rows: kernel, verdict, speed-up."""
    directory, head = StateDirectory(path / "state"), Head()
    directory.prepare()
    for kernel, verdict, speedup in rows:
        if verdict in ("baseline", "keep"):
            directory.keep_source(kernel)
        row = {"verdict": verdict, "kernel_sha256": kernel.sha256, "speedup": speedup}
        line, head = ledger.compose(path / "results.tsv", row, head)
        ledger.put(path / "results.tsv", line)
    return Store(path / "state", path / "results.tsv")


def test_the_claim_is_the_product_since_the_last_baseline(tmp_path: Path) -> None:
    old = Kernel("k", b"old")
    rows = [(old, "baseline", "-"), (CANDIDATE, "keep", "3.0"), (FIRST, "baseline", "-"), (CANDIDATE, "keep", "1.2")]
    found = remembered(tmp_path, *rows, (CANDIDATE, "discard", "1.9"), (INCUMBENT, "keep", "1.5")).origin()
    assert found is not None
    assert found.kernel.source == FIRST.source
    assert found.claimed == pytest.approx(1.8)


@pytest.mark.parametrize(
    "rows",
    [
        (),
        ((FIRST, "baseline", "-"),),
        ((FIRST, "baseline", "-"), (CANDIDATE, "discard", "1.5")),
        ((CANDIDATE, "keep", "1.5"), (INCUMBENT, "keep", "1.5")),
        ((FIRST, "baseline", "-"), (CANDIDATE, "keep", "fast")),
    ],
)
def test_where_nothing_is_claimed_nothing_is_asked(tmp_path: Path, rows: tuple[tuple[Kernel, str, str], ...]) -> None:
    assert remembered(tmp_path, *rows).origin() is None
