"""The ledger: rows are appended, one a trial, and whatever stands there stays."""

from __future__ import annotations

import csv
import errno
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_lance_ar.store import ledger
from pytest_lance_ar.store.ledger import COLUMNS, CONTRACT, HEADER, Head, LedgerError

STATED = (
    "commit timestamp verdict correctness geomean_ns ci_lo ci_hi worst_ns worst_combo best_ns best_combo speedup "
    "peak_mem_mb total_seconds kernel_sha256 description "
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.tsv"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def test_the_columns_are_the_contracts_and_then_others() -> None:
    assert " ".join(COLUMNS).startswith(STATED)
    assert len(set(COLUMNS)) == len(COLUMNS)


def test_the_header_is_written_once_and_every_append_is_one_row(path: Path) -> None:
    head = None
    for number in range(3):
        head = ledger.append(path, {"commit": f"c{number}", "verdict": "keep", "reason": "last"}, head)
    header, *lines = path.read_text().splitlines()
    assert header == "\t".join(COLUMNS)
    assert [line.split("\t")[0] for line in lines] == ["c0", "c1", "c2"]
    assert all(row["reason"] == "last" for row in rows_of(path))
    assert path.read_text().endswith("\n")


def test_a_cell_stands_in_its_column_and_the_others_are_empty(path: Path) -> None:
    ledger.append(path, {"speedup": "1.0773", "description": "two lanes"})
    (row,) = rows_of(path)
    assert row.pop("chain").startswith("1:")
    assert {name: cell for name, cell in row.items() if cell} == {"speedup": "1.0773", "description": "two lanes"}


def test_the_directory_is_made_with_the_first_row(tmp_path: Path) -> None:
    ledger.append(tmp_path / "state" / "results.tsv", {"verdict": "keep"})
    assert len(rows_of(tmp_path / "state" / "results.tsv")) == 1


def test_tabs_and_newlines_in_a_note_become_blanks(path: Path) -> None:
    ledger.append(path, {"description": "a\tb\nc\r\nd", "reason": "\x0be\x1cf\u2028g\x85h\n"})
    (row,) = rows_of(path)
    assert row["description"] == "a b c d"
    assert row["reason"] == "e f g h"


words = st.text(st.characters(codec="utf-8"), max_size=20)


@given(cells=st.lists(st.dictionaries(st.sampled_from(COLUMNS), words), min_size=1, max_size=4))
def test_any_text_in_any_cell_is_one_line_of_as_many_cells(
    tmp_path_factory: pytest.TempPathFactory, cells: list[dict[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("ledger") / "results.tsv"
    head = None
    for row in cells:
        head = ledger.append(path, row, head)
    lines = path.read_bytes().decode().splitlines()
    assert len(lines) == 1 + len(cells)
    assert all(len(line.split("\t")) == len(COLUMNS) for line in lines)


def test_a_note_in_the_terminals_own_bytes_can_be_appended(path: Path) -> None:
    # What is not UTF-8 on the command line reaches Python as a lone surrogate.
    note = b"caf\xe9".decode("utf-8", errors="surrogateescape")
    ledger.append(path, {"verdict": "keep", "description": note})
    assert len(path.read_bytes().splitlines()) == 2


def test_a_row_that_a_crash_cut_short_stays_apart(path: Path) -> None:
    ledger.append(path, {"commit": "c0"})
    with path.open("a") as file:
        file.write("c1\t2026-")
    ledger.append(path, {"commit": "c2"})
    lines = path.read_text().splitlines()
    assert lines[2] == "c1\t2026-"
    assert lines[3].split("\t")[0] == "c2"
    assert len(lines) == 4


def test_an_empty_file_gets_the_header(path: Path) -> None:
    path.touch()
    ledger.append(path, {"commit": "c0"})
    assert path.read_text().startswith(HEADER)
    assert len(rows_of(path)) == 1


FOREIGN = [
    "commit\tval_bpb\tstatus\n",
    HEADER.replace("commit", "Commit"),
    HEADER.replace("seed", "seeds"),
    HEADER.replace("seed\treason", "reason\tseed"),
    HEADER.replace("\tchain", ""),
    HEADER[:-1],
    HEADER[:10],
    "\n",
    "\x00",
]


@pytest.mark.parametrize("content", FOREIGN)
def test_a_foreign_file_is_refused_and_left_alone(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(LedgerError, match="another header than this gate writes; move the file away") as error:
        ledger.append(path, {"verdict": "keep"})
    assert str(path) in str(error.value)
    with pytest.raises(LedgerError):
        ledger.check(path)
    assert path.read_text() == content


OLD = (*CONTRACT, "speedup_lo", "speedup_hi", "seed", "reason", "chain")
"""The columns of the first gate."""


def old_ledger(path: Path, rows: int, monkeypatch: pytest.MonkeyPatch) -> Head | None:
    head = None
    with monkeypatch.context() as earlier:
        earlier.setattr(ledger, "COLUMNS", OLD)
        earlier.setattr(ledger, "_HEADER_BYTES", ("\t".join(OLD) + "\n").encode())
        for number in range(rows):
            head = ledger.append(path, {"commit": f"c{number}", "reason": "old"}, head)
    return head


@pytest.mark.parametrize("rows", [1, 2])
def test_a_ledger_of_an_earlier_gate_goes_on_in_its_own_columns(
    path: Path, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = old_ledger(path, rows, monkeypatch)
    before = path.read_text()
    assert ledger.lacking(path) == tuple(name for name in COLUMNS if name not in OLD) != ()
    ledger.check(path)
    head = ledger.append(path, {"commit": "new", "reason": "r", "guard_worst": "1.0"}, head)
    assert path.read_text().startswith(before)
    assert path.read_text().splitlines()[0].split("\t") == list(OLD)
    assert [row["commit"] for row in rows_of(path)][-1] == "new"
    (*_, (_, last)) = ledger.rows(path)
    assert (last["reason"], last["guard_worst"]) == ("r", "")
    assert ledger.verify(path, head) is None
    path.write_text(path.read_text().replace("old", "0ld"))
    assert ledger.verify(path, head) is not None


def test_a_ledger_of_this_gate_lacks_no_column(path: Path) -> None:
    assert ledger.lacking(path) == ()
    ledger.append(path, {})
    assert ledger.lacking(path) == ()


def test_a_check_writes_nothing(path: Path) -> None:
    ledger.check(path)
    assert not path.exists()
    ledger.append(path, {"verdict": "keep"})
    before = path.read_bytes()
    ledger.check(path)
    assert path.read_bytes() == before


def test_a_check_finds_a_directory_in_the_ledgers_place(path: Path) -> None:
    path.mkdir()
    with pytest.raises(OSError, match=r"results\.tsv"):
        ledger.check(path)


def test_a_check_finds_that_no_file_can_be_made(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write everywhere
    with pytest.raises(PermissionError) as error:
        ledger.check(path)
    assert error.value.filename == str(path)


def written(path: Path, count: int) -> Head:
    head = None
    for number in range(1, count + 1):
        head = ledger.append(path, {"commit": f"c{number}", "verdict": "discard", "reason": "no\tbetter µ"}, head)
    assert head is not None
    return head


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines(keepends=True)


def test_rows_that_nobody_touched_verify(path: Path) -> None:
    assert ledger.verify(path, None) is None
    assert ledger.verify(path, Head()) is None
    head = written(path, 5)
    assert head.rows == 5
    assert lines_of(path)[-1].endswith(f"\t{head.chain}\n")
    assert ledger.verify(path, head) is None


EDITS: dict[str, tuple[Callable[[list[str]], object], int, str]] = {
    "a cell": (lambda lines: lines.__setitem__(3, lines[3].replace("discard", "keep")), 4, "this row was edited"),
    "the last row": (lambda lines: lines.__setitem__(5, lines[5].replace("c5", "c6")), 6, "this row was edited"),
    "a row removed": (lambda lines: lines.pop(2), 3, "row 2 is missing before this one, row 3"),
    "rows removed": (lambda lines: [lines.pop(2), lines.pop(2)], 3, "rows 2 to 3 are missing before this one, row 4"),
    "the first removed": (lambda lines: lines.pop(1), 2, "row 1 is missing before this one, row 2"),
    "the last removed": (lambda lines: lines.pop(), 6, "row 5 is missing at the end"),
    "all removed": (lambda lines: lines.__delitem__(slice(1, 6)), 2, "rows 1 to 5 are missing at the end"),
    "two swapped": (lambda lines: lines.insert(2, lines.pop(3)), 3, "row 2 is missing before this one, row 3"),
    "one repeated": (lambda lines: lines.insert(3, lines[2]), 4, "row 2 stands here again or out of its order"),
    "the last repeated": (lambda lines: lines.append(lines[5]), 7, "row 5 stands here again or out of its order"),
    "one made up": (
        lambda lines: lines.insert(3, "x" + "\t" * (len(COLUMNS) - 1) + "\n"),
        4,
        "no row that the gate wrote: its chain cell is none",
    ),
    "words": (lambda lines: lines.insert(1, "a note of mine\n"), 2, "no row that the gate wrote: 1 cells, not"),
    "an empty line": (lambda lines: lines.insert(4, "\n"), 5, "no row that the gate wrote: 1 cells, not"),
    "the header": (lambda lines: lines.__setitem__(0, lines[0].upper()), 1, "another header than this gate writes"),
    "line ends": (lambda lines: lines.__setitem__(2, lines[2].replace("\n", "\r\n")), 3, "no row that the gate wrote"),
    "a forged end": (lambda lines: lines.append(forged(lines[5], 6)), 7, "a row that the gate did not write, at the"),
    "a forged last": (lambda lines: lines.__setitem__(5, forged(lines[4], 5)), 6, "not the row that the gate wrote"),
}


def forged(after: str, number: int) -> str:
    """A row by somebody who knows how chains are made, and leaves the state directory alone."""
    cells = "\t".join(["forged"] * (len(COLUMNS) - 1))
    previous = after.rstrip("\n").rpartition("\t")[2]
    return f"{cells}\t{ledger._chain(previous, number, cells.encode())}\n"


@pytest.mark.parametrize(("edit", "line", "sentence"), EDITS.values(), ids=EDITS)
def test_an_edit_is_found_and_named_also_after_further_trials(
    path: Path, edit: Callable[[list[str]], object], line: int, sentence: str
) -> None:
    head = written(path, 5)
    lines = lines_of(path)
    edit(lines)
    path.write_bytes("".join(lines).encode())
    problem = ledger.verify(path, head)
    assert problem is not None
    assert (problem.line, problem.sentence[: len(sentence)]) == (line, sentence)
    if line > 1 and len(lines) > 1:
        problem = ledger.verify(path, ledger.append(path, {"commit": "c6"}, head))
        assert problem is not None
        assert problem.line in (line, line + 1)  # a forged row is noticed by the one after it


@pytest.mark.parametrize("bits", [(5,), pytest.param((0, 1, 2, 3, 4, 6, 7), marks=pytest.mark.slow)])
def test_any_flipped_bit_and_any_cut_is_found(path: Path, bits: Iterable[int]) -> None:
    head = written(path, 3)
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in bits:
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
            assert ledger.verify(path, head) is not None, (place, bit)
        path.write_bytes(whole[:place])
        assert ledger.verify(path, head) is not None or place == len(whole) - 1, place  # only the newline is missing


def test_a_file_that_was_removed_starts_anew_and_what_it_had_is_remembered(path: Path) -> None:
    head = written(path, 3)
    path.unlink()
    head = ledger.append(path, {"commit": "c4"}, head)
    assert (head.rows, head.forgotten) == (1, 3)
    assert ledger.verify(path, head) is None
    assert ledger.append(path, {"commit": "c5"}, head).forgotten == 3


def test_a_head_that_was_lost_leaves_a_mark_for_good(path: Path) -> None:
    written(path, 3)
    assert str(ledger.verify(path, None)).startswith("line 2: nothing in the state directory vouches for")
    head = ledger.append(path, {"commit": "c4"}, None)
    for number in (5, 6):
        assert str(ledger.verify(path, head)).startswith("line 5: the chain starts anew here")
        head = ledger.append(path, {"commit": f"c{number}"}, head)


def test_a_row_put_twice_stands_there_once(path: Path) -> None:
    head = written(path, 2)
    line, head = ledger.compose(path, {"commit": "c3"}, head)
    for _ in range(3):
        ledger.put(path, line)
    assert ledger.verify(path, head) is None
    ledger.take_back(path, line)
    ledger.take_back(path, line)
    assert len(lines_of(path)) == 3


def test_a_row_cut_short_anywhere_is_completed(path: Path) -> None:
    line, head = ledger.compose(path, {"commit": "c1"}, None)
    ledger.put(path, line)
    whole = path.read_bytes()
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        ledger.put(path, line)
        assert path.read_bytes() == whole
    assert ledger.verify(path, head) is None


def test_a_disk_that_takes_half_a_row_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = written(path, 1)
    before = path.read_bytes()
    write = os.write

    def half(handle: int, data: bytes) -> int:
        if len(data) < 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(handle, data[: len(data) // 2])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match="No space left"):
        ledger.append(path, {"commit": "c2"}, head)
    assert path.read_bytes() == before


@pytest.mark.parametrize("plant", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "endless"])
def test_what_is_no_regular_file_is_refused_at_once(path: Path, plant: Callable[[Path], None]) -> None:
    plant(path)
    for use in (ledger.check, lambda path: ledger.verify(path, None), lambda path: ledger.put(path, b"x\n")):
        with pytest.raises(OSError, match="not a regular file"):
            use(path)
