"""One trial of the story: its report, what it taught, and its diff against the kernel that it was timed against."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_lance_ar.report.report import Report
from pytest_lance_ar.store.memory import Tried
from pytest_lance_ar.store.store import Store, StoreError
from pytest_lance_ar.text import one_line, printable


@dataclass(frozen=True)
class Single:
    """report is None for a trial that left no record. diff is None where a source is missing, "" where none is meant.

    parent: the trial whose kernel it was timed against, None where that is not known.
    """

    number: int
    row: Mapping[str, str]
    report: Mapping[str, Any] | None
    lessons: tuple[str, ...]
    parent: int | None
    source: bytes | None
    diff: str | None


def single(store: Store, number: int) -> Single:
    """Raises StoreError where there is no such trial."""
    try:
        trials = list(store.memory.trials())
    except OSError as error:
        raise StoreError(str(error)) from error
    if not 1 <= number <= len(trials):
        there = f"there are trials 1 to {len(trials)}" if trials else "there are no trials yet"
        raise StoreError(f"no trial {number}; {there}")
    tried = trials[number - 1]
    source = store.memory.source_of(tried.row["kernel_sha256"])
    parent = _parent(trials[: number - 1], tried)
    return Single(
        number=number,
        row=tried.row,
        report=tried.record.report if tried.record else None,
        lessons=tried.record.lessons if tried.record else (),
        parent=parent.number if parent else None,
        source=source,
        diff=_diff(store, tried, source, parent),
    )


def as_text(trial: Single) -> str:
    """What a terminal shows; nothing in it can steer it."""
    row = trial.row
    lines = [f"trial {trial.number}, {row['timestamp']}, commit {row['commit']}: {row['description'] or '(no note)'}"]
    lines += [f"lesson: {words}" for words in trial.lessons]
    text = "".join(f"{one_line(line)}\n" for line in lines)
    text += Report.text_of(trial.report) if trial.report else _from_row(row)
    text += "".join(f"{printable(line)}\n" for line in _beside(trial.report or {}))
    against = f"trial {trial.parent}" if trial.parent else "the kernel that it was timed against"
    if trial.diff is None:
        return f"{text}the source of this kernel, or of {against}, is not stored any more\n"
    if not trial.diff:
        return f"{text}nothing to compare with: it was timed against no other kernel\n"
    return text + f"against {against}:\n" + "".join(f"{_printable(line)}\n" for line in trial.diff.splitlines())


def _beside(report: Mapping[str, Any]) -> Iterator[str]:
    """Each combo beside the kernel that it was timed against."""
    if report.get("speedup_vs_incumbent") is None:
        return
    yield "per combo, its time / that of the kernel that it was timed against:"
    for combo in sorted(report["per_combo"], key=lambda combo: -combo["ratio"]):
        yield f"  {combo['ratio']:.3f} {combo['shape']} {combo['distribution']}"


def as_json(trial: Single) -> dict[str, Any]:
    """The same facts as JSON's types."""
    return {
        "trial": trial.number,
        "row": dict(trial.row),
        "report": None if trial.report is None else dict(trial.report),
        "lessons": list(trial.lessons),
        "parent": trial.parent,
        "diff": trial.diff,
    }


def _parent(earlier: list[Tried], tried: Tried) -> Tried | None:
    sha256 = tried.record.incumbent_sha256 if tried.record else None
    return next((one for one in reversed(earlier) if one.kept and one.row["kernel_sha256"] == sha256), None)


def _diff(store: Store, tried: Tried, source: bytes | None, parent: Tried | None) -> str | None:
    against = tried.record.incumbent_sha256 if tried.record else None
    if tried.record and against is None:
        return ""
    other = store.memory.source_of(against) if against else None
    if source is None or other is None:
        return None
    name = f"trial {parent.number}" if parent else f"{against}"[:12]
    return "".join(difflib.unified_diff(list(_lines(other)), list(_lines(source)), name, f"trial {tried.number}"))


def _lines(source: bytes) -> Iterator[str]:
    for line in source.decode(errors="replace").splitlines():
        yield f"{line}\n"


def _printable(line: str) -> str:
    return "\t".join(map(printable, line.split("\t")))


def _from_row(row: Mapping[str, str]) -> str:
    return "".join(f"{column}: {one_line(cell)}\n" for column, cell in row.items() if cell and column != "chain")
