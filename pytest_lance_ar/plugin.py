"""pytest's hooks, and nothing but: each hands over to the gate. Nothing heavy is imported without `--lance-ar`."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Generator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_lance_ar import hookspecs

if TYPE_CHECKING:
    from pytest_lance_ar.correctness.examiner import Examiner
    from pytest_lance_ar.gate import Gate
    from pytest_lance_ar.host.scratch import ScratchDirectory
    from pytest_lance_ar.report.report import Report
    from pytest_lance_ar.speed.duel import Progress
    from pytest_lance_ar.suite import Brief
    from pytest_lance_ar.trial.evidence import Evidence, SpeedEvidence
    from pytest_lance_ar.trial.trial import Trial
    from pytest_lance_ar.trial.verdict import Verdict

STARTED_OVER = pytest.StashKey[bool]()
PLUGIN_NAME = "lance_ar_session"
WORKER_INPUT = "lance_ar"
REPORT_ATTRIBUTE = "lance_ar"
INI_TWINS = {
    "kernel": ("PATH", "the kernel to judge (default: kernel/pq_l2.py)"),
    "seed": ("N", "seed of all data (default: a fresh one each run; the report names it)"),
    "budget": ("SECONDS", "what a trial may take, all included (default: 600)"),
    "state": ("DIR", "where the incumbent is stored (default: .lance_ar); another directory holds results.tsv as well"),
    "rtol": ("R", "accept errors within R x |reference| as well; at most 1e-6 (default: 0)"),
}
"""Options that have a twin in the ini file: a relative path there is relative to the project's root."""
COMMAND_LINE_ONLY = {
    "against": ("PATH_OR_GIT_REF", "the incumbent for this run only; nothing is stored"),
    "note": ("TEXT", "what this trial tries, for results.tsv"),
    "json": ("PATH", "write the report as JSON as well"),
    "phase": ("{all,correctness}", "correctness: no timing and no verdict (exit status 5 when it passes)"),
}
FLAGS = {
    "rebaseline": "a correct kernel becomes the incumbent, and the sealed files are sealed anew",
    "selftest": "what this host resolves: the kernel against itself, equal and made 1 to 3%% slower (exit status 5)",
}
HELP_ORDER = ("kernel", "note", "against", "json", "phase", "seed", "budget", "state", "rtol")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("lance-ar", "experiment gate for PQ kernels (--lance-ar)")
    group.addoption(
        "--lance-ar",
        action="store_true",
        dest="lance_ar",
        help="judge the kernel. Exit status: 0 kept, 1 discarded, 2 incorrect, 3 timeout, 4 usage error, 5 no verdict, "
        "10 tampered, 11 inconclusive",
    )
    options = {**INI_TWINS, **COMMAND_LINE_ONLY}
    for name in HELP_ORDER:
        metavar, text = options[name]
        group.addoption(f"--lance-ar-{name}", dest=f"lance_ar_{name}", metavar=metavar, default=None, help=text)
    for name, text in FLAGS.items():
        group.addoption(f"--lance-ar-{name}", action="store_true", dest=f"lance_ar_{name}", help=text)
    for name, (_, text) in INI_TWINS.items():
        parser.addini(f"lance_ar_{name}", help=f"--lance-ar-{name}: {text}", default="")


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(hookspecs)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if not config.getoption("lance_ar"):
        return
    worker_input = getattr(config, "workerinput", None)
    session = _open_session(config) if worker_input is None else _open_worker(config, worker_input)
    config.pluginmanager.register(session, PLUGIN_NAME)
    if worker_input is None and config.pluginmanager.hasplugin("xdist"):
        config.pluginmanager.register(XdistHooks(session), f"{PLUGIN_NAME}_xdist")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, Any, Any]:
    """The last word on the exit status: under `--lance-ar`, 0 needs a verdict that says so."""
    result = yield
    if (
        not config.getoption("lance_ar", False)
        or hasattr(config, "workerinput")
        or config.stash.get(STARTED_OVER, False)
    ):
        return result
    from pytest_lance_ar.trial.verdict import ExitCode

    session = config.pluginmanager.get_plugin(PLUGIN_NAME)
    if session is not None:
        return session.exit_code(result)
    # The gate was never opened: what was asked for needed none, or opening it failed.
    return ExitCode.NONE if result in (None, pytest.ExitCode.OK) else ExitCode.INTERNAL


