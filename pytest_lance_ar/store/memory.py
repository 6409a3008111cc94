"""Every trial that the ledger has, with what is remembered of it: report, source, lessons."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pytest_lance_ar.store import ledger
from pytest_lance_ar.store.lineage import Lineage
from pytest_lance_ar.store.record import TrialRecord, name_of
from pytest_lance_ar.store.state import StateDirectory, StateError
from pytest_lance_ar.trial.evidence import Interval
from pytest_lance_ar.trial.remembered import Precedent

KEPT: Final = ("baseline", "keep", "simpler")


@dataclass(frozen=True)
class Tried:
    """A trial. number counts the rows from 1, line the ledger's lines.

    record is None for a trial that left none, or one that is damaged.
    """

    number: int
    line: int
    row: Mapping[str, str]
    record: TrialRecord | None

    @property
    def verdict(self) -> str:
        return self.row["verdict"]

    @property
    def kept(self) -> bool:
        return self.verdict in KEPT

    @property
    def speedup(self) -> float | None:
        return _number(self.row["speedup"])

    @property
    def interval(self) -> Interval | None:
        low, high = _number(self.row["speedup_lo"]), _number(self.row["speedup_hi"])
        return Interval(low, high) if low is not None and high is not None else None

    def precedent(self) -> Precedent:
        return Precedent(self.number, self.verdict, self.speedup, self.interval)


class Memory:
    """The trials of a state directory and its ledger. Reading takes no lock: each file is whole at any time."""

    def __init__(self, directory: StateDirectory, path: Path) -> None:
        self._directory = directory
        self._ledger = path

    def trials(self) -> Iterator[Tried]:
        """All of them, in their order. Raises OSError."""
        for number, (line, row) in enumerate(ledger.rows(self._ledger), start=1):
            try:
                record = self._directory.record_of(name_of(row["chain"]))
            except StateError:
                record = None
            yield Tried(number, line, row, record if record and record.chain == row["chain"] else None)

    def source_of(self, sha256: str) -> bytes | None:
        """The source of any kernel that was tried; None where it is not there, or not the one of this hash."""
        return self._directory.tried_source(sha256)

    def learn(self, place: str, lesson: str) -> str:
        """Store what the last trial of this kernel file taught. Returns why not, "" when it is stored.

        A lesson that was stored before with the same words is one, so that a run can be repeated. Raises OSError.
        """
        records = [tried.record for tried in self.trials() if tried.record and tried.record.place == place]
        told = [words for record in records for words in record.lessons]
        if told and told[-1] == lesson:
            return ""
        if not records:
            return "no trial of this kernel file came before this one: the lesson was not stored"
        self._directory.save_record(records[-1].with_lesson(lesson))
        return ""


def lineage(trials: Iterable[Tried]) -> Lineage[Tried]:
    """How the incumbent descends from the last baseline."""
    found = Lineage[Tried]()
    for tried in trials:
        if tried.kept:
            found = found.after(tried)
    return found


def since_keep(trials: list[Tried]) -> int:
    """How many trials came after the last one that was kept."""
    return next((count for count, tried in enumerate(reversed(trials)) if tried.kept), len(trials))


def precedent(trials: list[Tried], syntax: str | None) -> Precedent | None:
    """The last trial of a kernel with this syntax tree."""
    found = [tried for tried in trials if tried.record and syntax and tried.record.syntax == syntax]
    return found[-1].precedent() if found else None


def _number(text: str) -> float | None:
    """A positive number, else None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number > 0 else None
