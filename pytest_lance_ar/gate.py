"""One run of the gate, from options to report. Knows the rooms and their order, and no pytest."""

from __future__ import annotations

import errno
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from pytest_lance_ar.correctness.examiner import replay_command
from pytest_lance_ar.correctness.examples import Examples
from pytest_lance_ar.files import Staged, remove, write_atomically
from pytest_lance_ar.host import platform
from pytest_lance_ar.host.parent import KernelFault
from pytest_lance_ar.host.scratch import sweep
from pytest_lance_ar.host.turns import turn
from pytest_lance_ar.report.report import Report
from pytest_lance_ar.seal.compiled import CompiledFiles
from pytest_lance_ar.seal.fingerprints import changed, contradicted, fingerprint
from pytest_lance_ar.speed.duel import QUERIES, Progress, duel
from pytest_lance_ar.speed.preparation import Preparation
from pytest_lance_ar.speed.sides import IncumbentFailed
from pytest_lance_ar.store import journal, ledger
from pytest_lance_ar.store.journal import Outcome
from pytest_lance_ar.store.state import Incumbent, State, StateDirectory, StateError
from pytest_lance_ar.targets.registry import target_of
from pytest_lance_ar.trial import git
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.evidence import CorrectnessEvidence, Evidence, Examination, Failure, SpeedEvidence
from pytest_lance_ar.trial.kernel_source import Kernel
from pytest_lance_ar.trial.options import OptionError, Options
from pytest_lance_ar.trial.trial import Trial
from pytest_lance_ar.trial.verdict import ExitCode, Verdict

RECORDED: frozenset[str] = frozenset(
    {"keep", "baseline", "discard", "incorrect", "timeout", "tampered", "inconclusive"}
)
"""Verdicts that leave a row in the ledger. A run without a verdict was no trial."""


