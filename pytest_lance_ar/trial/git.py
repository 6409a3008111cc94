"""The little that the gate asks of git. Everything works without it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path


def _git(directory: Path, *arguments: str) -> bytes | None:
    """The output of a git command, None when it fails or git is not there."""
    try:
        done = subprocess.run(
            ["git", "-C", str(directory), "--literal-pathspecs", *arguments],
            capture_output=True,
            timeout=20,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def describe_commit(kernel: Path) -> str:
    """The short hash of HEAD, with "-dirty" when the kernel is not what is committed there; "-" outside git.

    Contents are compared, so that a kernel which git ignores, does not track or was told not to look at is dirty too.
    """
    head = _git(kernel.parent, "rev-parse", "--short", "HEAD")
    if head is None:
        return "-"
    committed = _blob(kernel, "HEAD")
    here = _git(kernel.parent, "hash-object", "--", kernel.name)
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