@pytest.hookimpl(tryfirst=True, specname="pytest_cmdline_main")
def pytest_cmdline_main_in_the_right_root(config: pytest.Config) -> int | None:
    """pytest takes a path behind an option that it does not know yet for a place to look for the project's root.

    A kernel, a state directory or a note that is the name of a file would then choose another project: another state,
    another incumbent. Start over with `--option=value`, which pytest leaves alone.
    """
    invocation = config.invocation_params
    arguments = _joined(invocation.args, invocation.dir)
    if not config.getoption("lance_ar") or arguments == list(invocation.args) or hasattr(config, "workerinput"):
        return None
    config.stash[STARTED_OVER] = True
    return int(pytest.main(arguments, plugins=invocation.plugins))


def pytest_lance_ar_decide(trial: Trial, evidence: Evidence) -> Verdict:
    from pytest_lance_ar.trial.verdict import decide

    return decide(trial, evidence)


def _joined(arguments: Iterable[str | os.PathLike[str]], here: Path) -> list[str]:
    """Arguments with `--lance-ar-x value` as `--lance-ar-x=value` wherever the value is a path that exists."""
    options = {f"--lance-ar-{name}" for name in (*INI_TWINS, *COMMAND_LINE_ONLY)}
    joined: list[str] = []
    for argument in (os.fspath(argument) for argument in arguments):
        if joined and joined[-1] in options and os.path.lexists(here / argument):
            joined[-1] = f"{joined[-1]}={argument}"
        else:
            joined.append(argument)
    return joined


def _open_session(config: pytest.Config) -> Controller:
    if sys.platform == "win32":
        raise pytest.UsageError(
            "the gate needs Linux or macOS: on Windows it cannot isolate and pin a kernel's process"
        )
    from pytest_lance_ar.gate import Gate
    from pytest_lance_ar.store.store import StoreError
    from pytest_lance_ar.trial.options import OptionError, Options

    values = {name: _value(config, name) for name in (*INI_TWINS, *COMMAND_LINE_ONLY)}
    here = config.invocation_params.dir
    selftest = config.getoption("lance_ar_selftest")
    if selftest and getattr(config.option, "numprocesses", None):
        raise pytest.UsageError("--lance-ar-selftest times kernels and nothing else; run it without -n")
    try:
        options = Options.from_strings(
            values, root=config.rootpath, here=here, rebaseline=config.getoption("lance_ar_rebaseline")
        )
        if selftest:
            options = replace(options, against=str(options.kernel), rebaseline=False)
        gate = Gate(options, here=here)
    except (OptionError, StoreError) as error:
        raise pytest.UsageError(str(error)) from error
    return SelftestSession(config, gate) if selftest else GateSession(config, gate)


def _value(config: pytest.Config, name: str) -> str | None:
    given: str | None = config.getoption(f"lance_ar_{name}")
    if given is not None or name not in INI_TWINS:
        return given
    value = str(config.getini(f"lance_ar_{name}"))
    return str(config.rootpath / value) if value and name in ("kernel", "state") else value


def _open_worker(config: pytest.Config, worker_input: dict[str, Any]) -> SuiteHooks:
    from pytest_lance_ar.suite import Brief

    return SuiteHooks(config, Brief.from_dict(worker_input[WORKER_INPUT]))


class SuiteHooks:
    """Runs the shipped suite. An xdist worker needs no more; in the controlling process `GateSession` adds the rest."""

    _hypothesis_home: ScratchDirectory | None = None

    def __init__(self, config: pytest.Config, brief: Brief) -> None:
        from pytest_lance_ar.suite import BRIEF
        from pytest_lance_ar.targets.registry import target_of

        self.config = config
        self.brief = brief
        config.stash[BRIEF] = brief
        config.pluginmanager.import_plugin("pytest_lance_ar.suite")
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
        import hypothesis
        from hypothesis.configuration import set_hypothesis_home_dir

        from pytest_lance_ar.host.scratch import ScratchDirectory

        # What Hypothesis caches is of no use to the next trial: it would only litter the user's directory.
        self._hypothesis_home = ScratchDirectory()
        set_hypothesis_home_dir(self._hypothesis_home.path)
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
                words = [failure.sentence, failure.where and f"on {failure.where}", failure.hint, failure.detail]
                report.longrepr = "\n".join(filter(None, words))
        return report


