"""A run of the gate, as pytest goes through it."""

from __future__ import annotations

import os
import traceback
from collections.abc import Generator
from pathlib import Path

import pytest

from pytest_lance_ar.host.alarm import in_time
from pytest_lance_ar.host.parent import KernelFault
from pytest_lance_ar.plugin.controller import Controller
from pytest_lance_ar.plugin.junit import add_junit_properties
from pytest_lance_ar.plugin.suite import CODE
from pytest_lance_ar.plugin.terminal import LineProgress, write, write_block
from pytest_lance_ar.plugin.worker import REPORT_ATTRIBUTE
from pytest_lance_ar.report import github
from pytest_lance_ar.report.report import Report
from pytest_lance_ar.speed.duel import Progress
from pytest_lance_ar.speed.sides import IncumbentFailed
from pytest_lance_ar.text import lines
from pytest_lance_ar.trial.evidence import Evidence, Examination, Failure, SpeedEvidence
from pytest_lance_ar.trial.verdict import ExitCode, Verdict, decide


class GateSession(Controller):
    """A trial: collects the evidence, measures, decides, reports, stores, and sets the exit status."""

    report: Report | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        record = getattr(report, REPORT_ATTRIBUTE, None)
        if record is None and not report.failed:
            return
        failure = None
        if record and record["failure"]:
            failure = Failure.from_dict(record["failure"])
        test = report.nodeid.partition("::")[2]
        self.gate.examined(Examination(test, report.passed, record["examples"] if record else 0, failure))

    @pytest.hookimpl(trylast=True)  # a conftest was there before this session, and would else be called after it
    def pytest_lance_ar_measure(self, progress: Progress) -> SpeedEvidence:
        return self.gate.measure(progress)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        only_ours = len(self.config.hook.pytest_lance_ar_measure.get_hookimpls()) == 1
        prepare = self.gate.will_measure and only_ours and not session.config.option.collectonly
        if prepare:
            self.config.stash[CODE] = self.gate.code_of_candidate
        try:
            with self.gate.at_work(LineProgress(self.config), prepare=prepare):
                if self.gate.evidence.tampered:
                    session.items.clear()
                result = yield
            if self.gate.ready_to_measure and not session.config.option.collectonly:
                self._end_workers()
                self._measure()
        finally:
            self.gate.end_preparation()
        return result

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> bool | None:
        # Nothing can save a trial whose sealed files changed: collect nothing, and run nothing.
        return True if self.gate.evidence.tampered else super().pytest_collection(session)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        self._decide()
        if self.report is not None:
            add_junit_properties(self.config, self.report)
        result = None
        try:
            result = yield
        except Exception:  # another plugin's failure must not become an exit status of ours
            self._broke()
        if self.report is not None:
            # Storing is the last act, so that whatever fails before leaves the state as it was.
            self.report = self.gate.conclude(self.report.verdict)
            self._tell_github(self.report)
            write_block(self.config, self.report)
        session.exitstatus = self.exit_code(session.exitstatus)
        return result

    def exit_code(self, pytest_status: int | None) -> int:
        """The exit status of this run. Without a report it is an error, unless pytest found one of the user's."""
        if self.report is not None:
            return self.report.verdict.code
        if pytest_status == pytest.ExitCode.USAGE_ERROR:
            return ExitCode.USAGE
        if pytest_status == pytest.ExitCode.OK:
            return ExitCode.NONE
        return ExitCode.INTERNAL

    def _decide(self) -> None:
        gate = self.gate
        try:
            evidence = gate.close_evidence()
            verdict = self._verdict(evidence)
            self.report = gate.report(verdict)
            self.config.hook.pytest_lance_ar_report(report=self.report)
        except Exception:
            self._broke()

    def _verdict(self, evidence: Evidence) -> Verdict:
        """A conftest may decide otherwise, but it is heard only where it is sealed, and on what was measured."""
        trial = self.gate.trial
        if evidence.tampered:
            return decide(trial, evidence)
        verdict: Verdict = self.config.hook.pytest_lance_ar_decide(trial=trial, evidence=evidence)
        if verdict.kept and evidence.speed is None:
            raise RuntimeError("a hook kept a kernel whose speed was not measured")
        return verdict

    def _broke(self) -> None:
        trace = traceback.format_exc()
        write(self.config, f"\nThe gate itself failed. Please report this:\n{lines(trace)}\n")
        self.gate.broke(f"the gate itself failed: {trace.strip().splitlines()[-1]}")
        self.report = self.gate.report(Verdict("none", ExitCode.INTERNAL, self.gate.evidence.internal_error))

    def _measure(self) -> None:
        progress = LineProgress(self.config)
        try:
            with in_time(self.gate.trial.deadline):
                self.gate.measured(self.config.hook.pytest_lance_ar_measure(trial=self.gate.trial, progress=progress))
        except (KernelFault, IncumbentFailed) as error:
            self.gate.measuring_failed(error)
        except Exception:
            self._broke()
        finally:
            progress.end()

    def _tell_github(self, report: Report) -> None:
        """In a workflow of GitHub Actions: an annotation, and the step's summary where there is one."""
        if github.is_here():
            write(self.config, github.annotation(report, os.environ.get("GITHUB_WORKSPACE", "")))
        path = os.environ.get("GITHUB_STEP_SUMMARY")
        if path:
            try:
                github.write_summary(report, Path(path))
            except OSError as error:
                write(self.config, f"lance-ar: the step's summary cannot be written: {error}\n")

    def _end_workers(self) -> None:
        """xdist's workers live until the session ends; while they do, they take time from the core we measure on."""
        controller = self.config.pluginmanager.get_plugin("dsession")
        manager = getattr(controller, "nodemanager", None)
        if manager is not None:
            manager.teardown_nodes()
