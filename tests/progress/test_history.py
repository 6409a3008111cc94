"""The history: rows by their header's names, and gains that multiply."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_lance_ar.progress.history import (
    REQUIRED,
    VERDICTS,
    Gain,
    History,
    HistoryError,
    Row,
    gain_text,
    history_of,
    parse,
    read,
)
from pytest_lance_ar.report.report import Report
from pytest_lance_ar.store import ledger
from pytest_lance_ar.store.ledger import COLUMNS
from pytest_lance_ar.trial.evidence import Interval
from pytest_lance_ar.trial.verdict import decide
from tests.builders import evidence_of, speed_of, trial_of
from tests.progress.ledgers import campaign, ledger_of

speedups = st.floats(0.5, 2.0)
failures = st.sampled_from(("incorrect", "timeout", "tampered", "none"))


def row(verdict: str, speedup: float | None = None, half: float = 0.01, *, number: int = 1) -> Row:
    interval = None if speedup is None else Interval(speedup / (1 + half), speedup * (1 + half))
    return Row(number, verdict, speedup, interval)


def history(text: str) -> History:
    rows, damaged = parse(text)
    assert rows is not None
    return history_of(rows, tuple(damaged))


def bests(history: History) -> list[float]:
    return [point.best.value for point in history.points]


def test_the_columns_that_are_read_are_columns_of_the_ledger() -> None:
    assert {*REQUIRED, "speedup_lo", "speedup_hi", "commit", "timestamp", "reason", "geomean_ns"} <= set(COLUMNS)


def test_the_running_best_is_the_product_of_the_kept_speedups() -> None:
    rows = [row("baseline"), row("keep", 1.5), row("discard", 0.5), row("keep", 1.2), row("incorrect")]
    points = history_of(rows).points
    assert [point.best.value for point in points] == pytest.approx([1, 1.5, 1.5, 1.8, 1.8])
    owns = [None if point.own is None else point.own.value for point in points]
    assert owns[:4] == pytest.approx([1, 1.5, 0.75, 1.8])
    assert owns[4] is None


@given(st.lists(speedups))
def test_any_kept_speedups_multiply(factors: list[float]) -> None:
    last = bests(history_of([row("baseline"), *(row("keep", factor) for factor in factors)]))[-1]
    assert last == pytest.approx(math.prod(factors))


@given(
    kept=st.lists(speedups, max_size=5),
    others=st.lists(st.tuples(st.integers(0, 5), st.one_of(failures, st.just("discard"))), max_size=8),
)
def test_where_failures_stand_changes_no_best(kept: list[float], others: list[tuple[int, str]]) -> None:
    plain = [row("baseline"), *(row("keep", factor) for factor in kept)]
    mixed = list(plain)
    for place, verdict in others:
        mixed.insert(1 + min(place, len(mixed) - 1), row(verdict, 0.7 if verdict == "discard" else None))
    assert [p.best for p in history_of(mixed).points if p.row.kept] == [p.best for p in history_of(plain).points]


@given(st.lists(st.tuples(speedups, st.floats(0, 0.2)), min_size=1, max_size=8))
def test_an_interval_holds_its_value_and_is_no_wider_than_the_product_of_the_ends(
    steps: list[tuple[float, float]],
) -> None:
    best = history_of([row("baseline"), *(row("keep", *step) for step in steps)]).points[-1].best
    assert best.interval is not None
    assert best.interval.low <= best.value * (1 + 1e-12)
    assert best.value <= best.interval.high * (1 + 1e-12)
    assert best.interval.high <= math.prod(s * (1 + half) for s, half in steps) * (1 + 1e-9)
    widest = max(half for _, half in steps)
    assert best.interval.high >= best.value * (1 + widest) * (1 - 1e-9)


def test_independent_errors_add_in_quadrature() -> None:
    gain = Gain(2.0, Interval(2 / math.exp(0.3), 2 * math.exp(0.03)))
    grown = gain.times(1.5, Interval(1.5 / math.exp(0.4), 1.5 * math.exp(0.04)))
    assert grown.value == pytest.approx(3.0)
    assert grown.interval is not None
    assert math.log(3 / grown.interval.low) == pytest.approx(0.5)
    assert math.log(grown.interval.high / 3) == pytest.approx(0.05)


def test_a_second_baseline_begins_anew() -> None:
    told = history_of([row("baseline"), row("keep", 2.0), row("baseline"), row("keep", 1.1), row("discard", 0.9)])
    assert bests(told) == pytest.approx([1, 2, 1, 1.1, 1.1])
    assert [len(points) for points in told.segments] == [2, 3]
    assert told.summary.startswith("5 trials, 2 kept: 1.100x [1.089, 1.111] the last baseline's speed")


def test_a_ledger_that_begins_without_a_baseline_has_one_segment() -> None:
    told = history_of([row("incorrect"), row("keep", 1.25)])
    assert len(told.segments) == 1
    assert bests(told) == pytest.approx([1, 1.25])


@pytest.mark.parametrize("text", ["", "nan", "inf", "-1", "0", "1e9", "fast", "1.2.3"])
def test_a_kept_row_without_a_readable_speedup_counts_as_no_gain(text: str) -> None:
    told = history(ledger_of([{"verdict": "baseline"}, {"verdict": "keep", "speedup": text}]))
    assert bests(told) == [1, 1]
    assert told.points[1].own is None
    assert told.remarks == ("trial 2 was kept without a readable speed-up; it counts as no gain",)


@pytest.mark.parametrize("ends", [("", ""), ("1.1", ""), ("nan", "1.3"), ("1.25", "1.3"), ("1.3", "1.1")])
def test_a_kept_row_without_a_readable_interval_ends_the_band(ends: tuple[str, str]) -> None:
    keep = {"verdict": "keep", "speedup": "1.2", "speedup_lo": ends[0], "speedup_hi": ends[1]}
    told = history(ledger_of([{"verdict": "baseline"}, keep, {**keep, "speedup_lo": "1.1", "speedup_hi": "1.3"}]))
    assert bests(told) == pytest.approx([1, 1.2, 1.44])
    assert [point.best.interval for point in told.points[1:]] == [None, None]
    assert told.remarks == ("trial 2 was kept without a readable interval; the running best has none",)


@given(st.lists(st.sampled_from(("1e6", "1e-6", "999999", "nan", "1")), max_size=40))
def test_no_ledger_drives_the_running_best_out_of_range(cells: list[str]) -> None:
    rows = [{"verdict": "keep", "speedup": c, "speedup_lo": "1e-6", "speedup_hi": "1e6"} for c in cells]
    for point in history(ledger_of([{"verdict": "baseline"}, *rows])).points:
        assert 1e-12 <= point.best.value <= 1e12
        assert point.best.interval is not None
        assert 0 < point.best.interval.low <= point.best.interval.high < math.inf


def test_cells_are_found_by_the_headers_names() -> None:
    rows = [{"verdict": "baseline"}, {"verdict": "keep", "speedup": "1.5", "description": "moved", "chain": "f00"}]
    columns = ("chain", *reversed(COLUMNS), "another")
    told = history(ledger_of(rows, columns))
    assert bests(told) == [1, 1.5]
    assert told.points[1].row.note == "moved"
    assert told.points[1].row.cells["chain"] == "f00"


def test_a_torn_line_is_skipped_with_a_remark_wherever_it_stands() -> None:
    lines = campaign(4).splitlines(keepends=True)
    torn = lines[2][:40]
    expected = bests(history("".join(lines[:2] + lines[3:])))
    for text, number in (
        ("".join(lines[:2] + lines[3:]) + torn, 5),
        ("".join([*lines[:2], torn + "\n", *lines[3:]]), 3),
    ):
        told = history(text)
        assert bests(told) == expected
        assert len(told.remarks) == 1
        assert told.remarks[0].startswith(f"line {number} was skipped: it has ")


@given(st.integers(0, len(campaign(6))))
def test_a_ledger_cut_anywhere_is_read_up_to_the_cut(length: int) -> None:
    whole, cut = campaign(6), campaign(6)[:length]
    rows, damaged = parse(cut)
    if rows is None:
        assert length < len(whole.split("\n")[0])
    else:
        full = parse(whole)[0]
        assert full is not None
        assert [r.speedup for r in rows] == [r.speedup for r in full[: len(rows)]]
        assert len(rows) + len(damaged) == len(cut.rstrip("\n").split("\n")) - 1


@given(st.lists(st.lists(st.text(st.characters(exclude_characters="\n\t"), max_size=8), min_size=3, max_size=3)))
def test_any_cells_are_read_without_an_error(rows: list[list[str]]) -> None:
    text = "\t".join(REQUIRED) + "\n" + "".join("\t".join(cells) + "\n" for cells in rows)
    told = history(text)
    assert {point.row.verdict for point in told.points} <= set(VERDICTS)
    assert all(cell.isprintable() for point in told.points for cell in point.row.cells.values())


def test_what_the_gate_writes_is_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "results.tsv"
    first, evidence = trial_of(incumbent=None), evidence_of(against_itself=True)
    ledger.append(path, Report(first, evidence, decide(first, evidence)).as_row())
    trial, gain = trial_of(note="caf\u00e9 $x_1$"), evidence_of(speed=speed_of(0.8))
    ledger.append(path, Report(trial, gain, decide(trial, gain)).as_row())
    told = read(path)
    assert told.remarks == ()
    assert told.counts == {"baseline": 1, "keep": 1}
    assert told.points[-1].row.note == "caf\u00e9 $x_1$"
    assert gain_text(told.points[-1].best) == "1.250x [1.244, 1.256]"


@pytest.mark.parametrize("content", [b"", b"\n", b" \n\n"])
def test_an_empty_file_has_no_trials(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "results.tsv"
    path.write_bytes(content)
    assert read(path) == History()
    assert read(path).summary == "No trials yet"


def test_a_header_alone_has_no_trials() -> None:
    assert history(ledger.HEADER) == History()


def test_bytes_that_are_no_utf8_are_read(tmp_path: Path) -> None:
    path = tmp_path / "results.tsv"
    path.write_bytes(ledger_of([{"verdict": "baseline", "description": "caf?"}]).encode().replace(b"?", b"\xe9"))
    assert read(path).points[0].row.note == "caf\ufffd"


@pytest.mark.parametrize("content", ["commit\tval_bpb\tstatus\n", "\x89PNG\r\n", "verdict speedup description\n"])
def test_a_foreign_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "results.tsv"
    path.write_text(content)
    with pytest.raises(HistoryError, match="is no ledger of this gate"):
        read(path)


def test_a_missing_file_and_a_directory_are_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match=r"no ledger at .*; the first trial of pytest --lance-ar writes one"):
        read(tmp_path / "results.tsv")
    with pytest.raises(HistoryError, match="cannot be read"):
        read(tmp_path)
