"""What the gate asks of git, with a real repository."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pytest_lance_ar.trial.git import describe_commit, is_in_history, source_at, trouble

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture(autouse=True)
def no_git_but_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the user's configuration nor a repository around the temporary directory matters."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))


def git(directory: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", "-C", str(directory), *identity, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    """A kernel in a subdirectory, committed twice: first as `old`, then as `new`."""
    path = tmp_path / "kernel" / "pq_l2.py"
    path.parent.mkdir()
    git(tmp_path, "init", "--quiet", "--initial-branch=trunk")
    for source in (b"old\r\n", b"new\n"):
        path.write_bytes(source)
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "--quiet", "-m", source.decode().strip())
    git(tmp_path, "tag", "-a", "v1", "HEAD~", "-m", "an annotated tag")
    git(tmp_path, "branch", "topic/old", "HEAD~")
    return path


def test_a_clean_kernel_is_described_by_the_short_hash(kernel: Path) -> None:
    assert describe_commit(kernel) == git(kernel.parent, "rev-parse", "--short", "HEAD")


def test_only_the_kernel_makes_a_commit_dirty(kernel: Path) -> None:
    head = describe_commit(kernel)
    (kernel.parent / "notes.txt").write_text("untracked\n")
    assert describe_commit(kernel) == head
    kernel.write_bytes(b"newer\n")
    assert describe_commit(kernel) == f"{head}-dirty"
    git(kernel.parent, "add", kernel.name)
    assert describe_commit(kernel) == f"{head}-dirty"


def test_a_kernel_that_git_does_not_know_is_dirty(kernel: Path) -> None:
    other = kernel.with_name("other.py")
    other.touch()
    assert describe_commit(other).endswith("-dirty")


def test_a_kernel_that_git_ignores_is_dirty(kernel: Path) -> None:
    (kernel.parents[1] / ".gitignore").write_text("*.py\n")
    other = kernel.with_name("other.py")
    other.touch()
    assert describe_commit(other).endswith("-dirty")
    assert not describe_commit(kernel).endswith("-dirty")


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
def test_a_kernel_that_git_was_told_not_to_look_at_is_dirty(kernel: Path, flag: str) -> None:
    git(kernel.parent, "update-index", flag, kernel.name)
    assert not describe_commit(kernel).endswith("-dirty")
    kernel.write_bytes(b"newer\n")
    assert describe_commit(kernel).endswith("-dirty")


def test_a_link_is_dirty_and_no_incumbent(kernel: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.py"
    elsewhere.write_bytes(b"new\n")
    kernel.unlink()
    kernel.symlink_to(elsewhere)
    git(tmp_path, "add", "kernel")
    git(tmp_path, "commit", "--quiet", "-m", "a link")
    assert describe_commit(kernel).endswith("-dirty")
    assert source_at(kernel, "HEAD") is None
    assert source_at(kernel, "HEAD~") == b"new\n"


def test_a_directory_is_no_incumbent(kernel: Path, tmp_path: Path) -> None:
    kernel.unlink()
    kernel.mkdir()
    (kernel / "x").touch()
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "a directory")
    assert source_at(kernel, "HEAD") is None


@pytest.mark.parametrize("name", ["*.py", ":(top)x.py", "-x.py", "a b.py", "é.py", "[a].py"])
def test_any_name_is_a_name_and_no_pattern(kernel: Path, name: str) -> None:
    odd = kernel.with_name(name)
    odd.write_bytes(b"odd\n")
    assert describe_commit(odd).endswith("-dirty")
    assert source_at(odd, "HEAD") is None
    git(kernel.parent, "--literal-pathspecs", "add", "--", name)
    git(kernel.parent, "commit", "--quiet", "-m", "odd")
    assert not describe_commit(odd).endswith("-dirty")
    assert source_at(odd, "HEAD") == b"odd\n"


def test_no_program_of_the_projects_configuration_is_run(kernel: Path, tmp_path: Path) -> None:
    (tmp_path / ".gitattributes").write_text("*.py filter=own\n")
    git(tmp_path, "config", "filter.own.clean", f"touch {tmp_path / 'ran'}; cat")
    assert describe_commit(kernel) == git(kernel.parent, "rev-parse", "--short", "HEAD")
    assert not (tmp_path / "ran").exists()


def test_what_replaces_a_commit_is_not_it(kernel: Path) -> None:
    git(kernel.parent, "replace", "topic/old", "trunk")
    assert source_at(kernel, "topic/old") == b"old\r\n"


def test_outside_git_there_is_nothing_to_say(tmp_path: Path) -> None:
    path = tmp_path / "pq_l2.py"
    path.touch()
    assert describe_commit(path) == "-"
    assert source_at(path, "HEAD") is None


def test_before_the_first_commit_there_is_nothing_to_say(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    path = tmp_path / "pq_l2.py"
    path.touch()
    assert describe_commit(path) == "-"


def test_without_git_there_is_nothing_to_say(kernel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(kernel.parent))
    assert describe_commit(kernel) == "-"
    assert source_at(kernel, "HEAD") is None


@pytest.mark.parametrize("ref", ["v1", "topic/old", "HEAD~", "refs/heads/topic/old"])
def test_the_kernel_as_a_ref_has_it_byte_for_byte(kernel: Path, ref: str) -> None:
    assert source_at(kernel, ref) == b"old\r\n"


def test_the_kernel_at_a_sha(kernel: Path) -> None:
    sha = git(kernel.parent, "rev-parse", "HEAD~")
    assert source_at(kernel, sha) == source_at(kernel, sha[:10]) == b"old\r\n"


def test_what_is_not_committed_does_not_matter(kernel: Path) -> None:
    kernel.write_bytes(b"newer\n")
    assert source_at(kernel, "trunk") == b"new\n"


@pytest.mark.parametrize(
    "ref",
    [
        *("none", "--help", "-h", "-x", "--output=x", "--git-dir=/", "--all", "", " ", "HEAD:kernel", "HEAD~..HEAD"),
        *("^HEAD", "@{u}", "HEAD^{tree}", "a\0b", "HEAD\n", "\nHEAD", "HEAD\nHEAD~", "\ud800", "0" * 40, "x" * 200_000),
    ],
    ids=lambda ref: repr(ref[:20]),
)
def test_a_ref_that_is_none_gives_nothing(kernel: Path, ref: str) -> None:
    assert source_at(kernel, ref) is None
    assert sorted(path.name for path in kernel.parent.iterdir()) == [kernel.name]


def test_a_commit_without_the_kernel_gives_nothing(kernel: Path) -> None:
    other = kernel.with_name("other.py")
    other.touch()
    assert source_at(other, "HEAD") is None


def test_what_a_hook_leaves_behind_is_of_another_repository(
    kernel: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path_factory.mktemp("other")
    git(other, "init", "--quiet")
    head = describe_commit(kernel)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    assert describe_commit(kernel) == head
    assert source_at(kernel, "HEAD~") == b"old\r\n"
    assert trouble(kernel.parent) == ""


def test_each_trouble_has_the_sentence_that_mends_it(
    kernel: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    assert trouble(elsewhere) == f"{elsewhere} is in no git repository"
    git(elsewhere, "init", "--quiet")
    assert trouble(elsewhere) == "the git repository has no commit yet"
    monkeypatch.setenv("PATH", str(elsewhere))
    assert trouble(kernel.parent) == "git is not installed, or does not answer"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs a second user")
def test_a_repository_of_another_user_is_named_with_the_way_to_allow_it(kernel: Path) -> None:
    top = kernel.parents[1]
    for path in (top, *top.rglob("*")):
        os.chown(path, 65534, 65534)
    assert describe_commit(kernel) == "-"
    assert trouble(kernel.parent) == (
        "git refuses a repository that belongs to another user; allow it with: "
        f"git config --global --add safe.directory {top}"
    )


def test_history_is_what_head_descends_from(kernel: Path) -> None:
    old = git(kernel.parent, "rev-parse", "--short", "HEAD~")
    new = git(kernel.parent, "rev-parse", "--short", "HEAD")
    assert is_in_history(kernel.parent, old) is True
    git(kernel.parent, "checkout", "--quiet", "--detach", "HEAD~")
    assert is_in_history(kernel.parent, new) is False
    assert is_in_history(kernel.parent, "0" * 40) is None


def test_a_detached_head_and_a_sparse_checkout_are_as_good_as_any(kernel: Path) -> None:
    top = kernel.parents[1]
    git(top, "checkout", "--quiet", "--detach")
    git(top, "sparse-checkout", "set", "--no-cone", "/kernel/")
    assert describe_commit(kernel) == git(top, "rev-parse", "--short", "HEAD")
    assert source_at(kernel, "HEAD~") == b"old\r\n"


def test_of_a_shallow_clone_only_what_was_fetched_is_there(
    kernel: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    clone = tmp_path_factory.mktemp("clone")
    git(clone, "clone", "--quiet", "--depth=1", f"file://{kernel.parents[1]}", "c")
    theirs = clone / "c" / "kernel" / "pq_l2.py"
    assert source_at(theirs, "HEAD") == b"new\n"
    assert source_at(theirs, "HEAD~") is None
