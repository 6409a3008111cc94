"""The little that the gate asks of git. Everything works without it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path


def _git(directory: Path, *arguments: str) -> bytes | None:
    """The output of a git command, None when it fails or git is not there."""
    try:
        done = subprocess.run(
            ["git", "-C", str(directory), *arguments],
            capture_output=True,
            timeout=20,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def describe_commit(kernel: Path) -> str:
    """The short hash of HEAD, with "-dirty" when the kernel differs from what is committed; "-" outside git."""
    head = _git(kernel.parent, "rev-parse", "--short", "HEAD")
    if head is None:
        return "-"
    status = _git(kernel.parent, "status", "--porcelain", "--", kernel.name)
    return head.decode().strip() + ("-dirty" if status else "")


def source_at(kernel: Path, ref: str) -> bytes | None:
    """The kernel file as it is at a commit, branch or tag; None when there is no such ref or no such file in it."""
    commit = _git(kernel.parent, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    name = (commit or b"").decode().strip()
    if not re.fullmatch(r"[0-9a-f]{40,64}", name):  # "^HEAD" is a range to git, and no commit
        return None
    return _git(kernel.parent, "show", f"{name}:./{kernel.name}")
