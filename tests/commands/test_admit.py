"""`admit`: what of a pull request is taken, and what is refused."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pytest_lance_ar.__main__ import main
from pytest_lance_ar.commands.admit import is_document
from pytest_lance_ar.trial.pull_request import Change

KERNEL = "kernel/pq_l2.py"
IDENTITY = ("-c", "user.name=a", "-c", "user.email=a@example.org")


def git(directory: Path, *arguments: str) -> str:
    command = ["git", *IDENTITY, *arguments]
    return subprocess.run(command, cwd=directory, check=True, capture_output=True, text=True).stdout.strip()


def commit(directory: Path) -> str:
    git(directory, "add", "-A", "--force")
    git(directory, "commit", "-q", "--allow-empty", "-m", "a change")
    return git(directory, "rev-parse", "HEAD")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    git(tmp_path, "init", "-q", "-b", "main")
    for name in (KERNEL, "tests/test_it.py", "README.md", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("the branch\n" * 9)
    commit(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def proposed(checkout: Path, *names: str, text: str = "the pull request\n") -> str:
    """A pull request that writes these files; the branch is checked out again."""
    git(checkout, "checkout", "-q", "-b", "topic")
    for name in names:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text(text)
    head = commit(checkout)
    git(checkout, "checkout", "-q", "main")
    return head


def test_the_kernel_is_taken_and_nothing_else(checkout: Path) -> None:
    head = proposed(checkout, KERNEL, "README.md", "doc/picture.svg", text="mine\r\n")
    assert main(["admit", head]) == 0
    assert (checkout / KERNEL).read_bytes() == b"mine\r\n"
    assert git(checkout, "status", "--porcelain") == f"M {KERNEL}"


@pytest.mark.parametrize(
    "name",
    [
        "tests/test_it.py",
        "tests/README.md",
        "tests/sub/conftest.py",
        "conftest.py",
        "pyproject.toml",
        "pytest.ini",
        ".pytest.toml",
        "setup.cfg",
        "setup.py",
        "sitecustomize.py",
        "numpy/__init__.py",
        "evil.pth",
        "evil-1.0.dist-info/entry_points.txt",
        "kernel/pq_l2.pyc",
        "kernel/__init__.py",
        "kernel/other.py",
        "pytest_lance_ar/start/program.md",
        ".github/workflows/kernel-gate.yml",
        ".github/a.md",
        ".gitattributes",
        "constraints.txt",
        "requirements.txt",
        "Makefile",
        "odd\n::error::name.py",
    ],
)
def test_whatever_can_be_code_or_settings_is_no_document(name: str) -> None:
    assert not is_document(Change(name, "100644", "0" * 40))


@pytest.mark.parametrize("mode", ["120000", "160000", "040000"])
def test_a_document_is_a_file(mode: str) -> None:
    assert is_document(Change("doc/notes.md", "100644", "0" * 40))
    assert is_document(Change("doc/notes.md", "000000", "0" * 40)), "removed"
    assert not is_document(Change("doc/notes.md", mode, "0" * 40))


def test_whatever_else_counts_is_for_a_person(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head = proposed(checkout, KERNEL, "tests/test_it.py", "evil.pth", "odd\n::error::name.py")
    assert main(["admit", head]) == 10
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1, "one sentence, whatever the names"
    assert "more than kernel/pq_l2.py: evil.pth, odd ::error::name.py, tests/test_it.py." in printed
    assert (checkout / KERNEL).read_text().startswith("the branch")
    assert git(checkout, "status", "--porcelain") == ""


def test_a_removed_or_renamed_file_counts(checkout: Path) -> None:
    git(checkout, "checkout", "-q", "-b", "topic")
    git(checkout, "mv", "tests/test_it.py", "README.rst")
    (checkout / KERNEL).write_text("the pull request\n")
    head = commit(checkout)
    git(checkout, "checkout", "-q", "main")
    assert main(["admit", head]) == 10


@pytest.mark.parametrize("place", [KERNEL, "NOTES.md"])
def test_a_link_is_no_file(checkout: Path, place: str, tmp_path: Path) -> None:
    git(checkout, "checkout", "-q", "-b", "topic")
    (checkout / KERNEL).write_text("the pull request\n")
    (checkout / place).unlink(missing_ok=True)
    (checkout / place).symlink_to("../notes.txt")
    head = commit(checkout)
    git(checkout, "checkout", "-q", "main")
    assert main(["admit", head]) == 10
    assert not (checkout / KERNEL).is_symlink()


def test_a_removed_kernel_is_refused(checkout: Path) -> None:
    git(checkout, "checkout", "-q", "-b", "topic")
    (checkout / KERNEL).unlink()
    head = commit(checkout)
    git(checkout, "checkout", "-q", "main")
    assert main(["admit", head]) == 10


def test_what_the_branch_did_meanwhile_is_not_the_pull_requests(checkout: Path) -> None:
    head = proposed(checkout, KERNEL)
    (checkout / "tests" / "test_it.py").write_text("the branch, later\n")
    commit(checkout)
    assert main(["admit", head]) == 0
    assert (checkout / KERNEL).read_text() == "the pull request\n"
    assert (checkout / "tests" / "test_it.py").read_text() == "the branch, later\n"


def test_no_kernel_no_judgement(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["admit", proposed(checkout, "README.md")]) == 5
    assert "nothing to judge" in capsys.readouterr().out


def test_a_conflict_is_told(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head = proposed(checkout, KERNEL)
    (checkout / KERNEL).write_text("another one\n")
    commit(checkout)
    assert main(["admit", head]) == 4
    assert "bring it up to date first" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["--help", "^HEAD", "a\n::error::b"])
def test_what_is_no_commit_is_a_users_mistake(checkout: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["admit", "--", name]) == 4
    assert "is no commit of this clone" in capsys.readouterr().err


def test_a_project_below_the_repositorys_top(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(checkout, "checkout", "-q", "-b", "moved")
    inner = checkout / "inner"
    (inner / "kernel").mkdir(parents=True)
    (inner / KERNEL).write_text("the branch\n")
    commit(checkout)
    git(checkout, "branch", "-f", "main")
    git(checkout, "checkout", "-q", "main")
    head = proposed(checkout, f"inner/{KERNEL}")
    monkeypatch.chdir(inner)
    assert main(["admit", head]) == 0
    assert (inner / KERNEL).read_text() == "the pull request\n"


def test_outside_of_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", os.path.dirname(tmp_path))  # noqa: PTH120
    assert main(["admit", "HEAD"]) == 4


def test_in_a_workflow_the_refusal_is_an_annotation(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert main(["admit", proposed(checkout, KERNEL, "conftest.py")]) == 10
    assert "\n::error title=not judged::refused: this pull request changes more" in capsys.readouterr().out
