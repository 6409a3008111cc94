"""The door to what is remembered between trials: the incumbent, the ledger, kept sources, falsifying examples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final

from pytest_lance_ar.correctness.examples import Examples
from pytest_lance_ar.files import DamagedRecord, read_record, write_record
from pytest_lance_ar.store import journal, ledger, restoration
from pytest_lance_ar.store.journal import Outcome
from pytest_lance_ar.store.ledger import Head, LedgerError
from pytest_lance_ar.store.memory import KEPT, Memory, lineage, precedent, since_keep
from pytest_lance_ar.store.record import TrialRecord
from pytest_lance_ar.store.restoration import NotRestorable, Restoration
from pytest_lance_ar.store.running import Announcement
from pytest_lance_ar.store.state import Occupied, State, StateDirectory, StateError
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.kernel_source import Kernel
from pytest_lance_ar.trial.options import Options
from pytest_lance_ar.trial.places import DEFAULT_STATE, home_of, witness_of
from pytest_lance_ar.trial.remembered import Remembered
from pytest_lance_ar.trial.trial import Incumbent, Origin

__all__ = ["KEPT", "Row", "Store", "StoreError", "Told"]

WITNESS_VERSION: Final = 1
POLL_SECONDS: Final = 0.1
RESERVE_SECONDS: Final = 10.0
"""What a trial needs at the least: a state that is free later is of no use to it."""
Row = tuple[int, dict[str, str]]
"""A row of the ledger, with the number of its line."""


@dataclass(frozen=True)
class Told:
    """What a trial leaves to be remembered beside its row.

    place: the kernel file, an absolute path. syntax: digest of the kernel's syntax tree. report: as JSON's types.
    """

    candidate: Kernel
    place: str
    syntax: str | None
    report: Mapping[str, Any]


class StoreError(Exception):
    """What is remembered cannot be used, or nothing more remembered; the message says why and what to do."""


class Store:
    """A state directory and its ledger. `notices`: what a person should know, a sentence each."""

    def __init__(self, path: Path, ledger_path: Path, witness: Path | None = None) -> None:
        """`witness`: a file elsewhere that remembers that there was an incumbent."""
        self.notices: list[str] = []
        self._witness = witness
        self.waited = 0.0
        self._directory = StateDirectory(path)
        self._ledger = ledger_path
        self._state: State | None = None
        self.memory = Memory(self._directory, ledger_path)
        self._announcement = Announcement(path)

    @classmethod
    def of(cls, options: Options) -> Store:
        is_default = options.state == home_of(options.root) / DEFAULT_STATE
        return cls(options.state, options.ledger, witness_of(options.root) if is_default else None)

    def open(
        self,
        *,
        deadline: Deadline,
        tell: Callable[[str], None],
        anew: bool = False,
        sleep: Callable[[float], None] = sleep,
    ) -> None:
        """Have it all for this process alone, and find out now, not after the measurement, whether it can be stored.

        Waits while another gate has it, until RESERVE_SECONDS before the deadline; `waited` says how long. What a
        killed run left half stored is completed. A history whose incumbent is gone is refused, unless a person starts
        `anew`. Raises StoreError.
        """
        path, directory = self._ledger, self._directory
        try:
            if not directory.path.exists() and path.exists():
                ledger.check(path)
            directory.make()
            self._lock(deadline, tell, sleep)
            directory.prepare()
            directory.check()
            recovered = journal.recover(directory, path)
            ledger.check(path)
            problem = self._ledgers_problem()
        except OSError as error:
            raise StoreError(
                f"{error.filename or directory.path} cannot be written ({error.strerror}); name a writable "
                "directory with --lance-ar-state DIR"
            ) from error
        except (LedgerError, StateError) as error:
            raise StoreError(str(error)) from error
        if not anew and self.incumbent is None and (lost := self._lost_history()):
            raise StoreError(
                f"{lost}; restore {directory.path} (python -m pytest_lance_ar audit says what of it can be), "
                "or run once with --lance-ar-rebaseline"
            )
        if recovered is not None:
            self.notices.append("an earlier run was cut short while it stored its outcome, which is complete now")
        lacking = ledger.lacking(path)
        if lacking:
            self.notices.append(
                f"{path.name} was begun by an earlier version of the gate and goes without {', '.join(lacking)}; "
                "the JSON report has them"
            )
        if problem:
            self.notices.append(f"{path.name} does not verify, {problem}; python -m pytest_lance_ar audit says more")

    def _lock(self, deadline: Deadline, tell: Callable[[str], None], sleep: Callable[[float], None]) -> None:
        begun, told = monotonic(), False
        while True:
            try:
                self._directory.lock()
                break
            except Occupied:
                if deadline.remaining() <= RESERVE_SECONDS:
                    raise
                if not told:
                    tell(f"another gate is running on {self._directory.path}; waiting for it")
                    told = True
                sleep(POLL_SECONDS)
        if told:
            self.waited = monotonic() - begun

    def open_to_audit(self) -> None:
        """Have it all for this process alone; nothing needs to be writable. Raises StoreError."""
        directory = self._directory
        traces = [directory.file, directory.head_file, directory.journal, directory.kept]
        if self._ledger.parent != directory.path:
            traces.append(self._ledger)
        if not any(trace.exists() for trace in traces):
            raise StoreError(f"no trial was ever stored in {directory.path}; name a state directory with --state DIR")
        try:
            if directory.path.is_dir():
                directory.lock()
        except (OSError, StateError) as error:
            raise StoreError(str(error)) from error

    def open_to_read(self) -> bool:
        """Have it for this process alone, if no run has it; whether so. Nothing needs to be there, or writable."""
        try:
            if self._directory.path.is_dir():
                self._directory.lock()
        except (OSError, StateError):
            return False
        return True

    def announce(self, note: str, phase: str) -> None:
        """Tell who watches what the trial of this process, which has the store, is doing."""
        self._announcement.phase(note, phase)

    def close(self) -> None:
        self._announcement.end()
        self._directory.unlock()

    @property
    def incumbent(self) -> Incumbent | None:
        """The best kept kernel; None where there is none. Raises StoreError."""
        state = self._load()
        return state.incumbent if state else None

    def fastest(self) -> Kernel | None:
        """The fastest kernel kept since the last baseline; None without an incumbent. Raises StoreError."""
        incumbent = self.incumbent
        if incumbent is None:
            return None
        try:
            kept = lineage(self.memory.trials())
        except OSError as error:
            raise StoreError(str(error)) from error
        if not kept.fast or (kept.steps[-1].row["kernel_sha256"] == incumbent.kernel.sha256 and not kept.since):
            return incumbent.kernel
        fastest = kept.fast[-1]
        source = self.source_of(fastest.row["kernel_sha256"])
        if source is None:
            raise StoreError(
                f"trial {fastest.number}, the fastest kernel kept so far, is not in {self._directory.kept} any more; "
                "without it --lance-ar-simplify cannot judge"
            )
        return Kernel(f"trial {fastest.number}", source)

    def recall(self, options: Options, syntax: str | None) -> Remembered:
        """What there is to know of earlier trials, of kernels with this syntax tree among them; and the lesson of the
        last one is stored. Raises StoreError."""
        try:
            trials = list(self.memory.trials())
            if options.learned and (refusal := self.memory.learn(str(options.kernel), options.learned)):
                self.notices.append(refusal)
        except OSError as error:
            raise StoreError(f"the memory of earlier trials: {error}") from error
        return Remembered(precedent(trials, syntax), since_keep(trials) if trials else None)

    @property
    def seal(self) -> dict[str, str] | None:
        """The fingerprints taken at the last baseline. Raises StoreError."""
        state = self._load()
        return state.seal if state else None

    def code_of(self, incumbent: Incumbent) -> bytes:
        """What an incumbent compiled to; b"" where that is not known, or not as it was, or for another machine."""
        return self._directory.code.find(incumbent.code)

    def keep_code(self, code: bytes) -> str:
        """Store what a kernel compiled to, that of one kernel. Returns its digest, for the incumbent's record."""
        return self._directory.code.keep(code)

    def remember_code(self, incumbent: Incumbent, code: bytes) -> None:
        """Store what the incumbent of this very state compiled to, if it can be."""
        with suppress(OSError, StateError):
            state = self._directory.load()
            if state is not None and state.incumbent == incumbent and (digest := self.keep_code(code)):
                self._state = replace(state, incumbent=replace(incumbent, code=digest))
                self._directory.save(self._state)

    def examples(self, target: str) -> Examples:
        """The falsifying examples of a target."""
        return Examples(self._directory.examples, target)

    def remember_example(self, target: str, spec: str, *, make_room: bool) -> None:
        """Store a falsifying example, if it can be; where there is no directory yet, only if room is to be made."""
        with suppress(OSError):
            if make_room:
                self._directory.prepare()
            if self._directory.path.is_dir():
                self.examples(target).save(spec)

    def record(
        self,
        row: Mapping[str, str],
        *,
        kept: Incumbent | None,
        seal: Mapping[str, str],
        told: Told | None = None,
        publish: Callable[[], None] = lambda: None,
    ) -> None:
        """Store an outcome, all of it or nothing. The journal is what decides; see there.

        kept: the new incumbent, if the trial kept its candidate; `seal` goes with it. publish: what has to happen
        between the outcome's being sure and its being everywhere. Raises StoreError, and what `publish` raises.
        """
        state = State(kept, dict(seal)) if kept else None
        try:
            ledger.check(self._ledger)
            line, head = ledger.compose(self._ledger, row, self._head())
            record = TrialRecord(head.chain, told.place, told.report, told.syntax) if told else None
            outcome = Outcome(line, head, state, record)
            outcome.write(self._directory, told.candidate if told else None)
            try:
                publish()
                outcome.apply(self._directory, self._ledger)
            except (OSError, LedgerError):
                if outcome.withdraw(self._directory, self._ledger):
                    raise
            except BaseException:
                journal.withdraw_quietly(outcome, self._directory, self._ledger)
                raise
        except (OSError, LedgerError, StateError) as error:
            raise StoreError(str(error)) from error
        if kept is not None and self._witness is not None:
            with suppress(OSError):
                write_record(self._witness, {"version": WITNESS_VERSION, "incumbent": kept.kernel.sha256})

    def recover(self) -> bool:
        """Complete what a killed run left half stored; whether there was something. Raises StoreError."""
        try:
            return journal.recover(self._directory, self._ledger) is not None
        except (OSError, StateError, LedgerError) as error:
            raise StoreError(str(error)) from error

    @property
    def lost(self) -> bool:
        """Whether the incumbent or the ledger's head is gone, of a ledger with kept kernels. Raises StoreError."""
        try:
            return restoration.needed(self._directory, self._ledger)
        except OSError as error:
            raise StoreError(str(error)) from error

    def restoration(self, kernel: Path) -> Restoration:
        """What can be restored of what is lost. kernel: the kernel file, to look for in commits. Raises StoreError."""
        try:
            seen = read_record(self._witness, WITNESS_VERSION) if self._witness else None
        except (OSError, DamagedRecord):
            seen = None
        known = str(seen["incumbent"]) if seen and "incumbent" in seen else None
        try:
            return restoration.plan(self._directory, self._ledger, kernel, known)
        except (NotRestorable, OSError) as error:
            raise StoreError(str(error)) from error

    def restore(self, planned: Restoration, seal: Mapping[str, str]) -> None:
        """Store what was planned. Raises StoreError."""
        directory = self._directory
        try:
            directory.prepare()
            for kernel in (*planned.found, planned.incumbent.kernel):
                directory.keep_source(kernel)
            directory.save_head(planned.head)
            directory.save(State(planned.incumbent, dict(seal)))  # last: without it the state is as lost as it was
        except OSError as error:
            raise StoreError(str(error)) from error

    def problem(self) -> str:
        """The first thing that is wrong with the ledger, its kept kernels or the incumbent; "" when all is well."""
        try:
            return self._problem()
        except (OSError, StateError, LedgerError) as error:
            return str(error)

    def head(self) -> Head:
        """What is remembered of the ledger. Raises StoreError."""
        try:
            return self._directory.load_head() or Head()
        except StateError as error:
            raise StoreError(str(error)) from error

    def rows(self) -> Iterator[Row]:
        """Every whole row of the ledger. Raises StoreError."""
        try:
            yield from ledger.rows(self._ledger)
        except OSError as error:
            raise StoreError(str(error)) from error

    def origin(self) -> Origin | None:
        """The last baseline, and what the kernels kept since claim together. None where there were none, or where it
        cannot be told; that the ledger does not verify is said in the notices."""
        kept: list[dict[str, str]] = []
        with suppress(OSError, LedgerError):
            for _, row in ledger.rows(self._ledger):
                if row["verdict"] in KEPT:
                    kept = [*(kept if row["verdict"] != "baseline" else ()), row]
        if len(kept) < 2 or kept[0]["verdict"] != "baseline":
            return None
        source = self.source_of(kept[0]["kernel_sha256"])
        try:
            claimed = math.prod(float(row["speedup"]) for row in kept[1:])
        except ValueError:
            return None
        if source is None or not (math.isfinite(claimed) and claimed > 0):
            return None
        return Origin(Kernel(f"baseline {kept[0]['kernel_sha256'][:12]}", source), claimed, keeps=len(kept) - 1)

    def source_of(self, sha256: str) -> bytes | None:
        """The source of a kept kernel; None where it is not there, or not the one of this hash."""
        return self._directory.source_of(sha256)

    def _load(self) -> State | None:
        if self._state is None:
            try:
                self._state = self._directory.load()
            except StateError as error:
                raise StoreError(str(error)) from error
        return self._state

    def _problem(self) -> str:
        directory, path = self._directory, self._ledger
        head = directory.load_head()
        if head is not None and head.rows and not path.exists():
            return f"the file is gone; it had {head.rows} rows"
        problem = ledger.verify(path, head)
        if problem:
            return str(problem)
        kept = [(line, row) for line, row in ledger.rows(path) if row["verdict"] in KEPT]
        for line, row in kept:
            if directory.source_of(row["kernel_sha256"]) is None:
                return f"line {line}: the kernel that was kept here is not in {directory.kept}, or is another one"
        state = directory.load()
        if state is None and kept:
            return f"line {kept[-1][0]}: a kernel was kept here, and there is no incumbent"
        if state is not None and kept and state.incumbent.kernel.sha256 != kept[-1][1]["kernel_sha256"]:
            return f"line {kept[-1][0]}: the kernel that was kept last is not the incumbent"
        return ""

    def _lost_history(self) -> str:
        """What says that there was an incumbent once, where there is none now; "" for a project without a history."""
        kept = [line for line, row in ledger.rows(self._ledger) if row["verdict"] in KEPT]
        if kept:
            return f"{self._ledger.name} has rows, one of a kept kernel in line {kept[-1]}, but there is no incumbent"
        head = self._head()
        if head is not None and head.rows and not self._ledger.exists():
            return f"{self._ledger.name} is gone, which had {head.rows} rows, and there is no incumbent"
        with suppress(OSError, DamagedRecord):
            if self._witness is not None and (seen := read_record(self._witness, WITNESS_VERSION)):
                return f"this repository had an incumbent, {str(seen.get('incumbent'))[:12]}, and its state is gone"
        return ""

    def source_file(self, kernel: Kernel) -> Path:
        """Where a kept kernel's source lies."""
        return self._directory.kept / f"{kernel.sha256}.py"

    def _ledgers_problem(self) -> str:
        try:
            return str(ledger.verify(self._ledger, self._directory.load_head()) or "")
        except StateError as error:
            return str(error)

    def _head(self) -> Head | None:
        try:
            return self._directory.load_head()
        except StateError:
            return None  # said in the notices; the chain starts anew
