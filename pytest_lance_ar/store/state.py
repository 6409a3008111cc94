"""The gate's memory between trials: the incumbent, the seal, the ledger's head, and every trial with its source.

Every file is replaced in one step and carries a checksum. A trial's outcome touches several of them; `journal` makes
one step of that.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from pytest_lance_ar.files import (
    DamagedRecord,
    Staged,
    read_record,
    read_regular,
    remove,
    remove_leftovers,
    write_atomically,
    write_record,
)
from pytest_lance_ar.store.ledger import Head
from pytest_lance_ar.store.machine_code import CodeShelf
from pytest_lance_ar.store.record import RECORD_VERSION, TrialRecord, decode_record, encode_record
from pytest_lance_ar.trial.kernel_source import Kernel
from pytest_lance_ar.trial.trial import Incumbent

STATE_VERSION: Final = 1
HEAD_VERSION: Final = 1
WAY_OUT: Final = "run once with --lance-ar-rebaseline to make the current kernel the incumbent"
_RECORDED: Final = {"name", "source", "sha256", "target", "commit", "timestamp", "geomean_ns", "seed"}
_TEXTS: Final = ("name", "source", "sha256", "target", "commit", "timestamp")
_OWN_NAMES: Final = {"incumbent.json", "ledger.json", "journal.json", "examples", "kept", "lock", "results.tsv"} | {
    "running.json",
    "tried",
    "trials",
    "code",
}


class StateError(Exception):
    """The stored state cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class State:
    """What was recorded when the incumbent was kept; `seal` is from the last baseline."""

    incumbent: Incumbent
    seal: dict[str, str]


class Occupied(StateError):
    """Another gate has the directory."""


class StateDirectory:
    """The directory that holds the state and the falsifying examples."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    @property
    def file(self) -> Path:
        return self.path / "incumbent.json"

    @property
    def head_file(self) -> Path:
        return self.path / "ledger.json"

    @property
    def code(self) -> CodeShelf:
        return CodeShelf(self.path / "code")

    @property
    def journal(self) -> Path:
        return self.path / "journal.json"

    @property
    def kept(self) -> Path:
        return self.path / "kept"

    @property
    def tried(self) -> Path:
        """Sources that were not kept."""
        return self.path / "tried"

    @property
    def trials(self) -> Path:
        return self.path / "trials"

    @property
    def examples(self) -> Path:
        return self.path / "examples"

    def load(self) -> State | None:
        """The stored state, None if there never was one. Raises StateError when it is damaged."""
        try:
            content = read_record(self.file, STATE_VERSION)
            return None if content is None else decode(content)
        except OSError as error:
            raise StateError(f"{self.file} cannot be read ({error}); {WAY_OUT}") from error
        except DamagedRecord as error:
            raise StateError(f"{self.file} is damaged ({error}); {WAY_OUT}") from error

    def save(self, state: State) -> None:
        """Replace the stored state in one step. Raises OSError."""
        self.prepare()
        write_record(self.file, encode(state))

    def load_head(self) -> Head | None:
        """What is remembered of the ledger, None where nothing is. Raises StateError when it is damaged."""
        try:
            content = read_record(self.head_file, HEAD_VERSION)
            return None if content is None else decode_head(content)
        except OSError as error:
            raise StateError(f"{self.head_file} cannot be read ({error})") from error
        except DamagedRecord as error:
            raise StateError(f"{self.head_file} is damaged ({error})") from error

    def save_head(self, head: Head) -> None:
        """Raises OSError."""
        write_record(self.head_file, encode_head(head))

    def keep_source(self, kernel: Kernel) -> None:
        """Store a kept kernel's source under its hash. Raises OSError."""
        if self.source_of(kernel.sha256) is None:
            write_atomically(self.kept / f"{kernel.sha256}.py", kernel.source)

    def keep_tried(self, kernel: Kernel) -> None:
        """Store the source of a kernel that was not kept under its hash. Raises OSError."""
        if self.tried_source(kernel.sha256) is None:
            write_atomically(self.tried / f"{kernel.sha256}.py", kernel.source)

    def source_of(self, sha256: str) -> bytes | None:
        """The source of a kept kernel; None where it is not there, or not the one of this hash."""
        return _source(self.kept, sha256)

    def tried_source(self, sha256: str) -> bytes | None:
        """The source of any kernel that was tried; None where it is not there, or not the one of this hash."""
        return self.source_of(sha256) or _source(self.tried, sha256)

    def save_record(self, record: TrialRecord) -> None:
        """Replace what is stored of a trial in one step. Raises OSError."""
        write_record(self.trials / f"{record.name}.json", encode_record(record))

    def drop_record(self, record: TrialRecord) -> None:
        """Raises OSError."""
        remove(self.trials / f"{record.name}.json")

    def record_of(self, name: str) -> TrialRecord | None:
        """What is stored of a trial; None where nothing is. Raises StateError when it is damaged."""
        path = self.trials / f"{name}.json"
        try:
            content = read_record(path, RECORD_VERSION)
            return None if content is None else decode_record(content)
        except (OSError, DamagedRecord) as error:
            raise StateError(f"{path} cannot be read ({error})") from error

    def make(self) -> None:
        """Raises OSError."""
        self.path.mkdir(parents=True, exist_ok=True)

    def prepare(self) -> None:
        """Have git ignore the directory, which is made. One of the user's, with files in it, is left as it is.

        Only for who has the lock: another gate removes what it finds half written when it gets it. Raises OSError.
        """
        self.make()
        ignore = self.path / ".gitignore"
        if not ignore.exists() and all(
            entry.name in _OWN_NAMES or entry.name.startswith(".") for entry in self.path.iterdir()
        ):
            write_atomically(ignore, "*\n")

    def check(self) -> None:
        """Find out whether a file can be written. Raises OSError."""
        try:
            with Staged(self.path / "probe", b""):
                pass
        except OSError as error:
            error.filename = str(self.path)
            raise

    def lock(self) -> None:
        """Have the directory for this process alone until `unlock`. Raises Occupied, OSError."""
        path = self.path / "lock"
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NONBLOCK, 0o644)
        except OSError:
            if not path.exists():
                raise
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # of a directory that is read-only, audited
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            raise Occupied(f"another gate is running on {self.path}; wait until it is done") from error
        self._lock = handle

    def unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def clear(self) -> None:
        """Remove what killed runs left half written. Only for who has the lock."""
        remove_leftovers(self.path)
        for place in (self.kept, self.tried, self.trials):
            remove_leftovers(place)


