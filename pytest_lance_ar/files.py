"""Files that a killed run leaves whole: the old content or the new one, never a part."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final

MAX_RECORD_BYTES: Final = 64 << 20
PRIVATE: Final = 0o600
PUBLIC: Final = 0o666
_TEMPORARY: Final = ".tmp"


class DamagedRecord(ValueError):
    """A record is not what `write_record` wrote."""


class Staged:
    """New content of a file, complete and on the disk beside it. `publish` puts it into its place in one step.

    Use as a context manager: what was not published is removed.
    """

    def __init__(self, path: Path, content: str | bytes, mode: int = PRIVATE) -> None:
        """mode: of a file that is not there yet, before the umask; another one keeps its own. Raises OSError."""
        self.path = path
        data = content.encode(errors="surrogateescape") if isinstance(content, str) else content
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}{_TEMPORARY}")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        self._temporary: Path | None = temporary
        try:
            try:
                with suppress(FileNotFoundError):
                    os.fchmod(handle, stat.S_IMODE(path.stat().st_mode))
                write_all(handle, data)
                os.fsync(handle)
            finally:
                os.close(handle)
        except BaseException:
            self._discard()
            raise

    def __enter__(self) -> Staged:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._discard()

    def publish(self) -> None:
        """Raises OSError."""
        assert self._temporary is not None, "published already"
        self._temporary.replace(self.path)
        self._temporary = None
        sync_directory(self.path.parent)

    def _discard(self) -> None:
        if self._temporary is not None:
            with suppress(OSError):
                self._temporary.unlink()
            self._temporary = None


def write_atomically(path: Path, content: str | bytes, mode: int = PRIVATE) -> None:
    """Replace a file in one step. Raises OSError."""
    with Staged(path, content, mode) as staged:
        staged.publish()


def remove(path: Path) -> None:
    """Remove a file, for good, if it is there. Raises OSError."""
    path.unlink(missing_ok=True)
    sync_directory(path.parent)


def remove_leftovers(directory: Path) -> None:
    """Remove what killed runs staged in a directory and never published. Only for who has the directory's lock."""
    with suppress(OSError):
        for entry in list(directory.iterdir()):
            if entry.name.startswith(".") and entry.suffix == _TEMPORARY:
                entry.unlink(missing_ok=True)


def write_all(handle: int, data: bytes) -> None:
    """Write every byte. Raises OSError; part of it may stand there then."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def read_regular(path: Path, limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes; a device or a pipe might never end. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        content = file.read(limit + 1) if status.st_size <= limit else b""
        if status.st_size > limit or len(content) > limit:
            raise OSError(errno.EFBIG, f"larger than {limit:,} bytes", str(path))
        return content


def write_record(path: Path, content: dict[str, Any]) -> None:
    """Replace a JSON file that carries a checksum of itself. Raises OSError."""
    write_atomically(path, json.dumps({**content, "checksum": _checksum(content)}, indent=1) + "\n")


def read_record(path: Path, version: int) -> dict[str, Any] | None:
    """What `write_record` wrote, without the checksum; None where there is no file. Raises OSError, DamagedRecord."""
    try:
        data = read_regular(path, MAX_RECORD_BYTES)
    except FileNotFoundError:
        return None
    try:
        content = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise DamagedRecord(str(error) or "nested too deeply") from error
    if not isinstance(content, dict):
        raise DamagedRecord("not a JSON object")
    if content.get("version") != version:
        raise DamagedRecord(f"version {content.get('version')!r}, this gate writes {version}")
    checksum = content.pop("checksum", None)
    if checksum != _checksum(content):
        raise DamagedRecord("its checksum does not match its content")
    return content


def sync_directory(path: Path) -> None:
    """Make a rename or a new file in a directory survive a power cut, where the platform allows it."""
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _checksum(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
