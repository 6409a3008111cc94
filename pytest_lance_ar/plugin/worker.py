"""Runs the shipped suite: all that an xdist worker has of the gate, and a part of the session."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from typing import Any, Final

import hypothesis
import pytest
from hypothesis.configuration import set_hypothesis_home_dir

from pytest_lance_ar.correctness.examiner import Examiner
from pytest_lance_ar.host.scratch import ScratchDirectory
from pytest_lance_ar.plugin import suite
from pytest_lance_ar.plugin.suite import BRIEF, Brief
from pytest_lance_ar.targets.registry import target_of

WORKER_INPUT: Final = "lance_ar"
REPORT_ATTRIBUTE: Final = "lance_ar"


class SuiteHooks:
    """Runs the shipped suite. An xdist worker needs no more; in the controlling process `GateSession` adds the rest."""

    _hypothesis_home: ScratchDirectory | None = None

    def __init__(self, config: pytest.Config, brief: Brief) -> None:
        self.config = config
        self.brief = brief
        config.stash[BRIEF] = brief
        if not config.pluginmanager.hasplugin(suite.__name__):
            config.pluginmanager.register(suite, suite.__name__)
        self.target = target_of(brief.source)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> bool | None:
        """Collect the suite and nothing else, by itself: a conftest.py above this package is no part of it."""
        if self.config.pluginmanager.hasplugin("dsession"):
            return None  # xdist's workers collect
        hook = self.config.hook
        module = pytest.Module.from_parent(session, path=self.target.suite, nodeid=self.target.name)
        session.items = list(session.genitems(module))
        try:
            hook.pytest_collection_modifyitems(session=session, config=self.config, items=session.items)
        finally:
            hook.pytest_collection_finish(session=session)
        session.testscollected = len(session.items)
        return True

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        # What Hypothesis caches is of no use to the next trial: it would only litter the user's directory.
        self._hypothesis_home = ScratchDirectory()
        set_hypothesis_home_dir(self._hypothesis_home.path)
        _draw_no_constants()
        seen = set()
        for item in items:
            if not isinstance(item, pytest.Function) or item.obj in seen:
                continue
            test = item.obj
            if not getattr(test, "is_hypothesis_test", False):
                continue
            seen.add(test)
            hypothesis.seed(self.brief.seed)(test)
            hypothesis.settings(
                max_examples=item.module.EXAMPLES[item.originalname],
                deadline=None,  # the examiner has its own
                database=None,  # falsifying examples are stored as cases, by the gate
                derandomize=False,
                print_blob=False,
                suppress_health_check=list(hypothesis.HealthCheck),
            )(test)

    def pytest_unconfigure(self) -> None:
        if self._hypothesis_home is not None:
            self._hypothesis_home.close()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        examiner: Examiner | None = getattr(item, "funcargs", {}).get("examiner")
        if call.when == "call" and examiner is not None:
            failure = examiner.failure
            record = {
                "examples": examiner.examples,
                "failure": failure.as_dict() if failure and call.excinfo else None,
            }
            setattr(report, REPORT_ATTRIBUTE, record)
            if record["failure"]:
                item.session.shouldfail = "one failure decides"
            if failure and report.failed:  # not where another plugin made it an expected one
                # The sentence first: pytest's short summary shows the first line.
                where = failure.where and f"on {failure.where}"
                words = [failure.sentence, failure.extent, where, failure.hint, failure.detail]
                report.longrepr = "\n".join(filter(None, words))
        return report


def _draw_no_constants() -> None:
    """Have Hypothesis not read every module that it takes for the user's, in search of numbers to draw.

    That takes most of a second, and what it draws then depends on where this package is installed.
    """
    with suppress(ImportError):
        from hypothesis.internal.conjecture import providers

        if hasattr(providers, "is_local_module_file"):
            providers.is_local_module_file = lambda _path: False


class XdistHooks:
    """Only registered where xdist is."""

    def __init__(self, session: SuiteHooks) -> None:
        self.session = session

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput[WORKER_INPUT] = self.session.brief.as_dict()
