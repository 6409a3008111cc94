"""Compiled files beside sealed sources. Python runs a `.pyc` in the source's place when its header says that it fits.

The header is no more than a time and a size, so a planted file, or one left over from another text of the same second
and size, is run unseen. Here every compiled file that this interpreter would accept is compared with its source,
compiled afresh. What is not found: whoever can write here can also change this check, or what Python imports before it.
"""

from __future__ import annotations

import ast
import importlib.util
import marshal
import struct
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import CodeType
from typing import Final, cast

import pytest
from _pytest.assertion.rewrite import PYC_TAIL, get_cache_dir, rewrite_asserts

_HEADER: Final = struct.Struct("<4sLLL")
_UNCHECKED, _CHECKED = 0b01, 0b11


class CompiledFiles:
    """Compares compiled files with their sources; what has been compared is not compared again."""

    def __init__(self) -> None:
        self._sound: set[tuple[Path, bytes, bytes]] = set()

    def contradicting(self, sources: Iterable[Path]) -> list[Path]:
        """The compiled files that Python, or pytest, would use for these sources, and that say something else."""
        return [compiled for source in sources if source.suffix == ".py" for compiled in self._of(source)]

    def _of(self, source: Path) -> Iterator[Path]:
        with suppress(OSError, NotImplementedError):
            text, status = source.read_bytes(), source.stat()
            plain = Path(importlib.util.cache_from_source(str(source)))
            rewritten = get_cache_dir(source) / (source.stem + PYC_TAIL)
            for compiled in (plain, rewritten):
                with suppress(OSError):
                    data = compiled.read_bytes()
                    if not _fits(data, text, int(status.st_mtime), status.st_size):
                        continue
                    if (compiled, text, data) in self._sound:
                        continue
                    if _says(data, text, source, rewritten=compiled == rewritten):
                        self._sound.add((compiled, text, data))
                    else:
                        yield compiled


def _fits(data: bytes, text: bytes, mtime: int, size: int) -> bool:
    """Whether the header is one that is accepted for this source."""
    if len(data) < _HEADER.size:
        return False
    magic, flags, second, third = _HEADER.unpack_from(data)
    if magic != importlib.util.MAGIC_NUMBER:
        return False
    if flags == 0:
        return (second, third) == (mtime & 0xFFFFFFFF, size & 0xFFFFFFFF)
    fits: bool = flags == _UNCHECKED or (flags == _CHECKED and data[8:16] == importlib.util.source_hash(text))
    return fits


def _says(data: bytes, text: bytes, source: Path, *, rewritten: bool) -> bool:
    """Whether a compiled file is what its source compiles to."""
    try:
        found = marshal.loads(data[_HEADER.size :])
        return any(code == found for code in _codes(text, source, rewritten=rewritten))
    except (ValueError, EOFError, TypeError, SyntaxError, RecursionError):
        return False


def _codes(text: bytes, source: Path, *, rewritten: bool) -> Iterator[CodeType]:
    if not rewritten:
        yield compile(text, str(source), "exec", dont_inherit=True)
        return
    for config in (None, cast(pytest.Config, _PassHook())):
        tree = ast.parse(text, filename=str(source))
        rewrite_asserts(tree, text, str(source), config)
        yield compile(tree, str(source), "exec", dont_inherit=True)


class _PassHook:
    """A configuration with `enable_assertion_pass_hook`, the one setting that rewriting asks for."""

    def getini(self, _name: str) -> bool:
        return True


def loaded(files: Iterable[Path]) -> list[Path]:
    """Those of the files that are modules of this process."""
    origins = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    return [path for path in files if str(path) in origins]