class Gate:
    """Collects the evidence of one trial and stores its outcome. What it decides on is in memory from the start."""

    def __init__(self, options: Options, *, here: Path) -> None:
        """Raises OptionError and StateError for what the user must mend first."""
        self._begun = time.monotonic()
        self.options = options
        self.directory = StateDirectory(options.state)
        self.notices: list[str] = []
        sweep()
        self._preparation: Preparation | None = None
        try:
            # First what was typed, so that a mistake leaves nothing behind.
            candidate = _candidate(options)
            against = None if options.against is None else _against(options, here)
            self._check_json()
            if self.stores:
                self._make_ready_to_store()
            self.trial, self._state = _open_trial(options, self.directory, candidate, against)
        except BaseException:
            self.close()
            raise
        self.examples = Examples(self.directory.examples, self.trial.target.name)
        self._unsealed = frozenset({options.kernel.resolve()})
        self._seal = fingerprint(options.root, unsealed=self._unsealed)
        self._compiled = CompiledFiles()
        tampered = changed(self._state.seal, self._seal) if self._state and not options.rebaseline else ()
        self.evidence = Evidence(
            CorrectnessEvidence(expected=self.trial.target.suite_tests),
            against_itself=self.trial.incumbent is None,
            tampered=(*tampered, *contradicted(options.root, self._compiled)),
        )

    @property
    def stores(self) -> bool:
        """Whether this run may change the incumbent and the ledger."""
        return self.options.against is None and self.options.phase == "all"

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begun

    def earlier_examples(self) -> list[str]:
        """Falsifying examples of earlier trials; those of a grammar that is no more are forgotten."""
        known = []
        for spec in self.examples.load():
            try:
                self.trial.target.parse_case(spec)
            except ValueError:
                self.examples.forget(spec)
            else:
                known.append(spec)
        return known

    def examined(self, examination: Examination) -> None:
        """A test of the suite ended."""
        correctness = self.evidence.correctness
        self.evidence = replace(
            self.evidence,
            correctness=replace(
                correctness, examinations=(*correctness.examinations, examination), seconds=self.seconds
            ),
        )
        if examination.failure and examination.failure.case:
            with suppress(OSError):
                if self.options.against is None:
                    self.directory.prepare()
                if self.directory.path.is_dir():  # an incumbent for one run makes none
                    self.examples.save(examination.failure.case)

    @property
    def will_measure(self) -> bool:
        """Whether speed is to be measured, once the kernel has proved correct."""
        return self.options.phase == "all" and not self.evidence.tampered

    @property
    def ready_to_measure(self) -> bool:
        correctness = self.evidence.correctness
        return self.will_measure and not correctness.failed and not correctness.missing

    def prepare_to_measure(self) -> None:
        """Begin what a duel needs while the correctness suite runs."""
        trial = self.trial
        self._preparation = Preparation(
            trial.target,
            trial.candidate,
            trial.incumbent or trial.candidate,
            queries=QUERIES,
            core=trial.core,
            deadline=trial.deadline,
        )

    def measure(self, progress: Progress) -> SpeedEvidence:
        """The default measurement: a duel with the incumbent, or with itself when there is none."""
        if self._preparation is None:
            self.prepare_to_measure()
        assert self._preparation is not None
        progress("preparing", True)
        self._preparation.wait()
        with turn(self.trial.deadline, progress):
            return duel(
                self._preparation,
                core=self.trial.core,
                deadline=self.trial.deadline,
                rtol=self.options.rtol,
                only_figures=self.trial.incumbent is None,
                progress=progress,
            )

    def end_preparation(self) -> None:
        if self._preparation is not None:
            self._preparation.close()
            self._preparation = None

    def measured(self, speed: SpeedEvidence) -> None:
        self.evidence = replace(self.evidence, speed=speed)

    def measuring_failed(self, error: KernelFault | IncumbentFailed) -> None:
        if isinstance(error, IncumbentFailed) and self.trial.incumbent is not None:
            self.evidence = replace(self.evidence, incumbent_failure=error.failure)
        else:
            self.evidence = replace(self.evidence, speed_failure=error.failure)

    def interrupted(self) -> None:
        self.evidence = replace(self.evidence, interrupted=True)

    def broke(self, sentence: str) -> None:
        """The gate itself failed."""
        self.evidence = replace(self.evidence, internal_error=self.evidence.internal_error or sentence)

    def close_evidence(self) -> Evidence:
        """Nothing more will be found out: look at the sealed files once more, and stop the clock."""
        now = fingerprint(self.options.root, unsealed=self._unsealed)
        found = *changed(self._seal, now), *contradicted(self.options.root, self._compiled)
        tampered = dict.fromkeys((*self.evidence.tampered, *found))
        seconds = self.seconds
        phases = {"correctness": self.evidence.correctness.seconds}
        if self.evidence.speed:
            phases["speed"] = self.evidence.speed.seconds
        phases["other"] = seconds - sum(phases.values())
        self.evidence = replace(self.evidence, tampered=tuple(tampered), total_seconds=seconds, phases=phases)
        return self.evidence

    def conclude(self, verdict: Verdict) -> Report:
        """Store the outcome. What cannot be stored is not kept."""
        report = self.report(verdict)
        try:
            self._store(report)
        except (OSError, ledger.LedgerError, StateError) as error:
            report = self.report(Verdict("none", ExitCode.INTERNAL, f"the outcome could not be stored: {error}"))
            self._correct_json(report)
        return report

    def close(self) -> None:
        self.end_preparation()
        self.directory.unlock()

    def report(self, verdict: Verdict) -> Report:
        failure: Failure | None = self.evidence.correctness.failure
        replay = ""
        if failure and failure.case:
            replay = replay_command(failure.case, self.options.kernel_name, self.options.rtol)
        return Report(self.trial, self.evidence, verdict, replay)

    def _store(self, report: Report) -> None:
        """Store all of the outcome or nothing. The journal is what decides; see there."""
        path = self.options.ledger
        with ExitStack() as stack:
            json = None
            if self.options.json is not None:
                json = stack.enter_context(Staged(self.options.json, report.as_json()))
            outcome = None
            if self.stores and report.verdict.name in RECORDED:
                ledger.check(path)
                head = self._head()
                outcome = Outcome(
                    *ledger.compose(path, report.as_row(), head),
                    self._state_with_candidate() if report.verdict.kept else None,
                )
                outcome.write(self.directory)
            try:
                if json is not None:
                    json.publish()
                if outcome is not None:
                    outcome.apply(self.directory, path)
            except (OSError, ledger.LedgerError):
                if outcome is None or outcome.withdraw(self.directory, path):
                    raise
            except BaseException:
                if outcome is not None:
                    journal.withdraw_quietly(outcome, self.directory, path)
                raise

    def _correct_json(self, report: Report) -> None:
        """No report may stand there that says something else than the exit status."""
        if self.options.json is not None:
            with suppress(OSError):
                try:
                    write_atomically(self.options.json, report.as_json())
                except OSError:
                    remove(self.options.json)

    def _head(self) -> ledger.Head | None:
        try:
            return self.directory.load_head()
        except StateError:
            return None  # said in the notices; the chain starts anew

    def _state_with_candidate(self) -> State:
        trial, speed = self.trial, self.evidence.speed
        assert speed is not None, "nothing is kept unmeasured"
        incumbent = Incumbent(
            kernel=trial.candidate,
            target=trial.target.name,
            commit=trial.commit,
            timestamp=trial.timestamp,
            geomean_ns=speed.geomean_ns,
            seed=trial.seed,
        )
        return State(incumbent, self._state.seal if self._state and trial.incumbent else self._seal)

    def _make_ready_to_store(self) -> None:
        """Find out now, not after the measurement, whether the outcome can be stored."""
        path = self.options.ledger
        try:
            if not self.directory.path.exists() and path.exists():
                ledger.check(path)
            self.directory.prepare()
            self.directory.lock()
            self.directory.check()
            recovered = journal.recover(self.directory, path)
            ledger.check(path)
            problem = self._ledgers_problem()
        except OSError as error:
            raise StateError(
                f"{error.filename or self.directory.path} cannot be written ({error.strerror}); name a writable "
                "directory with --lance-ar-state DIR"
            ) from error
        except ledger.LedgerError as error:
            raise StateError(str(error)) from error
        if recovered is not None:
            self.notices.append("an earlier run was cut short while it stored its outcome, which is complete now")
        if problem:
            self.notices.append(f"{path.name} does not verify, {problem}; python -m pytest_lance_ar audit says more")

    def _ledgers_problem(self) -> str:
        try:
            return str(ledger.verify(self.options.ledger, self.directory.load_head()) or "")
        except StateError as error:
            return str(error)

    def _check_json(self) -> None:
        """Find out now whether the report can be written."""
        if self.options.json is not None:
            try:
                with Staged(self.options.json, b""):
                    pass
            except OSError as error:
                raise OptionError(f"--lance-ar-json {self.options.json} cannot be written: {error.strerror}") from error


