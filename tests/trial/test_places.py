"""Where the default state and the ledger lie, with real repositories."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pytest_lance_ar.trial.places import DEFAULT_STATE, home_of, ledger_of, witness_of

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(directory: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "protocol.file.allow=always")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(["git", "-C", str(directory), *identity, *arguments], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    top = tmp_path / "main"
    (top / "inside").mkdir(parents=True)
    (top / "inside" / "file").touch()
    git(top, "init", "--quiet", "--initial-branch=trunk")
    git(top, "add", ".")
    git(top, "commit", "--quiet", "-m", "first")
    return top


def test_outside_git_a_project_is_its_own_home(tmp_path: Path) -> None:
    assert home_of(tmp_path) == tmp_path
    assert ledger_of(tmp_path, None) == tmp_path / "results.tsv"
    assert witness_of(tmp_path) is None


def test_a_main_worktree_is_its_own_home(repository: Path) -> None:
    assert home_of(repository) == repository
    assert home_of(repository / "inside") == repository / "inside"


def test_a_linked_worktree_shares_the_main_ones(repository: Path, tmp_path: Path) -> None:
    git(repository, "worktree", "add", "--quiet", "-b", "other", str(tmp_path / "other"))
    other = tmp_path / "other"
    assert home_of(other) == repository
    assert home_of(other / "inside") == repository / "inside"
    assert ledger_of(other, None) == repository / "results.tsv"
    assert ledger_of(other, repository / DEFAULT_STATE) == repository / "results.tsv"
    assert ledger_of(other, tmp_path / "mine") == tmp_path / "mine" / "results.tsv"
    assert witness_of(other) == witness_of(repository) != witness_of(repository / "inside")


def test_worktrees_of_a_bare_repository_share_a_place_inside_it(repository: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--bare", str(repository), "bare.git")
    for name in ("one", "two"):
        git(tmp_path / "bare.git", "worktree", "add", "--quiet", "-b", name, str(tmp_path / name))
    assert home_of(tmp_path / "one") == home_of(tmp_path / "two") == tmp_path / "bare.git" / "lance_ar"
    assert home_of(tmp_path / "one" / "inside") == tmp_path / "bare.git" / "lance_ar" / "inside"


def test_a_submodule_is_its_own_home_and_shares_it_with_its_worktrees(repository: Path, tmp_path: Path) -> None:
    above = tmp_path / "above"
    above.mkdir()
    git(above, "init", "--quiet")
    git(above, "submodule", "--quiet", "add", str(repository), "sub")
    assert home_of(above / "sub") == above / "sub"
    git(above / "sub", "worktree", "add", "--quiet", "-b", "side", str(tmp_path / "side"))
    assert home_of(tmp_path / "side") == above / "sub"
    assert witness_of(tmp_path / "side") == witness_of(above / "sub") is not None


@pytest.mark.parametrize("content", ["", "gitdir:", "gitdir: nowhere", "gitdir: nowhere/worktrees/x", "\xff\0"])
def test_a_pointer_that_leads_nowhere_is_no_worktree(tmp_path: Path, content: str) -> None:
    (tmp_path / ".git").write_text(content, errors="surrogateescape")
    assert home_of(tmp_path) == tmp_path
    witness_of(tmp_path)
