"""What kept kernels compiled to, so that no trial compiles its incumbent again.

It is as opaque here as everywhere in the gate, and goes to processes of the same source alone. Each is kept under a
digest of itself and of all that it was compiled for; the incumbent's record holds that digest. What does not match,
because it was changed, or because processor, numba, LLVM or Python are others now, is not there.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Final

from pytest_lance_ar.files import read_regular, write_atomically
from pytest_lance_ar.host.parent import MOST_CODE
from pytest_lance_ar.host.platform import compiled_for

_DIGITS: Final = frozenset("0123456789abcdef")


class CodeShelf:
    """A directory of machine code, a file for each digest."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def keep(self, code: bytes) -> str:
        """Store code, in the place of all that is there. Returns its digest; "" where nothing could be stored."""
        if not code:
            return ""
        digest = _digest(code)
        try:
            write_atomically(self.path / digest, code)
        except OSError:
            return ""
        for other in list(self.path.iterdir()):
            if other.name != digest:
                with suppress(OSError):
                    other.unlink()
        return digest

    def find(self, digest: str) -> bytes:
        """The code of a digest; b"" where it is not there, was changed, or was compiled for something else."""
        if len(digest) != 64 or not _DIGITS.issuperset(digest):
            return b""
        with suppress(OSError):
            code = read_regular(self.path / digest, MOST_CODE)
            if _digest(code) == digest:
                return code
        return b""


def _digest(code: bytes) -> str:
    return hashlib.sha256(compiled_for().encode() + b"\0" + code).hexdigest()
