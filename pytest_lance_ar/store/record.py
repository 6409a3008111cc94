"""What is remembered of one trial beside its row: the whole report, and what was learned from it afterwards.

A record belongs to a row by the row's chain cell, so that no row has to change when a lesson comes later, and a ledger
that was started anew finds no record of another one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from pytest_lance_ar.files import DamagedRecord

RECORD_VERSION: Final = 1


@dataclass(frozen=True)
class TrialRecord:
    """One trial. place: the kernel file that was judged, an absolute path. syntax: digest of its syntax tree.

    lessons: what was learned from the trial, oldest first.
    """

    chain: str
    place: str
    report: Mapping[str, Any]
    syntax: str | None = None
    lessons: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return name_of(self.chain)

    @property
    def incumbent_sha256(self) -> str | None:
        """The kernel that the trial was timed against."""
        sha256 = self.report.get("incumbent_sha256")
        return sha256 if isinstance(sha256, str) else None

    def with_lesson(self, lesson: str) -> TrialRecord:
        return replace(self, lessons=(*self.lessons, lesson))


def name_of(chain: str) -> str:
    """The name of a row's record: its number, and a part of its digest."""
    number, _, digest = chain.partition(":")
    # A chain cell that somebody edited may be anything.
    safe = digest.isalnum() and number.isdecimal() and number.isascii() and len(number) < 19
    return f"{int(number):06}-{digest[:16]}" if safe else hashlib.sha256(chain.encode()).hexdigest()


def encode_record(record: TrialRecord) -> dict[str, Any]:
    """The record as JSON's types."""
    return {
        "version": RECORD_VERSION,
        "chain": record.chain,
        "place": record.place,
        "syntax": record.syntax,
        "lessons": list(record.lessons),
        "report": dict(record.report),
    }


def decode_record(content: Mapping[str, Any]) -> TrialRecord:
    """Raises DamagedRecord."""
    chain, place, syntax = (content.get(name) for name in ("chain", "place", "syntax"))
    report, lessons = content.get("report"), content.get("lessons")
    if not (
        isinstance(chain, str)
        and isinstance(place, str)
        and (syntax is None or isinstance(syntax, str))
        and isinstance(report, dict)
        and isinstance(lessons, list)
        and all(isinstance(lesson, str) for lesson in lessons)
    ):
        raise DamagedRecord("unexpected fields")
    return TrialRecord(chain, place, report, syntax, tuple(lessons))
