"""The rule of a simplification, from evidence to verdict, and through the gate."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_lance_ar.__main__ import main
from pytest_lance_ar.gate import Gate
from pytest_lance_ar.report.report import Report
from pytest_lance_ar.store.store import StoreError
from pytest_lance_ar.trial.evidence import Interval, SpeedEvidence
from pytest_lance_ar.trial.options import OptionError, Options
from pytest_lance_ar.trial.verdict import Verdict, decide
from tests.builders import combos_of, evidence_of, guards_of, speed_of, trial_of
from tests.test_gate import conclude, incumbent_of, verdicts, write_kernel

pytestmark = pytest.mark.usefixtures("no_look_behind")

LARGE = "class PqKernel:\n    a = 1\n    b = 2\n    c = 3\n"
MIDDLE = "class PqKernel:\n    a = 1\n    b = 2\n"
SMALL = "class PqKernel:\n    a = 1\n"


def verdict(speed: SpeedEvidence) -> Verdict:
    return decide(trial_of(simplify=True), evidence_of(speed=speed))


@pytest.mark.parametrize(
    ("low", "high", "name"),
    [
        (0.98, 0.99, "simpler"),
        (0.992, 1.0099, "simpler"),
        (0.992, 1.0100, "discard"),
        (1.001, 1.0099, "simpler"),
        (1.012, 1.03, "discard"),
        (0.9, 1.1, "inconclusive"),
    ],
)
def test_the_whole_interval_must_be_below_the_limit(low: float, high: float, name: str) -> None:
    speed = speed_of((low * high) ** 0.5, low, high, confirmed=False, guards=guards_of(1.0))
    assert verdict(speed).name == name
    assert verdict(speed).code == {"simpler": 0, "discard": 1, "inconclusive": 11}[name]


def test_guards_apply_to_a_simplification_as_well() -> None:
    fine = speed_of(1.0, confirmed=False, guards=guards_of(1.0))
    assert verdict(fine).name == "simpler"
    slow_combo = (replace(combos_of(1.0)[0], ratio=1.06), *combos_of(1.0)[1:])
    assert "the guard allows" in verdict(replace(fine, combos=slow_combo)).reason
    assert fine.guards is not None
    slow = replace(fine.guards.workloads[0], ratio=1.2, interval=Interval(1.1, 1.3))
    refused = replace(fine, guards=replace(fine.guards, workloads=(slow, *fine.guards.workloads[1:])))
    assert verdict(refused).reason.startswith("slower elsewhere")
    assert verdict(replace(fine, guards=None)).reason == "the guard workloads were not timed"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose incumbent is LARGE."""
    root = tmp_path / "project"
    (root / "kernel").mkdir(parents=True)
    monkeypatch.chdir(root)
    assert trial(root, LARGE, 1.0).verdict.name == "baseline"
    return root


def trial(root: Path, source: str, ratio: float, *, simplify: bool = False, against: str = "") -> Report:
    write_kernel(root, source)
    options = Options.from_strings({"seed": "7", "against": against}, root=root, here=root, simplify=simplify)
    with closing(Gate(options, here=root)) as gate:
        return conclude(gate, speed_of(ratio, guards=guards_of(min(ratio, 1.0))))


def test_a_smaller_kernel_is_kept_at_equal_speed_when_it_is_asked_for(root: Path) -> None:
    assert trial(root, MIDDLE, 1.002).verdict.name == "discard"
    report = trial(root, MIDDLE, 1.002, simplify=True)
    assert (report.verdict.name, report.verdict.code) == ("simpler", 0)
    assert incumbent_of(root) == MIDDLE
    facts = report.as_dict()
    assert (facts["simplify"], facts["nodes"] < facts["incumbent_nodes"]) == (True, True)
    assert f"simplify:              {facts['nodes']} nodes, the incumbent has {facts['incumbent_nodes']}\n" in (
        report.as_text()
    )
    assert facts["trials_since_keep"] == 0
    assert main(["audit"]) == 0


def test_what_is_not_smaller_is_judged_by_the_usual_rule_and_told(root: Path) -> None:
    bigger = LARGE + "    d = 4\n"
    assert trial(root, bigger, 1.002, simplify=True).verdict.name == "discard"
    write_kernel(root, bigger)
    options = Options.from_strings({}, root=root, here=root, simplify=True)
    with closing(Gate(options, here=root)) as gate:
        assert "judged by the usual rule" in gate.notices[-1]
    assert trial(root, bigger, 0.9, simplify=True).verdict.name == "keep"
    comments = bigger.replace("a = 1", "a = 1  # words")
    assert trial(root, comments, 1.0, simplify=True).verdict.name == "discard"


def test_it_is_timed_against_the_fastest_kernel_not_the_last_one(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trial(root, MIDDLE, 1.004, simplify=True).verdict.name == "simpler"
    report = trial(root, SMALL, 1.003, simplify=True)
    assert report.trial.incumbent is not None
    assert report.trial.incumbent.source == LARGE.encode()
    assert report.trial.incumbent_origin.startswith("trial 1, ")
    assert report.verdict.name == "simpler"
    assert incumbent_of(root) == SMALL
    capsys.readouterr()
    assert main(["brief", "--json"]) == 0
    gain = json.loads(capsys.readouterr().out)["incumbent"]["gain"]
    assert gain["value"] == pytest.approx(1 / 1.003, abs=1e-4), "not the product of both"
    assert main(["show", "3"]) == 0
    assert "against trial 1:" in capsys.readouterr().out


def test_without_the_fastest_kernels_source_nothing_is_judged(root: Path) -> None:
    trial(root, MIDDLE, 1.004, simplify=True)
    for path in (root / ".lance_ar" / "kept").iterdir():
        if path.read_text() == LARGE:
            path.unlink()
    with pytest.raises(StoreError, match="trial 1, the fastest kernel kept so far, is not in"):
        trial(root, SMALL, 1.0, simplify=True)
    assert verdicts(root) == ["baseline", "simpler"]


def test_against_another_kernel_it_is_smaller_than_that_one(root: Path) -> None:
    (root / "other.py").write_text(LARGE)
    assert trial(root, SMALL, 1.003, simplify=True, against="other.py").verdict.name == "simpler"
    assert verdicts(root) == ["baseline"]


def test_a_new_baseline_is_no_simplification(root: Path) -> None:
    with pytest.raises(OptionError, match="choose one"):
        Options.from_strings({}, root=root, here=root, simplify=True, rebaseline=True)
