"""What could be imported from a project, what was, and how its directory leaves the path."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from pytest_lance_ar.seal.reach import importable, imported, paths_closed


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    return root


def names(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in importable(root)}


def plant(root: Path, *places: str) -> None:
    for place in places:
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_text("")


def test_modules_packages_and_metadata_beside_the_kernel_are_within_reach(root: Path) -> None:
    found = {"numpy.py", "sitecustomize.py", "x.pyc", "y.so", "z.pth", "pack/__init__.py", "pack/deep/a.py"}
    found |= {"evil-1.dist-info/entry_points.txt", "evil.egg-info/PKG-INFO", "old.egg-link", "test_more/conftest.py"}
    found |= {"bare/__init__.pyc"}
    plant(root, *found)
    assert names(root) == found


def test_what_no_gate_imports_is_the_users_own_business(root: Path) -> None:
    plant(root, "docs/conf.py", "data.csv", "README.md", ".venv/x.py", "node_modules/a/b.py", "src/mine/__init__.py")
    plant(root, "pack/data.json", "pack/__pycache__/a.cpython-311.pyc", "Makefile")
    assert names(root) == set()


def test_what_lies_behind_an_entry_of_the_path_is_within_reach(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(root, "src/mine/__init__.py", "src/loose.py")
    monkeypatch.syspath_prepend(str(root / "src"))
    assert names(root) == {"src/mine/__init__.py", "src/loose.py"}


def test_of_an_environment_in_the_project_only_what_runs_unasked_is_sealed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = "env/lib/site-packages"
    plant(
        root, f"{site}/numpy/__init__.py", f"{site}/a.pth", f"{site}/usercustomize.py", f"{site}/b-1.dist-info/RECORD"
    )
    plant(root, f"{site}/plugin-1.dist-info/entry_points.txt", f"{site}/tool-1.dist-info/entry_points.txt")
    (root / site / "plugin-1.dist-info" / "entry_points.txt").write_text("[pytest11]\nx = y\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(root / site)])
    assert names(root) == {f"{site}/a.pth", f"{site}/usercustomize.py", f"{site}/plugin-1.dist-info/entry_points.txt"}


def test_an_imported_module_is_found_unless_it_is_sealed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(root, "kernel/conftest.py", "conftest.py")
    for name in ("kernel/conftest.py", "conftest.py"):
        module = ModuleType(name)
        module.__file__ = str(root / name)
        monkeypatch.setitem(sys.modules, f"planted {name}", module)
    sealed = {root.resolve() / "conftest.py"}
    assert list(imported(root, sealed)) == [root.resolve() / "kernel" / "conftest.py"]


def test_meanwhile_the_path_has_lost_the_project_and_nothing_else(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "site-packages").mkdir()
    (root.parent / "here").mkdir()
    keep = [str(root.parent), str(root / "site-packages"), str(root.parent / "none")]
    monkeypatch.chdir(root)
    before = ["", str(root), *keep, f"{root}/.", str(root.parent / "here")]
    monkeypatch.setattr(sys, "path", list(before))
    with paths_closed(root, root.parent / "here"):
        assert sys.path == keep
    assert sys.path == before


def test_meanwhile_nothing_is_rewritten_as_tests_are(root: Path) -> None:
    before = list(sys.meta_path)
    assert any(type(finder).__module__.startswith("_pytest.") for finder in before)
    with paths_closed(root, root):
        assert not any(type(finder).__module__.startswith("_pytest.") for finder in sys.meta_path)
    assert sys.meta_path == before
