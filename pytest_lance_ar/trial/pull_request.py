"""What a pull request would change of the branch that is checked out, read from git's objects; no file is written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pytest_lance_ar.trial import git


class Unreadable(Exception):
    """The pull request cannot be read; the message says why and what to do."""


@dataclass(frozen=True)
class Change:
    """A path that differs, from the repository's top. mode: the new one as git has it, "000000" where it is removed."""

    path: str
    mode: str
    blob: str

    @property
    def removed(self) -> bool:
        return self.mode == "000000"

    @property
    def regular(self) -> bool:
        """Whether it is a file and nothing else: no link, no submodule."""
        return self.mode in ("100644", "100755")


def merged(directory: Path, commit: str) -> str:
    """The tree that merging a commit into HEAD would make. Raises Unreadable."""
    if trouble := git.trouble(directory):
        raise Unreadable(trouble)
    named = git.run(directory, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}")
    name = named.stdout.decode().strip() if named else ""
    if not re.fullmatch(r"[0-9a-f]{40,64}", name):
        raise Unreadable(f"{commit!r} is no commit of this clone; fetch it first")
    done = git.run(directory, "merge-tree", "--write-tree", "--no-messages", "HEAD", name)
    if done is None or done.returncode not in (0, 1):
        words = done.stderr.decode(errors="replace").strip().split("\n")[0] if done else "no answer"
        raise Unreadable(f"git cannot merge it (git 2.38 and the whole history are needed): {words}")
    if done.returncode == 1:
        raise Unreadable("it conflicts with the branch that it wants to go to; bring it up to date first")
    return done.stdout.decode().split()[0]


def changes(directory: Path, tree: str) -> list[Change]:
    """What differs in a tree from HEAD's. Raises Unreadable."""
    done = git.run(directory, "diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", "HEAD", tree)
    if done is None or done.returncode:
        raise Unreadable("git cannot say what it changes")
    fields = done.stdout.decode(errors="surrogateescape").split("\0")
    found = []
    for entry, path in zip(fields[::2], fields[1::2], strict=False):
        _, mode, _, blob, _ = entry.split()
        found.append(Change(path, mode, blob))
    return found


def prefix(directory: Path) -> str:
    """The way from the repository's top to a directory, "" or with a slash at its end."""
    done = git.run(directory, "rev-parse", "--show-prefix")
    return done.stdout.decode(errors="surrogateescape").rstrip("\n") if done else ""


def content(directory: Path, change: Change) -> bytes:
    """What a file has in it then, byte for byte. Raises Unreadable."""
    done = git.run(directory, "cat-file", "blob", change.blob)
    if done is None or done.returncode:
        raise Unreadable(f"git cannot read {change.path}")
    return done.stdout