def _candidate(options: Options) -> Kernel:
    try:
        return Kernel.read(options.kernel, options.kernel_name)
    except OSError as error:
        raise OptionError(f"{options.kernel} cannot be read: {error.strerror}") from error


def _open_trial(
    options: Options, directory: StateDirectory, candidate: Kernel, against: Kernel | None
) -> tuple[Trial, State | None]:
    state, incumbent, origin = None, against, against.name if against else ""
    if against is None and not options.rebaseline:
        state = directory.load()
        if state is not None:
            incumbent = state.incumbent.kernel
            origin = f"incumbent {incumbent.sha256[:12]}, kept {state.incumbent.timestamp} at {state.incumbent.commit}"
    target = target_of(candidate.source)
    if state is not None and state.incumbent.target != target.name:
        raise StateError(
            f"the incumbent is a {state.incumbent.target} kernel and {candidate.name} a {target.name} one; keep each "
            "target's state apart with --lance-ar-state DIR"
        )
    trial = Trial(
        options=options,
        target=target,
        candidate=candidate,
        incumbent=incumbent,
        incumbent_origin=origin,
        commit=git.describe_commit(options.kernel),
        timestamp=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        deadline=Deadline.after(options.budget),
        core=platform.timing_core(),
        incumbent_timestamp=state.incumbent.timestamp if state else "",
    )
    return trial, state


def _against(options: Options, here: Path) -> Kernel:
    against = options.against or ""
    try:
        path = here / against
        if path.is_file():
            return Kernel.read(path, against)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP):
            raise OptionError(f"--lance-ar-against {against!r} cannot be read: {error.strerror}") from error
    except ValueError:
        pass  # no path, with a NUL character in it
    source = git.source_at(options.kernel, against)
    if source is None:
        shallow = "; this clone is shallow, so fetch it first" if git.is_shallow(options.kernel) else ""
        raise OptionError(
            f"--lance-ar-against {against!r} is neither a kernel file nor a git commit, branch or tag that has "
            f"{options.kernel_name}{shallow}"
        )
    return Kernel(f"{against}:{options.kernel_name}", source)
