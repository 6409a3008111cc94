"""Evidence is complete when it is closed, and what is found first stays."""

from __future__ import annotations

import pytest

from pytest_lance_ar.trial.evidence import Examination
from pytest_lance_ar.trial.findings import Findings
from tests.builders import WRONG, all_passed, speed_of, trial_of


def test_only_a_correct_kernel_is_to_be_measured() -> None:
    findings = Findings(trial_of(), tampered=())
    ready = [findings.ready_to_measure]
    for examination in all_passed():
        findings.examination_ended(examination, 1.5)
    ready.append(findings.ready_to_measure)
    findings.examination_ended(Examination("test_more", False, 3, WRONG), 2.0)
    ready.append(findings.ready_to_measure)
    assert ready == [False, True, False]
    assert (findings.will_measure, findings.evidence.correctness.seconds) == (True, 2.0)
    assert not Findings(trial_of(), tampered=("conftest.py",)).will_measure


def test_phases_add_up_to_all_seconds() -> None:
    findings = Findings(trial_of(), tampered=("conftest.py",))
    findings.measured(speed_of(0.9))
    evidence = findings.closed(
        tampered=("pyproject.toml", "conftest.py"), seconds=50.0, waited=3.0, unavoidable={"start": 0.1, "compile": 1.5}
    )
    assert sum(evidence.phases.values()) == pytest.approx(evidence.total_seconds) == 50.0
    assert (evidence.phases["waiting"], evidence.waited_seconds) == (3.0, 3.0)
    assert evidence.tampered == ("conftest.py", "pyproject.toml")
    assert evidence.unavoidable == {"start": 0.1, "compile": 1.5}


def test_the_first_error_of_the_gate_is_told() -> None:
    findings = Findings(trial_of(), tampered=())
    findings.broke("the first")
    findings.broke("what came of it")
    assert findings.evidence.internal_error == "the first"
    findings.failed(WRONG, of_incumbent=True)
    assert (findings.evidence.incumbent_failure, findings.evidence.speed_failure) == (WRONG, None)
