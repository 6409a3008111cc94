"""The little that the gate asks of git. Everything works without it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Final

_OF_A_REPOSITORY: Final = frozenset(
    {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_CONFIG",
        "GIT_CONFIG_COUNT",
        "GIT_CONFIG_PARAMETERS",
        "GIT_DIR",
        "GIT_GRAFT_FILE",
        "GIT_IMPLICIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_INTERNAL_SUPER_PREFIX",
        "GIT_NAMESPACE",
        "GIT_NO_REPLACE_OBJECTS",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_REPLACE_REF_BASE",
        "GIT_SHALLOW_FILE",
        "GIT_WORK_TREE",
    }
)
"""What `git rev-parse --local-env-vars` lists: a hook leaves them behind, and they name its repository, not ours."""


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[bytes] | None:
    """A git command, None where git is not there or does not answer."""
    environment = {name: value for name, value in os.environ.items() if name not in _OF_A_REPOSITORY}
    try:
        return subprocess.run(
            ["git", "-C", str(directory), "--literal-pathspecs", *arguments],
            capture_output=True,
            timeout=20,
            check=False,
            stdin=subprocess.DEVNULL,
            # A commit is what its hash says, whatever `git replace` puts in its place.
            env={**environment, "LC_ALL": "C", "GIT_NO_REPLACE_OBJECTS": "1"},
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def _git(directory: Path, *arguments: str) -> bytes | None:
    """The output of a git command, None when it fails or git is not there."""
    done = run(directory, *arguments)
    return done.stdout if done is not None and done.returncode == 0 else None


def trouble(directory: Path) -> str:
    """Why git has no commit to offer here, in words that say what to do; "" when it has."""
    done = run(directory, "rev-parse", "--git-dir")
    if done is None:
        return "git is not installed, or does not answer"
    if done.returncode:
        if b"dubious ownership" in done.stderr:
            named = re.search(rb"safe\.directory (\S.*)", done.stderr)
            place = named[1].decode(errors="replace").strip() if named else str(directory)
            return (
                "git refuses a repository that belongs to another user; allow it with: "
                f"git config --global --add safe.directory {place}"
            )
        if b"not a git repository" in done.stderr:
            return f"{directory} is in no git repository"
        words = done.stderr.decode(errors="replace").split("\n")[0].removeprefix("fatal: ")
        return f"git does not work here: {words}"
    if _git(directory, "rev-parse", "--verify", "--quiet", "HEAD") is None:
        return "the git repository has no commit yet"
    return ""


def is_in_history(directory: Path, commit: str) -> bool | None:
    """Whether HEAD descends from a commit, or is it. None where git cannot say: no such commit, or no git."""
    done = run(directory, "merge-base", "--is-ancestor", commit, "HEAD")
    return {0: True, 1: False}.get(done.returncode) if done is not None else None


def top_of(directory: Path) -> Path | None:
    """The top of the working tree that a directory lies in; None outside git."""
    top = _git(directory, "rev-parse", "--show-toplevel")
    return Path(os.fsdecode(top.removesuffix(b"\n"))) if top and top != b"\n" else None


def describe_commit(kernel: Path) -> str:
    """The short hash of HEAD, with "-dirty" when the kernel is not what is committed there; "-" outside git.

    Contents are compared, so that a kernel which git ignores, does not track or was told not to look at is dirty too.
    No filter that the project's git configuration names is run.
    """
    head = _git(kernel.parent, "rev-parse", "--short", "HEAD")
    if head is None:
        return "-"
    committed = _blob(kernel, "HEAD")
    here = _git(kernel.parent, "hash-object", "--no-filters", "--", kernel.name)
    clean = committed is not None and here is not None and here.decode().strip() == committed
    return head.decode().strip() + ("" if clean else "-dirty")


def source_at(kernel: Path, ref: str) -> bytes | None:
    """The kernel file as it is at a commit, branch or tag; None when there is no such ref or no such file in it."""
    commit = _git(kernel.parent, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    name = (commit or b"").decode().strip()
    if not re.fullmatch(r"[0-9a-f]{40,64}", name):  # "^HEAD" is a range to git, and no commit
        return None
    blob = _blob(kernel, name)
    return None if blob is None else _git(kernel.parent, "cat-file", "blob", blob)


def _blob(kernel: Path, commit: str) -> str | None:
    """The hash of the kernel as a commit has it; None when it is not there, or is a link or a directory."""
    entry = _git(kernel.parent, "ls-tree", "-z", commit, "--", kernel.name)
    match = re.match(rb"100(?:644|755) blob ([0-9a-f]{40,64})\t", entry or b"")
    return match[1].decode() if match else None


def is_shallow(kernel: Path) -> bool:
    """Whether the clone lacks commits, as one of continuous integration usually does."""
    return _git(kernel.parent, "rev-parse", "--is-shallow-repository") == b"true\n"
