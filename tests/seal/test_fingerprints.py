"""The seal: what nobody may change during a run, and how a change is told."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import py_compile
import shutil
import sys
import types
from pathlib import Path

import pytest

from pytest_lance_ar.seal import fingerprints as seal
from pytest_lance_ar.seal.compiled import CompiledFiles
from pytest_lance_ar.seal.fingerprints import PACKAGE, changed, contradicted, fingerprint, lies_among_the_sealed


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("tests/host/test_wire.py", "tests/test_a.py", "conftest.py", "pyproject.toml", "kernel/pq_l2.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n")
    return tmp_path


def sealed(root: Path, unsealed: frozenset[Path] = frozenset()) -> set[str]:
    """The sealed names beside the package's."""
    return {name for name in fingerprint(root, unsealed=unsealed) if not name.startswith("pytest_lance_ar/")}


def test_the_tests_and_the_configuration_are_sealed_and_the_kernel_is_not(root: Path) -> None:
    assert sealed(root) == {"tests/host/test_wire.py", "tests/test_a.py", "conftest.py", "pyproject.toml"}


def test_a_fingerprint_is_the_sha256_of_the_content(root: Path) -> None:
    digest = hashlib.sha256(b"# tests/test_a.py\n").hexdigest()
    assert fingerprint(root)["tests/test_a.py"] == digest


@pytest.mark.parametrize(
    "name", ["pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml", "tox.ini", "setup.cfg", "tests/data.bin"]
)
def test_a_file_that_appears_is_told(root: Path, name: str) -> None:
    before = fingerprint(root)
    (root / name).write_text("[pytest]\n")
    assert changed(before, fingerprint(root)) == (f"{name} (added)",)


def test_a_change_a_removal_and_an_addition_are_told_in_order(root: Path) -> None:
    before = fingerprint(root)
    (root / "tests" / "test_a.py").write_text("# tests/test_a.py \n")
    (root / "conftest.py").unlink()
    (root / "tests" / "host" / "conftest.py").touch()
    assert changed(before, fingerprint(root)) == (
        "conftest.py (removed)",
        "tests/host/conftest.py (added)",
        "tests/test_a.py",
    )


def test_what_did_not_change_is_not_told(root: Path) -> None:
    before = fingerprint(root)
    path = root / "tests" / "test_a.py"
    path.write_bytes(path.read_bytes())
    (root / "kernel" / "pq_l2.py").write_text("# faster\n")
    (root / "results.tsv").write_text("a row\n")
    assert before
    assert changed(before, fingerprint(root)) == ()


def test_caches_and_hidden_entries_are_not_sealed(root: Path) -> None:
    before = sealed(root)
    for name in (
        "tests/__pycache__/test_a.cpython-311.pyc",
        "tests/__pycache__/numba.nbi",
        "tests/.cache/x",
    ):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    assert sealed(root) == before


@pytest.mark.parametrize("name", ["verdict.pyc", "verdict.so", "host/child.pyc", "verdict/__init__.py"])
def test_what_could_be_imported_in_a_sources_place_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    package = tmp_path / "site-packages" / "pytest_lance_ar"
    shutil.copytree(PACKAGE, package)
    monkeypatch.setattr(seal, "PACKAGE", package)
    before = fingerprint(tmp_path)
    (package / name).parent.mkdir(exist_ok=True)
    (package / name).touch()
    assert changed(before, fingerprint(tmp_path)) == (f"pytest_lance_ar/{name} (added)",)


def test_a_compiled_file_that_says_something_else_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conftest = root / "conftest.py"
    unused = root / "tests" / "test_a.py"
    for source in (conftest, unused):
        text, status = source.read_text(), source.stat()
        source.write_text("a#" + text[2:])
        os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
        py_compile.compile(str(source), doraise=True, invalidation_mode=py_compile.PycInvalidationMode.TIMESTAMP)
        source.write_text(text)
        os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
    module = types.ModuleType("conftest_of_a_project")
    module.__file__ = str(conftest)
    monkeypatch.setitem(sys.modules, "conftest_of_a_project", module)
    (told,) = contradicted(root, CompiledFiles())
    cached = Path(importlib.util.cache_from_source(str(conftest))).relative_to(root)
    assert told == f"{cached} (not what its source says: delete it)"


@pytest.mark.parametrize(
    ("name", "sealed"),
    [("tests/x", True), ("conftest.py", True), ("tests", True), ("test", False), ("kernel/conftest.py", False)],
)
def test_places_among_the_sealed(root: Path, name: str, sealed: bool) -> None:
    assert lies_among_the_sealed(root / name, root) == sealed
    assert lies_among_the_sealed(PACKAGE / "x.py", root)


def test_a_kernel_among_the_tests_is_not_sealed(root: Path) -> None:
    kernel = root / "tests" / "pq_l2.py"
    kernel.write_text("class PqKernel: ...\n")
    assert sealed(root) - sealed(root, frozenset({kernel.resolve()})) == {"tests/pq_l2.py"}


def test_a_file_that_cannot_be_read_has_a_fingerprint_of_its_own(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(root)

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)  # root may read everything
    now = fingerprint(root)
    assert now["conftest.py"] == "unreadable: Permission denied"
    assert "conftest.py" in changed(before, now)


@pytest.mark.parametrize(
    "name",
    [
        "trial/verdict.py",
        "seal/watch.py",
        "plugin/__init__.py",
        "targets/pq_l2/test_pq_l2.py",
        "speed/duel.py",
        "py.typed",
    ],
)
def test_the_package_is_sealed(tmp_path: Path, name: str) -> None:
    digest = hashlib.sha256((PACKAGE / name).read_bytes()).hexdigest()
    assert fingerprint(tmp_path)[f"pytest_lance_ar/{name}"] == digest


def test_a_change_in_the_package_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site-packages" / "pytest_lance_ar"
    shutil.copytree(PACKAGE, package)
    monkeypatch.setattr(seal, "PACKAGE", package)
    before = fingerprint(tmp_path)
    (package / "trial" / "verdict.py").write_text("GUARD = 100\n")
    assert changed(before, fingerprint(tmp_path)) == ("pytest_lance_ar/trial/verdict.py",)
