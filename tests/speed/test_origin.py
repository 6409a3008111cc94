"""The candidate against the first baseline: in new processes, with nobody of the old ones about."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from pytest_lance_ar.host.parent import KernelFault
from pytest_lance_ar.speed import origin
from pytest_lance_ar.speed.alone import MOST_NOISE
from pytest_lance_ar.speed.duel import Bout
from pytest_lance_ar.speed.foundry import Foundry
from pytest_lance_ar.speed.preparation import Preparation
from pytest_lance_ar.speed.sides import Answer, IncumbentFailed, Side
from pytest_lance_ar.store import ledger
from pytest_lance_ar.store.ledger import Head
from pytest_lance_ar.store.state import StateDirectory
from pytest_lance_ar.store.store import Store
from pytest_lance_ar.targets.mismatch import Mismatch
from pytest_lance_ar.targets.pq_l2.target import TARGET
from pytest_lance_ar.targets.protocol import Instance
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.kernel_source import Kernel
from pytest_lance_ar.trial.trial import Origin
from pytest_lance_ar.trial.verdict import OTHERS, claim_refuses
from tests.builders import CANDIDATE, INCUMBENT, WRONG, speed_of, trial_of

FIRST = Kernel("baseline", b"class PqKernel: ...  # the first\n")
LOG: list[str] = []


class FakeHost:
    def __init__(self, *_: object, **__: object) -> None:
        LOG.append("started")

    def close(self) -> None:
        LOG.append("ended")


class FakePack:
    """Knows the answer to every query: its number."""

    def foresee(self, numbers: object) -> None:
        pass

    def check(self, i: int, outputs: dict[str, int], _rtol: float) -> Mismatch | None:
        return None if outputs["id"] == i else Mismatch("ids", (0,), str(i), str(outputs["id"]))


@dataclass
class FakeWorkload:
    packs: list[FakePack]


TRIAL = replace(trial_of(), core=None, origin=Origin(FIRST, 1.5))


@pytest.fixture
def preparation(monkeypatch: pytest.MonkeyPatch) -> Preparation:
    """One whose processes are none."""
    LOG.clear()
    monkeypatch.setattr("pytest_lance_ar.speed.preparation.KernelHost", FakeHost)
    monkeypatch.setattr(Side, "load", lambda side, *, shift: LOG.append(side.kernel.name))
    one = Preparation.__new__(Preparation)
    one.target, one.seed, one.workloads = TARGET, 1, [cast(Instance, FakeWorkload([FakePack()]))] * 9
    one.foundry = Foundry(TARGET, deadline=Deadline.after(1), known={})
    monkeypatch.setattr(one, "_kernels", {True: CANDIDATE, False: INCUMBENT}, raising=False)
    monkeypatch.setattr(one, "_core", None, raising=False)
    monkeypatch.setattr(one, "_deadline", Deadline.after(100), raising=False)
    monkeypatch.setattr(one, "_hosts", [FakeHost()], raising=False)
    return one


def timed(answer: int, candidate_ns: tuple[float, ...] = (100.0,)) -> Callable[..., Any]:
    def timed_rounds(pair: Any, bout: Bout, *_: object) -> NDArray[np.float64]:
        assert [side.kernel for side in pair] == [CANDIDATE, FIRST]
        bout.keep([Answer(pair[0], combo, 7, cast(Any, {"id": answer}), checked=True) for combo in range(9)])
        return np.log([[ns, 150.0] for ns in candidate_ns] * 4)

    return timed_rounds


def test_who_is_timed_and_what_is_found(preparation: Preparation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origin, "timed_rounds", timed(7))
    found = origin.time_against_first(TRIAL, preparation, transport_ns=0.0)
    assert found is not None
    assert found.gain == pytest.approx(1.5)
    assert math.log(found.error) == pytest.approx(OTHERS)
    assert LOG[:4] == ["started", "ended", "started", "started"]
    assert sorted(LOG[4:6]) == sorted([CANDIDATE.name, FIRST.name])
    assert LOG[6:] == ["ended", "ended"]


def test_a_candidate_that_is_now_fast_and_now_slow_here_has_no_gain_by_it(
    preparation: Preparation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(origin, "timed_rounds", timed(7, (50.0, 300.0)))
    found = origin.time_against_first(TRIAL, preparation, transport_ns=0.0)
    assert found is not None
    assert math.log(found.error) == pytest.approx(MOST_NOISE + OTHERS)
    speed = replace(speed_of(0.9), origin=found)
    assert "is 1.225 [" in claim_refuses(TRIAL, speed)


def test_a_candidate_that_is_wrong_here_is_incorrect(preparation: Preparation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origin, "timed_rounds", timed(8))
    with pytest.raises(KernelFault, match="ids"):
        origin.time_against_first(TRIAL, preparation, transport_ns=0.0)


def test_a_baseline_that_does_not_run_any_more_says_nothing(
    preparation: Preparation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def timed_rounds(*_: object) -> None:
        raise IncumbentFailed(WRONG)

    monkeypatch.setattr(origin, "timed_rounds", timed_rounds)
    assert origin.time_against_first(TRIAL, preparation, transport_ns=0.0) is None
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
    assert found.keeps == 2


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
