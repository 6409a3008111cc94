"""`results.tsv`: one row a trial, whatever its verdict. Rows are only ever appended, and form a chain.

A file that an earlier gate began keeps its columns: some of COLUMNS in their order, CONTRACT and the chain among them.
Cells that have no column there are left out.

A row's last cell, `chain`, is its number and a digest of the row before it and of its own cells. The state directory
remembers the last one (`Head`), and the next row is linked to what was remembered, not to what stands in the file. So
an edited, removed, inserted or moved row is found, and so are rows cut off at the end, also after further trials.

This is evidence against careless edits. Nothing in it is secret: whoever may write both the file and the state
directory, and computes all digests and the head again, is not found out.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pytest_lance_ar.files import sync_directory, write_all
from pytest_lance_ar.text import one_line

CONTRACT: Final = (
    "commit",
    "timestamp",
    "verdict",
    "correctness",
    "geomean_ns",
    "ci_lo",
    "ci_hi",
    "worst_ns",
    "worst_combo",
    "best_ns",
    "best_combo",
    "speedup",
    "peak_mem_mb",
    "total_seconds",
    "kernel_sha256",
    "description",
)
"""The columns that every ledger begins with."""
COLUMNS: Final = (
    *CONTRACT,
    "speedup_lo",
    "speedup_hi",
    "seed",
    "reason",
    "guard_worst",
    "guard_worst_lo",
    "guard_worst_hi",
    "guard_worst_spec",
    "guard_geomean",
    "guard_geomean_lo",
    "guard_geomean_hi",
    "chain",
)


HEADER: Final = "\t".join(COLUMNS) + "\n"
_HEADER_BYTES: Final = HEADER.encode()
_CHAIN: Final = re.compile(rb"([1-9][0-9]{0,17}):[0-9a-f]{32}")


class LedgerError(Exception):
    """The ledger cannot take a row; the message says why and what to do."""


@dataclass(frozen=True)
class Head:
    """What is remembered of a chain: how many rows it has, and the last one's chain cell.

    forgotten: rows of earlier chains, whose file somebody removed.
    """

    rows: int = 0
    chain: str = ""
    forgotten: int = 0


@dataclass(frozen=True)
class Problem:
    """Why a ledger does not verify. line: of the file, counted from 1, the header being the first."""

    line: int
    sentence: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.sentence}"


def check(path: Path) -> None:
    """Find out whether a row can be appended, without writing one. Raises LedgerError, OSError."""
    if path.exists():
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_NONBLOCK)
        try:
            content = _content(path, handle)
        finally:
            os.close(handle)
        if content and _columns(content) is None:
            raise _foreign(path)
    elif not os.access(path.parent, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def compose(path: Path, row: Mapping[str, str], head: Head | None) -> tuple[bytes, Head]:
    """The next row as it will stand in the file, and the head it leaves. Raises OSError.

    Without a head, or without the rows that it is the head of, the chain starts anew.
    """
    content = _read(path)
    columns = _columns(content) or COLUMNS
    has_rows = content.find(b"\n") + 1 < len(content)
    if head is None or not has_rows:
        head = Head(forgotten=head.forgotten + head.rows if head else 0)
    cells = "\t".join(one_line(row.get(column, "")) for column in columns[:-1]).encode(errors="backslashreplace")
    number = head.rows + 1
    chain = _chain(head.chain, number, cells)
    return cells + b"\t" + chain.encode() + b"\n", Head(number, chain, head.forgotten)


def put(path: Path, line: bytes) -> None:
    """Append a composed row, unless it is there already. What a crash left of it is cleared away first.

    The header is written with the first row. Raises LedgerError, OSError; the file is then as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK, 0o644)
    try:
        content = _content(path, handle)
        if content.endswith(b"\n" + line):
            return
        whole, data = len(content), line
        if _HEADER_BYTES.startswith(content) and content != _HEADER_BYTES:  # empty, or cut short in the header
            whole, data = 0, _HEADER_BYTES + line
        elif _columns(content) is None:
            raise _foreign(path)
        elif not content.endswith(b"\n"):
            begun = content.rindex(b"\n") + 1
            if line.startswith(content[begun:]):
                whole = begun
            else:
                data = b"\n" + line  # what somebody else left unfinished stays apart from ours
        if whole < len(content):
            os.ftruncate(handle, whole)
        try:
            write_all(handle, data)
            os.fsync(handle)
        except BaseException:
            with suppress(OSError):
                os.ftruncate(handle, whole)
            raise
    finally:
        os.close(handle)
    sync_directory(path.parent)


