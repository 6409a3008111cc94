"""One run of the gate, from options to report. Knows the rooms, a door each, and their order; and no pytest."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

from pytest_lance_ar.correctness.examiner import replay_command
from pytest_lance_ar.host import platform
from pytest_lance_ar.host.parent import KernelFault
from pytest_lance_ar.host.scratch import sweep
from pytest_lance_ar.host.turns import at_work, work_places
from pytest_lance_ar.report.json_file import JsonFile
from pytest_lance_ar.report.report import Report
from pytest_lance_ar.seal.watch import Watch
from pytest_lance_ar.speed.duel import Progress
from pytest_lance_ar.speed.measurement import Measurement
from pytest_lance_ar.speed.sides import IncumbentFailed
from pytest_lance_ar.store.store import Store, StoreError, Told
from pytest_lance_ar.targets.registry import files_of
from pytest_lance_ar.trial import syntax
from pytest_lance_ar.trial.deadline import Deadline, begun
from pytest_lance_ar.trial.evidence import NO_KERNELS, Evidence, Examination, SpeedEvidence
from pytest_lance_ar.trial.findings import Findings
from pytest_lance_ar.trial.options import Options
from pytest_lance_ar.trial.remembered import Remembered
from pytest_lance_ar.trial.trial import Incumbent, Kernels, Trial, astray
from pytest_lance_ar.trial.verdict import ExitCode, Verdict


class Gate(Findings):
    """Collects the evidence of one trial and stores its outcome. What it decides on is in memory from the start."""

    def __init__(
        self, options: Options, *, here: Path, since: float = math.inf, tell: Callable[[str], None] = lambda _: None
    ) -> None:
        """Raises OptionError and StoreError for what the user must mend first. since: when the run began, by the wall
        clock, where that is known: on a busy machine imports alone take seconds. tell: of a gate that is waited for."""
        self._begun = min(begun(), since)
        deadline = Deadline(self._begun + options.budget)
        self.options = options
        self._store = Store.of(options)
        self._json = JsonFile(options.json)
        self._stuck = sweep().stuck
        try:
            # First what was typed, so that a mistake leaves nothing behind.
            kernels = Kernels.read(options, here)
            self._json.check()
            if self.stores:
                self._store.open(anew=options.rebaseline, deadline=deadline, tell=tell)
            remembers = options.against is None and not options.rebaseline
            incumbent = self._store.incumbent if remembers else None
            self.trial = Trial.open(
                options,
                kernels,
                incumbent,
                fastest=self._store.fastest,
                deadline=deadline,
                core=platform.timing_core(),
            )
            if incumbent is not None:
                self.trial = replace(self.trial, origin=self._store.origin())
            self._sealed = self._store.seal if remembers else None
            self._astray = astray(options, incumbent, self._store.source_file(incumbent.kernel)) if incumbent else ""
            self._syntax = syntax.digest(self.trial.candidate.source)
            self._remembered = self._store.recall(options, self._syntax) if self.stores else Remembered()
            self._announce("correctness")
        except BaseException:
            self._store.close()
            raise
        self._waited = self._store.waited
        self._incumbent = incumbent
        code = self._store.code_of(incumbent) if incumbent is not None else b""
        known = {incumbent.kernel.sha256: code} if incumbent is not None and code else {}
        self._measurement = Measurement(self.trial, known)
        self._watch = Watch(options.root, unsealed=options.kernel, beside=partial(files_of, self.trial.target))
        super().__init__(self.trial, tampered=self._watch.since(self._sealed))

    @property
    def notices(self) -> list[str]:
        """What the user should know before anything runs, a sentence each."""
        stuck = (f"{path}, left by a killed run, cannot be removed; remove it by hand" for path in self._stuck)
        return [*self._store.notices, *stuck, *filter(None, [self._astray, self.trial.not_smaller])]

    @property
    def stores(self) -> bool:
        """Whether this run may change the incumbent and the ledger."""
        return self.options.against is None and self.options.phase == "all"

    @property
    def seconds(self) -> float:
        return time.time() - self._begun

    @property
    def waited(self) -> float:
        """Seconds that went by waiting for other gates: for the state, a place to work, a turn at timing."""
        return self._waited + self._measurement.turn.seconds

    @contextmanager
    def at_work(self, progress: Progress, *, prepare: bool) -> Iterator[None]:
        """Have a place on the machine for the correctness suite, and begin beside it what a duel needs.

        Where another gate times, the duel is prepared later, and this gate keeps off the timing core.
        """
        trial = self.trial
        places = work_places(timing_core_too=not prepare)
        with at_work(trial.deadline, progress, paths=places) as place:
            self._waited += place.seconds
            if prepare:
                self._measurement.prepare()
            self.found_tampered(self._watch.behind())  # while the candidate is compiled
            with platform.kept_off(trial.core) if prepare else nullcontext():
                yield

    def earlier_examples(self) -> list[str]:
        """Falsifying examples of earlier trials."""
        target = self.trial.target
        return self._store.examples(target.name).known(target.parse_case)

    def examined(self, examination: Examination) -> None:
        """A test of the suite ended."""
        self.examination_ended(examination, self.seconds - self.waited)
        if examination.failure and examination.failure.case and examination.failure.kind not in NO_KERNELS:
            self._store.remember_example(
                self.trial.target.name, examination.failure.case, make_room=self.options.against is None
            )

    def code_of_candidate(self) -> bytes:
        """What the candidate compiled to, once it is there. Raises KernelFault where compiling never ended."""
        return self._measurement.code_of_candidate()

    def measure(self, progress: Progress) -> SpeedEvidence:
        """The default measurement: a duel with the incumbent, or with itself when there is none."""
        self._announce("speed")
        return self._measurement.run(progress)

    def end_preparation(self) -> None:
        self._measurement.close()

    def measuring_failed(self, error: KernelFault | IncumbentFailed) -> None:
        self.failed(error.failure, of_incumbent=isinstance(error, IncumbentFailed) and self.trial.incumbent is not None)

    def close_evidence(self) -> Evidence:
        """Nothing more will be found out: look at the sealed files once more, and stop the clock."""
        return self.closed(
            tampered=self._watch.meanwhile(),
            seconds=self.seconds,
            waited=self.waited,
            unavoidable=self._measurement.unavoidable,
        )

    def report(self, verdict: Verdict) -> Report:
        failure = self.evidence.correctness.failure
        replay = ""
        if failure and failure.case:
            replay = replay_command(failure.case, self.options.kernel_name, self.options.rtol)
        since = self._remembered.trials_since_keep
        if self.stores and verdict.recorded:
            since = 0 if verdict.kept else (since or 0) + 1
        return Report(self.trial, self.evidence, verdict, replay, replace(self._remembered, trials_since_keep=since))

    def conclude(self, verdict: Verdict) -> Report:
        """Store the outcome. What cannot be stored is not kept."""
        report = self.report(verdict)
        try:
            with self._json.staged(report) as publish:
                if self.stores and verdict.recorded:
                    kept = self._candidate_as_incumbent() if verdict.kept else None
                    seal = self._sealed if self._sealed is not None else self._watch.seal
                    told = Told(self.trial.candidate, str(self.options.kernel), self._syntax, report.as_dict())
                    self._store.record(report.as_row(), kept=kept, seal=seal, told=told, publish=publish)
                    if kept is None and self._incumbent is not None:
                        self._remember_code_of(self._incumbent)
                else:
                    publish()
        except (OSError, StoreError) as error:
            report = self.report(Verdict("none", ExitCode.INTERNAL, f"the outcome could not be stored: {error}"))
            self._json.correct(report)
        return report

    def close(self) -> None:
        self.end_preparation()
        self._store.close()

    def _announce(self, phase: str) -> None:
        if self.stores:
            self._store.announce(self.options.note, phase)

    def _remember_code_of(self, incumbent: Incumbent) -> None:
        """Where this trial compiled the incumbent, the next one need not."""
        code = self._measurement.code_known_of(incumbent.kernel)
        if code and not self._store.code_of(incumbent):
            self._store.remember_code(incumbent, code)

    def _candidate_as_incumbent(self) -> Incumbent:
        trial, speed = self.trial, self.evidence.speed
        assert speed is not None, "nothing is kept unmeasured"
        return Incumbent(
            kernel=trial.candidate,
            target=trial.target.name,
            commit=trial.commit,
            timestamp=trial.timestamp,
            geomean_ns=speed.geomean_ns,
            seed=trial.seed,
            code=self._store.keep_code(self._measurement.code_known_of(trial.candidate)),
        )
