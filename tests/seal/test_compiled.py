"""Compiled files: what Python, or pytest, would run in a source's place is what the source says."""

from __future__ import annotations

import importlib.util
import os
import py_compile
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_lance_ar.seal.compiled import CompiledFiles
from pytest_lance_ar.seal.fingerprints import PACKAGE

TEXT = '"""Says one."""\n\nCASES = frozenset({1, 2, 3}), 1.0, True, ("a", b"b")\n\n\ndef answer(x):\n    return x + 1\n'
CHANGED = TEXT.replace("x + 1", "x + 2")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "verdict.py"
    path.write_text(TEXT)
    return path


def compiled_of(source: Path) -> Path:
    return Path(importlib.util.cache_from_source(str(source)))


def compile_as(source: Path, text: str, mode: py_compile.PycInvalidationMode) -> None:
    """Have the compiled file say something else than the source, which keeps its size and its time."""
    status = source.stat()
    source.write_text(text)
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
    py_compile.compile(str(source), doraise=True, invalidation_mode=mode)
    source.write_text(TEXT)
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))


TIMESTAMP = py_compile.PycInvalidationMode.TIMESTAMP
UNCHECKED = py_compile.PycInvalidationMode.UNCHECKED_HASH
CHECKED = py_compile.PycInvalidationMode.CHECKED_HASH


def contradicting(*sources: Path) -> list[Path]:
    return CompiledFiles().contradicting(sources)


def answer(source: Path) -> str:
    """What an interpreter that imports the source gets."""
    command = "import verdict; print(verdict.answer(1))"
    return subprocess.run(
        [sys.executable, "-c", command], cwd=source.parent, capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.mark.parametrize("mode", [TIMESTAMP, UNCHECKED, CHECKED], ids=lambda mode: mode.name)
def test_an_honest_compiled_file_is_fine(source: Path, mode: py_compile.PycInvalidationMode) -> None:
    assert contradicting(source) == []
    compile_as(source, TEXT, mode)
    assert contradicting(source) == []


@pytest.mark.parametrize(
    ("mode", "used"), [(TIMESTAMP, True), (UNCHECKED, True), (CHECKED, False)], ids=lambda one: getattr(one, "name", "")
)
def test_a_planted_one_is_found_exactly_where_python_would_use_it(
    source: Path, mode: py_compile.PycInvalidationMode, used: bool
) -> None:
    compile_as(source, CHANGED, mode)
    assert answer(source) == ("3" if used else "2")
    compile_as(source, CHANGED, mode)  # the interpreter may have put it right
    assert contradicting(source) == ([compiled_of(source)] if used else [])


def test_a_checked_hash_can_be_forged_too(source: Path) -> None:
    compile_as(source, CHANGED, CHECKED)
    data = compiled_of(source).read_bytes()
    compiled_of(source).write_bytes(data[:8] + importlib.util.source_hash(TEXT.encode()) + data[16:])
    assert answer(source) == "3"
    assert contradicting(source) == [compiled_of(source)]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut short": lambda data: data[:-5],
    "no code": lambda data: data[:16] + b"N",
    "nothing": lambda data: data[:16],
    "nonsense": lambda data: data[:16] + b"\xff" * 40,
}
UNUSED: dict[str, Callable[[bytes], bytes]] = {
    "no header": lambda data: data[:10],
    "another Python's": lambda data: b"\0\0\r\n" + data[4:],
    "an older source's": lambda data: data[:8] + struct.pack("<L", 1) + data[12:],
    "a longer source's": lambda data: data[:12] + struct.pack("<L", 1) + data[16:],
    "unknown flags": lambda data: data[:4] + struct.pack("<L", 8) + data[8:],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_one_is_found(source: Path, damage: Callable[[bytes], bytes]) -> None:
    compile_as(source, CHANGED, TIMESTAMP)
    compiled_of(source).write_bytes(damage(compiled_of(source).read_bytes()))
    assert contradicting(source) == [compiled_of(source)]


@pytest.mark.parametrize("change", UNUSED.values(), ids=UNUSED)
def test_one_that_python_would_not_use_does_not_matter(source: Path, change: Callable[[bytes], bytes]) -> None:
    compile_as(source, CHANGED, TIMESTAMP)
    compiled_of(source).write_bytes(change(compiled_of(source).read_bytes()))
    assert contradicting(source) == []


def test_one_that_changes_while_the_gate_runs_is_found(source: Path) -> None:
    compile_as(source, TEXT, TIMESTAMP)
    files = CompiledFiles()
    assert files.contradicting([source]) == []
    compile_as(source, CHANGED, TIMESTAMP)
    assert files.contradicting([source]) == [compiled_of(source)]


@pytest.mark.parametrize("hooked", [False, True], ids=["plain", "with the pass hook"])
def test_what_pytest_rewrites_is_compared_with_what_pytest_would_write(tmp_path: Path, hooked: bool) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n" + "enable_assertion_pass_hook = true\n" * hooked)
    conftest = tmp_path / "conftest.py"
    conftest.write_text("def check(x):\n    assert x == 1, 'it is one'\n    return {1, 2}\n")
    test = tmp_path / "test_a.py"
    test.write_text("from conftest import check\n\n\ndef test_a():\n    assert check(1) and 1 in [1]\n")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=prepend"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    written = sorted((tmp_path / "__pycache__").iterdir())
    assert len(written) == 2
    assert contradicting(conftest, test) == []
    first, _second = written
    other = tmp_path / "other.py"
    other.write_text("print('planted')\n")
    code = Path(py_compile.compile(str(other), doraise=True) or "").read_bytes()
    first.write_bytes(first.read_bytes()[:16] + code[16:])
    assert contradicting(conftest, test) == [first]


def test_the_package_itself_is_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path))
    sources = sorted(PACKAGE.rglob("*.py"))
    for source in sources:
        py_compile.compile(str(source), doraise=True, invalidation_mode=TIMESTAMP)
    files = CompiledFiles()
    assert files.contradicting(sources) == []
    assert len(files._sound) == len(sources)
