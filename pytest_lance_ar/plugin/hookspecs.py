"""Hooks of the gate. A conftest may implement them to add to a step or to replace it; conftest.py is sealed.

The default implementations are in `plugin`; each step of the flow (trial -> evidence -> verdict -> report) has one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_lance_ar.report.report import Report
    from pytest_lance_ar.speed.duel import Progress
    from pytest_lance_ar.trial.evidence import Evidence, SpeedEvidence
    from pytest_lance_ar.trial.trial import Trial
    from pytest_lance_ar.trial.verdict import Verdict


@pytest.hookspec(firstresult=True)
def pytest_lance_ar_measure(trial: Trial, progress: Progress) -> SpeedEvidence | None:
    """Measure the candidate beside the incumbent. Called once the correctness suite has passed in full, in the
    controlling process, when no xdist worker lives any more.

    Stops at the first result that is not None. `progress` shows one line of text.
    """


@pytest.hookspec(firstresult=True)
def pytest_lance_ar_decide(trial: Trial, evidence: Evidence) -> Verdict | None:
    """Judge the evidence. Stops at the first result that is not None."""


@pytest.hookspec
def pytest_lance_ar_report(report: Report) -> None:
    """The trial is decided: report it. All implementations are called, then the outcome is stored; an implementation
    that raises leaves it unstored."""