class XdistHooks:
    """Only registered where xdist is."""

    def __init__(self, session: SuiteHooks) -> None:
        self.session = session

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput[WORKER_INPUT] = self.session.brief.as_dict()


class Controller(SuiteHooks):
    """The controlling process: it has the gate, and the last word."""

    def __init__(self, config: pytest.Config, gate: Gate) -> None:
        from pytest_lance_ar.suite import Brief

        self.gate = gate
        trial = gate.trial
        brief = Brief(
            name=trial.candidate.name,
            source=trial.candidate.source,
            deadline=trial.deadline.moment,
            seed=trial.seed,
            rtol=trial.options.rtol,
            examples=tuple(gate.earlier_examples()),
        )
        super().__init__(config, brief)

    def pytest_report_header(self) -> list[str]:
        from pytest_lance_ar.report.report import header

        return [*header(self.gate.trial), *(f"lance-ar: {notice}" for notice in self.gate.notices)]

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        if excinfo.type is KeyboardInterrupt:  # pytest's own ways to stop are subclasses of it
            self.gate.interrupted()

    def pytest_internalerror(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        self.gate.broke(f"internal error: {excinfo.exconly()}")

    def pytest_unconfigure(self) -> None:
        super().pytest_unconfigure()
        self.gate.close()

    def exit_code(self, pytest_status: int | None) -> int:
        """The exit status of this run, whatever pytest thinks of it."""
        raise NotImplementedError

    def _write(self, text: str, **markup: bool) -> None:
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.write(text, flush=True, **markup)
        else:
            sys.stdout.write(text)
            sys.stdout.flush()


class GateSession(Controller):
    """A trial: collects the evidence, measures, decides, reports, stores, and sets the exit status."""

    report: Report | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        from pytest_lance_ar.trial.evidence import Examination, Failure

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
        if self.gate.will_measure and only_ours and not session.config.option.collectonly:
            self.gate.prepare_to_measure()
        try:
            result = yield
            if self.gate.ready_to_measure and not session.config.option.collectonly:
                self._end_workers()
                self._measure()
        finally:
            self.gate.end_preparation()
        return result

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> bool | None:
        # Nothing can save a trial whose sealed files changed: collect nothing.
        return True if self.gate.evidence.tampered else super().pytest_collection(session)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        self._decide()
        self._add_junit_properties()
        result = None
        try:
            result = yield
        except Exception:  # another plugin's failure must not become an exit status of ours
            self._broke()
        if self.report is not None:
            # Storing is the last act, so that whatever fails before leaves the state as it was.
            self.report = self.gate.conclude(self.report.verdict)
            self._tell_github(self.report)
            self._print(self.report)
        session.exitstatus = self.exit_code(session.exitstatus)
        return result

    def exit_code(self, pytest_status: int | None) -> int:
        """The exit status of this run. Without a report it is an error, unless pytest found one of the user's."""
        from pytest_lance_ar.trial.verdict import ExitCode

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
            verdict = self.config.hook.pytest_lance_ar_decide(trial=gate.trial, evidence=evidence)
            self.report = gate.report(verdict)
            self.config.hook.pytest_lance_ar_report(report=self.report)
        except Exception:
            self._broke()

    def _broke(self) -> None:
        from pytest_lance_ar.trial.verdict import ExitCode, Verdict

        trace = traceback.format_exc()
        self._write(f"\nThe gate itself failed. Please report this:\n{trace}\n")
        self.gate.broke(f"the gate itself failed: {trace.strip().splitlines()[-1]}")
        self.report = self.gate.report(Verdict("none", ExitCode.INTERNAL, self.gate.evidence.internal_error))

    def _measure(self) -> None:
        from pytest_lance_ar.host.parent import KernelFault
        from pytest_lance_ar.speed.sides import IncumbentFailed

        progress = LineProgress(self.config)
        try:
            self.gate.measured(self.config.hook.pytest_lance_ar_measure(trial=self.gate.trial, progress=progress))
        except (KernelFault, IncumbentFailed) as error:
            self.gate.measuring_failed(error)
        except Exception:
            self._broke()
        finally:
            progress.end()

    def _print(self, report: Report) -> None:
        """The block; only its verdict has a colour, and only where pytest has colours."""
        from pytest_lance_ar.trial.verdict import ExitCode

        name, code = report.verdict.name, report.verdict.code
        before, name, after = report.as_text().partition(name)
        undecided = code in (ExitCode.DISCARD, ExitCode.NONE, ExitCode.INCONCLUSIVE, ExitCode.INTERRUPTED)
        self._write(before)
        self._write(
            name, bold=True, green=report.verdict.kept, yellow=undecided, red=not (report.verdict.kept or undecided)
        )
        self._write(after)

    def _tell_github(self, report: Report) -> None:
        """In a workflow of GitHub Actions: an annotation, and the step's summary where there is one."""
        from pytest_lance_ar.report import github

        if github.is_here():
            self._write(github.annotation(report, os.environ.get("GITHUB_WORKSPACE", "")))
        path = os.environ.get("GITHUB_STEP_SUMMARY")
        if path:
            try:
                github.write_summary(report, Path(path))
            except OSError as error:
                self._write(f"lance-ar: the step's summary cannot be written: {error}\n")

    def _end_workers(self) -> None:
        """xdist's workers live until the session ends; while they do, they take time from the core we measure on."""
        controller = self.config.pluginmanager.get_plugin("dsession")
        manager = getattr(controller, "nodemanager", None)
        if manager is not None:
            manager.teardown_nodes()

    def _add_junit_properties(self) -> None:
        from _pytest.junitxml import xml_key

        xml = self.config.stash.get(xml_key, None)
        if xml is not None and self.report is not None:
            for key, value in self.report.as_properties().items():
                xml.add_global_property(f"lance_ar_{key}", value)


class SelftestSession(Controller):
    """Measures the gate instead of a kernel. There is no verdict, so the exit status is that of none."""

    text = ""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> bool:
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self) -> bool:
        from pytest_lance_ar.host.parent import KernelFault
        from pytest_lance_ar.speed.selftest import selftest
        from pytest_lance_ar.speed.sides import IncumbentFailed

        progress = LineProgress(self.config)
        try:
            self.text = selftest(self.gate.trial, progress).as_text()
        except (KernelFault, IncumbentFailed) as error:
            self.text = f"---\nthe kernel does not run: {error}\n"
        finally:
            progress.end()
        return True

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        result = yield
        session.exitstatus = self.exit_code(session.exitstatus)
        self._write(self.text)
        return result

    def exit_code(self, pytest_status: int | None) -> int:
        from pytest_lance_ar.trial.verdict import ExitCode

        if self.gate.evidence.interrupted:
            return ExitCode.INTERRUPTED
        return ExitCode.NONE if self.text else ExitCode.INTERNAL


class LineProgress:
    """Progress in the terminal: one line, rewritten, where there is a terminal; else a line for what lasts.

    Under -q a file gets none, and under -qq a terminal neither.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._reporter = config.pluginmanager.get_plugin("terminalreporter")
        if self._reporter is not None and self._reporter.verbosity < (-1 if self._reporter.isatty else 0):
            self._reporter = None
        self._rewrites = self._reporter is not None and self._reporter.isatty
        if self._reporter is not None:
            self._reporter.ensure_newline()  # pytest leaves its last line of dots open

    def __call__(self, text: str, passing: bool = False, /) -> None:
        if self._rewrites:
            self._rewrite(f"lance-ar: {text}")
        elif self._reporter is not None and not passing:
            self._reporter.write_line(f"lance-ar: {text}")
            self._reporter.flush()

    def end(self) -> None:
        if self._rewrites:
            self._rewrite("")

    def _rewrite(self, text: str) -> None:
        assert self._reporter is not None
        # A line that wraps could not be rewritten.
        self._reporter.rewrite(text[: max(0, self._reporter._tw.fullwidth - 1)], erase=True)
        self._reporter.flush()
