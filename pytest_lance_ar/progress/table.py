"""The history on a terminal: the kept experiments and what they add up to, in 80 columns."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Final

from pytest_lance_ar.progress.history import History, Point

WIDTH: Final = 80
_ELLIPSIS: Final = "\N{HORIZONTAL ELLIPSIS}"


def table(history: History, ledger: Path) -> str:
    """The summary, the verdicts counted, one line a kept trial, and the remarks. Lines end with a newline."""
    counts = ", ".join(f"{count} {verdict}" for verdict, count in history.counts.items())
    lines = [history.summary, f"{ledger}: {counts or 'no rows'}"]
    if history.kept:
        lines += ["", f"{'trial':>5} {'commit':<13} {'speed-up':>8} {'cumulative':>10} note"]
        lines += [_line(point) for point in history.kept]
    lines += ["", *(f"remark: {remark}" for remark in history.remarks)] if history.remarks else []
    return "".join(f"{line.rstrip()}\n" for line in lines)


def columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return sum(_columns(character) for character in text)


def cut(text: str, width: int) -> str:
    """A text of at most so many columns, with an ellipsis where it was cut."""
    if columns(text) <= width:
        return text
    kept, room = "", width - 1
    for character in text:
        room -= _columns(character)
        if room < 0:
            break
        kept += character
    return kept.rstrip() + _ELLIPSIS


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _line(point: Point) -> str:
    row = point.row
    speedup = "" if row.verdict == "baseline" or row.speedup is None else f"{row.speedup:.4f}"
    start = f"{row.number:>5} {cut(row.commit, 13):<13} {speedup:>8} {point.best.value:>9.4f}x "
    return start + cut(row.note, WIDTH - columns(start))