def _source(place: Path, sha256: str) -> bytes | None:
    with suppress(OSError):
        source = read_regular(place / f"{sha256}.py", Kernel.MAX_BYTES)
        if hashlib.sha256(source).hexdigest() == sha256:
            return source
    return None


def encode(state: State) -> dict[str, Any]:
    """The state as JSON's types."""
    incumbent = asdict(state.incumbent)
    kernel = incumbent.pop("kernel")
    return {
        "version": STATE_VERSION,
        "incumbent": {
            **incumbent,
            "name": kernel["name"],
            "source": kernel["source"].decode(),
            "sha256": state.incumbent.kernel.sha256,
        },
        "seal": state.seal,
    }


def decode(content: dict[str, Any]) -> State:
    """Raises DamagedRecord."""
    record, seal = content.get("incumbent"), content.get("seal")
    if not isinstance(record, dict) or set(record) - {"code"} != _RECORDED or not isinstance(seal, dict):
        raise DamagedRecord("unexpected fields")
    if not (
        all(isinstance(record[name], str) for name in _TEXTS)
        and all(isinstance(value, str) for value in seal.values())
        and isinstance(record["geomean_ns"], (int, float))
        and isinstance(record["seed"], int)
        and isinstance(record.get("code", ""), str)
    ):
        raise DamagedRecord("a field is of another type")
    try:
        kernel = Kernel(record["name"], record["source"].encode())
    except UnicodeEncodeError as error:
        raise DamagedRecord(str(error)) from error
    if kernel.sha256 != record["sha256"]:
        raise DamagedRecord("the kernel's hash does not match its source")
    fields = {name: record[name] for name in _RECORDED - {"name", "source", "sha256"}}
    return State(Incumbent(kernel=kernel, code=record.get("code", ""), **fields), seal)


def encode_head(head: Head) -> dict[str, Any]:
    return {"version": HEAD_VERSION, **asdict(head)}


def decode_head(content: dict[str, Any]) -> Head:
    """Raises DamagedRecord."""
    fields = {name: content.get(name) for name in ("rows", "chain", "forgotten")}
    rows, chain, forgotten = fields.values()
    if not (isinstance(rows, int) and isinstance(chain, str) and isinstance(forgotten, int)):
        raise DamagedRecord("unexpected fields")
    return Head(rows, chain, forgotten)