def take_back(path: Path, line: bytes) -> None:
    """Remove a composed row from the end, if it is there. Raises OSError."""
    content = _read(path)
    if content.endswith(b"\n" + line):
        os.truncate(path, len(content) - len(line))


def append(path: Path, row: Mapping[str, str], head: Head | None = None) -> Head:
    """Append one trial; returns the head it leaves. Raises LedgerError, OSError."""
    if path.exists():
        check(path)
    line, head = compose(path, row, head)
    put(path, line)
    return head


def rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Every whole row, with the number of its line. Raises OSError."""
    content = _read(path)
    columns = _columns(content) or COLUMNS
    for number, line in _lines(content):
        cells = line.decode(errors="replace").split("\t")
        if len(cells) == len(columns):
            yield number, {**dict.fromkeys(COLUMNS, ""), **dict(zip(columns, cells, strict=True))}


def lacking(path: Path) -> tuple[str, ...]:
    """The columns that a ledger begun by an earlier gate goes without. Raises OSError."""
    columns = _columns(_read(path))
    return () if columns is None else tuple(name for name in COLUMNS if name not in columns)


def verify(path: Path, head: Head | None) -> Problem | None:
    """The first thing that is wrong with a ledger, or None. Raises OSError."""
    content = _read(path)
    columns = _columns(content)
    if content and columns is None:
        return Problem(1, "another header than this gate writes")
    previous, number, place = "", 0, 1
    for place, line in _lines(content):
        problem = _problem(line, previous, number, len(columns or COLUMNS))
        if problem:
            return Problem(place, problem)
        previous = line.rpartition(b"\t")[2].decode()
        number += 1
    if head is None:
        return Problem(2, "nothing in the state directory vouches for this row and those after it") if number else None
    if number < head.rows:
        return Problem(place + 1, f"{_rows_words(number + 1, head.rows)} missing at the end")
    if number > head.rows:
        return Problem(place - (number - head.rows) + 1, "a row that the gate did not write, at the end")
    if previous != head.chain:
        return Problem(place, "not the row that the gate wrote here, though its chain is made to fit")
    return None


def _problem(line: bytes, previous: str, number: int, columns: int) -> str:
    """What is wrong with the row after `previous`, the row of this number, which should have so many cells."""
    cells, tab, chain = line.rpartition(b"\t")
    match = _CHAIN.fullmatch(chain)
    count = line.count(b"\t") + 1
    if count != columns or not tab:
        return f"no row that the gate wrote: {count} cells, not {columns}"
    if match is None:
        return "no row that the gate wrote: its chain cell is none"
    claimed = int(match[1])
    if claimed == number + 1:
        return "" if chain.decode() == _chain(previous, claimed, cells) else "this row was edited, or the one before"
    if claimed == 1 and chain.decode() == _chain("", 1, cells):
        return "the chain starts anew here: the state directory did not remember the rows before"
    if claimed > number + 1:
        return f"{_rows_words(number + 1, claimed - 1)} missing before this one, row {claimed}"
    return f"row {claimed} stands here again or out of its order, after row {number}"


def _rows_words(first: int, last: int) -> str:
    return f"row {first} is" if first == last else f"rows {first} to {last} are"


def _chain(previous: str, number: int, cells: bytes) -> str:
    digest = hashlib.sha256(b"\n".join((previous.encode(), str(number).encode(), cells)))
    return f"{number}:{digest.hexdigest()[:32]}"


def _lines(content: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines after the header, with their numbers."""
    lines = content.split(b"\n")
    if not lines[-1]:
        lines.pop()
    yield from list(enumerate(lines, start=1))[1:]


def _columns(content: bytes) -> tuple[str, ...] | None:
    """The columns that a ledger's whole header names; None where it is no header that a gate wrote."""
    line, newline, _ = content.partition(b"\n")
    columns = tuple(line.decode(errors="replace").split("\t"))
    known = columns[: len(CONTRACT)] == CONTRACT and columns[-1] == COLUMNS[-1]
    ordered = columns == tuple(name for name in COLUMNS if name in columns)
    return columns if newline and known and ordered else None


def _foreign(path: Path) -> LedgerError:
    return LedgerError(f"{path} has another header than this gate writes; move the file away")


def _read(path: Path) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return b""
    try:
        return _content(path, handle)
    finally:
        os.close(handle)


def _content(path: Path, handle: int) -> bytes:
    status = os.fstat(handle)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    parts, offset = [], 0
    while part := os.pread(handle, 1 << 24, offset):
        parts.append(part)
        offset += len(part)
    return b"".join(parts)
