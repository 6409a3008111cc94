"""The ledger: rows are appended, one a trial, and whatever stands there stays."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_lance_ar import ledger
from pytest_lance_ar.ledger import COLUMNS, HEADER, LedgerError

CONTRACT = (
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
    assert " ".join(COLUMNS).startswith(CONTRACT)
    assert len(set(COLUMNS)) == len(COLUMNS)


def test_the_header_is_written_once_and_every_append_is_one_row(path: Path) -> None:
    head = None
    for number in range(3):
        head = ledger.append(path, {"commit": f"c{number}", "verdict": "keep", "reason": "last"}, head)
    header, *lines = path.read_text().splitlines()
    assert header == "\t".join(COLUMNS)
    assert [line.split("\t")[0] for line in lines] == ["c0", "c1", "c2"]
    assert all(line.split("\t")[-2] == "last" for line in lines)
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


FOREIGN = ["commit\tval_bpb\tstatus\n", HEADER.replace("commit", "Commit"), HEADER[:-1], HEADER[:10], "\n", "\x00"]


@pytest.mark.parametrize("content", FOREIGN)
def test_a_foreign_file_is_refused_and_left_alone(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(LedgerError, match="another header than this gate writes; move the file away") as error:
        ledger.append(path, {"verdict": "keep"})
    assert str(path) in str(error.value)
    with pytest.raises(LedgerError):
        ledger.check(path)
    assert path.read_text() == content


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
