"""The gate's memory between trials: the incumbent and the seal, in one file that is replaced in one step."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from pytest_lance_ar.files import write_atomically
from pytest_lance_ar.kernel_source import Kernel

STATE_VERSION: Final = 1
WAY_OUT: Final = "run once with --lance-ar-rebaseline to make the current kernel the incumbent"
_RECORDED: Final = {"name", "source", "sha256", "target", "commit", "timestamp", "geomean_ns", "seed"}


class StateError(Exception):
    """The stored state cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Incumbent:
    """The best kept kernel and when it became so. geomean_ns is for people; no decision reads it."""

    kernel: Kernel
    target: str
    commit: str
    timestamp: str
    geomean_ns: float
    seed: int


@dataclass(frozen=True)
class State:
    """What was recorded when the incumbent was kept; `seal` is from the last baseline."""

    incumbent: Incumbent
    seal: dict[str, str]


class StateDirectory:
    """The directory that holds the state and the falsifying examples."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def file(self) -> Path:
        return self.path / "incumbent.json"

    @property
    def examples(self) -> Path:
        return self.path / "examples"

    def load(self) -> State | None:
        """The stored state, None if there never was one. Raises StateError when it is damaged."""
        try:
            text = self.file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise StateError(f"{self.file} cannot be read ({error}); {WAY_OUT}") from error
        try:
            return _decode(json.loads(text))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise StateError(f"{self.file} is damaged ({error}); {WAY_OUT}") from error

    def save(self, state: State) -> None:
        """Replace the stored state in one step. Raises OSError."""
        self.prepare()
        write_atomically(self.file, json.dumps(_encode(state), indent=1) + "\n")

    def snapshot(self) -> str | None:
        """The stored state as it is, to be restored. Raises OSError."""
        return self.file.read_text(encoding="utf-8", errors="surrogateescape") if self.file.exists() else None

    def restore(self, before: str | None) -> None:
        """Put a snapshot back. Raises OSError."""
        if before is None:
            self.file.unlink(missing_ok=True)
        else:
            write_atomically(self.file, before)

    def prepare(self) -> None:
        """Create the directory, ignored by git. Raises OSError."""
        self.path.mkdir(parents=True, exist_ok=True)
        ignore = self.path / ".gitignore"
        if not ignore.exists():
            write_atomically(ignore, "*\n")


def _encode(state: State) -> dict[str, Any]:
    incumbent = asdict(state.incumbent)
    kernel = incumbent.pop("kernel")
    content = {
        "version": STATE_VERSION,
        "incumbent": {
            **incumbent,
            "name": kernel["name"],
            "source": kernel["source"].decode(),
            "sha256": state.incumbent.kernel.sha256,
        },
        "seal": state.seal,
    }
    return {**content, "checksum": _checksum(content)}


def _decode(content: Any) -> State:
    if not isinstance(content, dict):
        raise ValueError("not a JSON object")
    if content.get("version") != STATE_VERSION:
        raise ValueError(f"version {content.get('version')!r}, this gate writes {STATE_VERSION}")
    checksum = content.pop("checksum", None)
    if checksum != _checksum(content):
        raise ValueError("its checksum does not match its content")
    record, seal = content["incumbent"], content["seal"]
    if set(record) != _RECORDED or not isinstance(seal, dict):
        raise ValueError("unexpected fields")
    kernel = Kernel(record["name"], record["source"].encode())
    if kernel.sha256 != record["sha256"]:
        raise ValueError("the kernel's hash does not match its source")
    fields = {name: record[name] for name in _RECORDED - {"name", "source", "sha256"}}
    return State(Incumbent(kernel=kernel, **fields), seal)


def _checksum(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
