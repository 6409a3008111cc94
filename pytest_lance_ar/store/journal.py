"""What a trial leaves behind, the row, its record and the new incumbent, is stored as a whole or not at all.

1. The journal, one file with all of it, is written in one step: from here on the outcome counts. The kernel's source,
   which is stored under its hash, has been written before.
2. The row is appended, the record written, the incumbent replaced, the ledger's head replaced.
3. The journal is removed.

A gate that is killed in between leaves the journal, and the next one that gets the directory's lock does steps 2 and 3
again; each of them comes to the same when it is done twice.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pytest_lance_ar.files import DamagedRecord, read_record, remove, write_record
from pytest_lance_ar.store import ledger
from pytest_lance_ar.store.ledger import Head
from pytest_lance_ar.store.record import TrialRecord, decode_record, encode_record
from pytest_lance_ar.store.state import State, StateDirectory, StateError, decode, decode_head, encode, encode_head
from pytest_lance_ar.trial.kernel_source import Kernel

JOURNAL_VERSION: Final = 1


@dataclass(frozen=True)
class Outcome:
    """A composed row of the ledger, the head after it, the new state where a kernel was kept, the trial's record."""

    line: bytes
    head: Head
    state: State | None
    record: TrialRecord | None = None

    def write(self, directory: StateDirectory, candidate: Kernel | None = None) -> None:
        """Step 1. Raises OSError; nothing is stored then, but perhaps a source."""
        if self.state is not None:
            directory.keep_source(self.state.incumbent.kernel)
        elif candidate is not None:
            directory.keep_tried(candidate)
        content = {
            "version": JOURNAL_VERSION,
            "line": self.line.decode(),
            "head": encode_head(self.head),
            "state": None if self.state is None else encode(self.state),
            "record": None if self.record is None else encode_record(self.record),
        }
        write_record(directory.journal, content)

    def apply(self, directory: StateDirectory, path: Path) -> None:
        """Steps 2 and 3; `path` is the ledger's. Raises LedgerError, OSError."""
        ledger.put(path, self.line)
        if self.record is not None:
            directory.save_record(self.record)
        if self.state is not None:
            directory.keep_source(self.state.incumbent.kernel)
            directory.save(self.state)
        directory.save_head(self.head)
        remove(directory.journal)

    def withdraw(self, directory: StateDirectory, path: Path) -> bool:
        """Undo what of `apply` can be undone: all, or nothing. Whether it was undone.

        What was not stays in the journal, and the next run completes it.
        """
        try:
            head = directory.load_head()
            if head == self.head or (self.state is not None and directory.load() == self.state):
                return False
            ledger.take_back(path, self.line)
            if self.record is not None:
                directory.drop_record(self.record)
            remove(directory.journal)
        except (OSError, StateError):
            return False
        return True


def read(directory: StateDirectory) -> Outcome | None:
    """The outcome of a trial that was not stored to the end, None if there is none. Raises StateError."""
    try:
        content = read_record(directory.journal, JOURNAL_VERSION)
        if content is None:
            return None
        line, head, state, record = (content.get(name) for name in ("line", "head", "state", "record"))
        if not isinstance(line, str) or not line.endswith("\n") or "\n" in line[:-1] or not isinstance(head, dict):
            raise DamagedRecord("unexpected fields")
        if any(part is not None and not isinstance(part, dict) for part in (state, record)):
            raise DamagedRecord("unexpected fields")
        return Outcome(
            line.encode(),
            decode_head(head),
            None if state is None else decode(state),
            None if record is None else decode_record(record),
        )
    except OSError as error:
        raise StateError(f"{directory.journal} cannot be read ({error}); {_way_out(directory)}") from error
    except (DamagedRecord, UnicodeEncodeError) as error:
        raise StateError(f"{directory.journal} is damaged ({error}); {_way_out(directory)}") from error


def recover(directory: StateDirectory, path: Path) -> Outcome | None:
    """Store to the end what a killed gate began to; returns it. Only for who has the lock.

    Raises StateError, LedgerError, OSError.
    """
    directory.clear()
    outcome = read(directory)
    if outcome is not None:
        outcome.apply(directory, path)
    return outcome


def withdraw_quietly(outcome: Outcome, directory: StateDirectory, path: Path) -> None:
    """For an interrupt, which ends the run whatever comes of it."""
    with suppress(Exception):
        outcome.withdraw(directory, path)


def _way_out(directory: StateDirectory) -> str:
    return f"remove {directory.journal.name} and run the last trial again"
