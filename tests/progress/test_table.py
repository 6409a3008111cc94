"""The table on a terminal: what was kept, in 80 columns."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_lance_ar.progress.history import History, history_of, parse
from pytest_lance_ar.progress.table import WIDTH, columns, cut, table
from tests.progress.ledgers import campaign, ledger_of

LEDGER = Path("results.tsv")
ROWS = [
    {"verdict": "baseline", "commit": "abc1234", "description": "baseline"},
    {"verdict": "discard", "speedup": "0.9", "description": "not this one"},
    {"verdict": "keep", "commit": "def5678-dirty", "speedup": "1.25", "speedup_lo": "1.2", "speedup_hi": "1.3"},
    {"verdict": "incorrect"},
    {"verdict": "keep", "speedup": "1.1", "speedup_lo": "1.09", "speedup_hi": "1.11", "description": "w" * 60},
]
EXPECTED = """\
5 trials, 2 kept: 1.375x [1.319, 1.431] the baseline's speed
results.tsv: 1 baseline, 2 keep, 1 discard, 1 incorrect

trial commit        speed-up cumulative note
    1 abc1234                   1.0000x baseline
    3 def5678-dirty   1.2500    1.2500x
    5                 1.1000    1.3750x wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww\u2026

remark: line 7 was skipped: it has 1 of 28 cells
"""


def history(text: str) -> History:
    rows, damaged = parse(text)
    assert rows is not None
    return history_of(rows, tuple(damaged))


def test_the_table_of_a_short_ledger() -> None:
    assert table(history(ledger_of(ROWS) + "torn"), LEDGER) == EXPECTED


def test_the_table_of_no_trials() -> None:
    assert table(History(), LEDGER) == "No trials yet\nresults.tsv: no rows\n"


def test_a_ledger_of_failures_has_no_table() -> None:
    told = history(ledger_of([{"verdict": "incorrect"}, {"verdict": "timeout"}]))
    assert table(told, LEDGER) == "2 trials, 0 kept: no gain yet\nresults.tsv: 1 incorrect, 1 timeout\n"


@pytest.mark.parametrize("trials", [1, 10, 500])
def test_every_line_of_a_campaign_fits(trials: int) -> None:
    told = history(campaign(trials))
    lines = table(told, LEDGER).splitlines()
    assert all(columns(line) <= WIDTH and line == line.rstrip() for line in lines[2:])
    assert len(lines) == 4 + len(told.kept)


@given(note=st.text(max_size=200), commit=st.text(max_size=30))
def test_any_note_is_one_line_that_fits(note: str, commit: str) -> None:
    cells = {"commit": commit, "description": note}
    clean = {name: " ".join(cell.split()).replace("\0", "") for name, cell in cells.items()}
    keep = {"verdict": "keep", "speedup": "1.1", "speedup_lo": "1.09", "speedup_hi": "1.11", **clean}
    (line,) = table(history(ledger_of([keep])), LEDGER).split("\n")[4:-1]
    assert columns(line) <= WIDTH
    assert line.isprintable()


@given(st.text(st.characters(categories=["L", "M", "N", "P", "S", "Zs"])), st.integers(1, 40))
def test_a_cut_text_is_as_wide_as_asked_or_narrower(text: str, width: int) -> None:
    short = cut(text, width)
    assert columns(short) <= width
    assert short == text or (short.endswith("\u2026") and text.startswith(short[:-1]))


def test_wide_and_combining_characters_are_counted_as_a_terminal_shows_them() -> None:
    assert columns("\u5411\u91cf") == 4
    assert columns("e\u0301") == 1
    assert cut("\u5411\u91cf\u5316", 5) == "\u5411\u91cf\u2026"
    assert cut("\u5411\u91cf\u5316", 6) == "\u5411\u91cf\u5316"
