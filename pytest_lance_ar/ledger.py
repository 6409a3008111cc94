"""`results.tsv`: one row a trial, whatever its verdict. Rows are only ever appended."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pytest_lance_ar.files import sync_directory
from pytest_lance_ar.text import one_line

COLUMNS: Final = (
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
    "speedup_lo",
    "speedup_hi",
    "seed",
    "reason",
)


HEADER: Final = "\t".join(COLUMNS) + "\n"


class LedgerError(Exception):
    """The ledger cannot take a row; the message says why and what to do."""


def check(path: Path) -> None:
    """Find out whether a row can be appended, without writing one. Raises LedgerError, OSError."""
    if path.exists():
        handle = os.open(path, os.O_RDWR | os.O_APPEND)
        try:
            _check_header(path, handle)
        finally:
            os.close(handle)
    elif not os.access(path.parent, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def append(path: Path, row: Mapping[str, str]) -> None:
    """Append one trial. The header is written with the first row. Raises LedgerError, OSError."""
    line = "\t".join(one_line(row.get(column, "")) for column in COLUMNS) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        _check_header(path, handle)
        size = os.fstat(handle).st_size
        if size == 0:
            line = HEADER + line
        elif os.pread(handle, 1, size - 1) != b"\n":
            line = "\n" + line  # a row that a crash cut short stays apart from ours
        data = line.encode(errors="backslashreplace")
        if os.write(handle, data) < len(data):
            os.ftruncate(handle, size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        os.fsync(handle)
    finally:
        os.close(handle)
    sync_directory(path.parent)


def _check_header(path: Path, handle: int) -> None:
    start = os.pread(handle, len(HEADER), 0)
    if start and start != HEADER.encode():
        raise LedgerError(f"{path} has another header than this gate writes; move the file away")
