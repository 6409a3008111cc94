"""Judging a set of kernels: who is examined where, who fights whom, and who is out."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_lance_ar.__main__ import main
from pytest_lance_ar.commands import rank as command
from pytest_lance_ar.host.parent import KernelFault
from pytest_lance_ar.population.examination import Finding, Order
from pytest_lance_ar.population.tournament import ExaminationBroke, Standings, _is_elsewhere, examine, judge
from pytest_lance_ar.speed.sides import IncumbentFailed
from pytest_lance_ar.trial.evidence import Failure, FaultKind, Interval, SpeedEvidence
from pytest_lance_ar.trial.kernel_source import Kernel
from tests import kernels
from tests.builders import speed_of

SLOW_IN_TIME = Failure(FaultKind.TIMEOUT, "a call did not return within 10 s")
WRONG_IN_TIME = Failure(FaultKind.WRONG_ANSWER, "distance_table[0, 0]: expected 1, got 2", where="timed call")


def order_of(*names: str) -> Order:
    return Order(tuple(Kernel(name, name.encode()) for name in names), seed=7, rtol=0.0, budget=60.0)


def correct(count: int) -> list[Finding]:
    return [Finding(number, examples=400, seconds=1.0, host="here") for number in range(count)]


class Duels:
    """Duels of kernels whose nanoseconds are in their names; each comes out exactly, within 1%."""

    def __init__(self, fails: Callable[[Kernel, Kernel], Exception | None] = lambda *_: None) -> None:
        self.fought: list[tuple[str, str]] = []
        self.fails = fails

    def __call__(self, first: Kernel, second: Kernel) -> SpeedEvidence:
        self.fought.append((first.name, second.name))
        error = self.fails(first, second)
        if error:
            raise error
        ours, theirs = (float(kernel.name.split("_")[1]) for kernel in (first, second))
        ratio = ours / theirs
        return speed_of(
            ratio,
            geomean_ns=ours,
            incumbent_geomean_ns=theirs,
            ratio_interval=Interval(ratio / 1.01, ratio * 1.01),
        )


def names(standings: Standings) -> list[str]:
    return [standings.kernels[place.kernel].name for place in standings.places]


def silent(_text: str, _passing: bool = False, /) -> None:
    pass


def test_correct_kernels_are_ranked_by_speed_relative_to_the_first() -> None:
    order, duels = order_of("a_200", "b_100", "c_400"), Duels()
    standings = judge(order, correct(3), duels, silent)
    assert names(standings) == ["b_100", "a_200", "c_400"]
    assert [round(place.speedup, 6) for place in standings.places] == [2.0, 1.0, 0.5]
    assert standings.ns == pytest.approx({0: 200.0, 1: 100.0, 2: 400.0})
    assert sorted(duels.fought) == [("a_200", "b_100"), ("a_200", "c_400"), ("b_100", "c_400")]


def test_a_wrong_kernel_is_told_and_never_timed() -> None:
    order, duels = order_of("a_200", "b_100", "c_400"), Duels()
    findings = correct(3)
    findings[0] = Finding(0, failure="it is wrong", hint="mend it", replay="python -m this")
    standings = judge(order, findings, duels, silent)
    assert names(standings) == ["b_100", "c_400"]
    assert standings.reference == 1
    assert duels.fought == [("b_100", "c_400")]
    assert [vars(loser) for loser in standings.losers] == [
        {"kernel": 0, "failure": "it is wrong", "hint": "mend it", "replay": "python -m this"}
    ]


@pytest.mark.parametrize("count", [4, 8])
@pytest.mark.parametrize("culprit", [0, 2])
def test_a_kernel_that_answers_a_timed_call_wrong_is_out_and_so_are_its_duels(count: int, culprit: int) -> None:
    order = order_of(*(f"k_{100 + i}" for i in range(count)))
    bad = order.kernels[culprit]

    def fails(first: Kernel, second: Kernel) -> Exception | None:
        if first is bad:
            return KernelFault(WRONG_IN_TIME)
        return IncumbentFailed(WRONG_IN_TIME) if second is bad else None

    standings = judge(order, correct(count), Duels(fails), silent)
    assert [loser.kernel for loser in standings.losers] == [culprit]
    assert standings.losers[0].failure == str(WRONG_IN_TIME)
    assert {place.kernel for place in standings.places} == set(range(count)) - {culprit}
    assert all(culprit not in (pairing.first, pairing.second) for pairing in standings.duels)


@pytest.mark.parametrize("culprit", [0, 1])
def test_of_a_duel_that_did_not_end_the_one_that_is_late_alone_too_is_out(culprit: int) -> None:
    order = order_of("a_100", "b_100", "c_100")
    bad = order.kernels[culprit]
    duels = Duels(lambda first, second: KernelFault(SLOW_IN_TIME) if bad in (first, second) else None)
    standings = judge(order, correct(3), duels, silent)
    assert [loser.kernel for loser in standings.losers] == [culprit]


def test_a_machine_that_is_never_free_is_no_kernels_fault() -> None:
    busy = KernelFault(Failure(FaultKind.BUSY, "another gate was timing"))
    with pytest.raises(KernelFault, match="another gate"):
        judge(order_of("a_1", "b_1"), correct(2), Duels(lambda *_: busy), silent)


def test_one_correct_kernel_is_timed_alone() -> None:
    order, duels = order_of("a_200", "b_100"), Duels()
    standings = judge(order, [Finding(0, failure="wrong"), correct(2)[1]], duels, silent)
    assert names(standings) == ["b_100"]
    assert standings.ns == {1: pytest.approx(100.0)}
    assert duels.fought == [("b_100", "b_100")]
    assert standings.duels == ()


def test_no_correct_kernel_is_no_ranking() -> None:
    standings = judge(order_of("a_1", "b_1"), [Finding(0, failure="x"), Finding(1, failure="y")], Duels(), silent)
    assert standings.places == ()
    assert standings.reference is None
    assert standings.as_text() == "---\nnot ranked: a_1\n  x\nnot ranked: b_1\n  y\n"


def test_the_table_and_the_json_are_one() -> None:
    order = order_of("a_200", "b_199", "c_400", "d_1")
    findings = [*correct(3), Finding(3, failure="wrong\nverdict: keep", hint="a hint")]
    standings = judge(order, findings, Duels(), silent)
    text, facts = standings.as_text(), json.loads(json.dumps(standings.as_dict()))
    head, *lines = text.splitlines()[1:]
    assert head.split() == ["rank", "speedup", "interval_95pct", "ns_per_query", "kernel"]
    rows = [re.split(r" {2,}", line) for line in lines[:3]]
    ranking = facts["ranking"]
    assert [row[-1] for row in rows] == [row["kernel"] for row in ranking]
    for line, row in zip(lines, ranking, strict=False):
        best, worst = row["possible_ranks"]
        assert line.startswith(f"{best}-{worst} " if best < worst else f"{best} ")
        assert f" {row['speedup']:.4f} " in line
        assert f" {row['geomean_ns_per_query']:.0f} " in line
        low, high = row["speedup_interval"]
        assert ("reference" if row["kernel"] == "a_200" else f"[{low:.4f}, {high:.4f}]") in line
    assert lines[3:] == ["not ranked: d_1", "  wrong verdict: keep", "  a hint"]
    assert max(map(len, text.splitlines())) <= 80
    assert facts["reference"] == "a_200"
    assert [duel["ratio"] for duel in facts["duels"]] == [math.exp(pairing.log_ratio) for pairing in standings.duels]


def test_an_order_travels() -> None:
    order = Order((Kernel("a.py", bytes(range(256))),), seed=2**63 - 1, rtol=1e-6, budget=1.5)
    assert Order.from_dict(json.loads(json.dumps(order.as_dict()))) == order


def test_a_host_with_another_version_is_refused() -> None:
    with pytest.raises(pytest.UsageError, match=r"pytest-lance-ar 0\.0\.0 here, "):
        Order.from_dict({**order_of("a_1").as_dict(), "version": "0.0.0"})


@pytest.mark.parametrize(
    ("spec", "elsewhere"),
    [
        ("popen", False),
        ("3*popen//python=python3.12", False),
        ("popen//chdir=/tmp/x", True),
        ("ssh=user@host", True),
        ("2*ssh=host//python=python3", True),
        ("socket=192.168.1.4:8888", True),
    ],
)
def test_what_is_elsewhere_gets_a_copy_of_the_package(spec: str, elsewhere: bool) -> None:
    assert _is_elsewhere(spec) is elsewhere


def population(tmp_path: Path) -> Order:
    sources = {
        "kernels/import.py": "import os\n" + kernels.PURE_PYTHON,
        "kernels/zero.py": kernels.with_table("out[:] = 0"),
    }
    return Order(tuple(Kernel(name, source.encode()) for name, source in sources.items()), 7, 0.0, 60.0)


def expect(findings: list[Finding]) -> None:
    assert [finding.kernel for finding in findings] == [0, 1]
    assert "kernels/import.py, line 1: a kernel may not import os" in findings[0].failure
    assert "distance_table[0, 0]: expected" in findings[1].failure
    assert "replay --kernel=kernels/zero.py" in findings[1].replay
    assert findings[1].host


def test_a_population_is_examined_by_workers_of_its_own_and_nothing_else_takes_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTEST_ADDOPTS", "--no-such-option")
    tmp_path.joinpath("conftest.py").write_text("raise RuntimeError('not to be loaded')\n")
    expect(examine(population(tmp_path), workers="2", gateways=[]))
    assert [path.name for path in tmp_path.iterdir()] == ["conftest.py"]


@pytest.mark.slow
def test_a_population_is_spread_over_hosts(tmp_path: Path) -> None:
    """Two gateways that start in directories of their own stand for two hosts: what they need is copied there."""
    hosts = [tmp_path / "one", tmp_path / "two"]
    for host in hosts:
        host.mkdir()
    expect(examine(population(tmp_path), workers=None, gateways=[f"popen//chdir={host}" for host in hosts]))
    for host in hosts:
        assert host.joinpath("pytest_lance_ar/population/gate_process.py").exists()


@pytest.mark.slow
def test_a_population_is_spread_over_local_gateways(tmp_path: Path) -> None:
    expect(examine(population(tmp_path), workers=None, gateways=["2*popen"]))


@pytest.mark.slow
def test_a_ranking_for_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sources = {"a.py": kernels.BASELINE, "b.py": kernels.FASTER, "c.py": kernels.SLOWER, "d.py": kernels.ZERO}
    for name, source in sources.items():
        tmp_path.joinpath(name).write_text(source)
    assert main(["rank", *sources, "-n", "2", "--json", "ranking.json"]) == 0
    facts = json.loads(tmp_path.joinpath("ranking.json").read_text())
    assert [row["kernel"] for row in facts["ranking"]] == ["b.py", "a.py", "c.py"]
    assert [row["possible_ranks"] for row in facts["ranking"]] == [[1, 1], [2, 2], [3, 3]]
    assert [row["kernel"] for row in facts["not_ranked"]] == ["d.py"]
    assert "distance_table[0, 0]: expected" in facts["not_ranked"][0]["failure"]


MISTAKES = {
    "no file": (["nowhere.py"], "No such file or directory: 'nowhere.py'"),
    "twice": (["a.py", "a.py"], "a kernel is named twice"),
    "seed": (["a.py", "--seed", "-1"], "--seed must be from 0"),
    "rtol": (["a.py", "--rtol", "0.1"], "--rtol must be from 0 to 1e-06"),
    "budget": (["a.py", "--budget", "nan"], "--budget must be a number above 0"),
    "workers": (["a.py", "-n", "many"], "-n must be a number or auto"),
    "json": (["a.py", "--json", "no/where.json"], "name a file in an existing directory"),
}


@pytest.mark.parametrize(("arguments", "sentence"), MISTAKES.values(), ids=MISTAKES)
def test_a_users_mistake_is_one_sentence(
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.joinpath("a.py").write_text(kernels.PURE_PYTHON)
    assert main(["rank", *arguments]) == 4
    error = capsys.readouterr().err
    assert sentence in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("findings", "status"), [(correct(1), 0), ([Finding(0, failure="it is wrong")], 2), (None, 70)], ids=str
)
def test_the_exit_status(
    findings: list[Finding] | None, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(*_: object, **__: object) -> list[Finding]:
        if findings is None:
            raise ExaminationBroke("oh")
        return findings

    path = tmp_path / "a_100"
    path.write_text(kernels.PURE_PYTHON)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "examine", answer)
    monkeypatch.setattr(command, "real_duel", lambda *_: Duels())
    assert main(["rank", "a_100"]) == status
