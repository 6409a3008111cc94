"""Where the default state and the ledger lie: all git worktrees of a repository share those of its main worktree.

git's own files say which that is (gitrepository-layout, "commondir"), so this needs neither git nor its permission.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

DEFAULT_STATE: Final = ".lance_ar"
LEDGER: Final = "results.tsv"


def home_of(root: Path) -> Path:
    """The directory that holds a project's default state and ledger: the project's own, in the main worktree.

    Of a bare repository, which has no main worktree, a directory inside the repository.
    """
    found = _linked_worktree(root)
    if found is None:
        return root
    top, common = found
    inside = root.resolve().relative_to(top)
    if common.name == ".git":
        return common.parent / inside
    main = _worktree_of_a_submodule(common)
    return main / inside if main is not None else common / "lance_ar" / inside


def ledger_of(root: Path, state: Path | None) -> Path:
    """The ledger lies beside the default state, and inside a state directory of the user's own choice."""
    home = home_of(root)
    default = {home / DEFAULT_STATE, (home / DEFAULT_STATE).resolve()}
    return (home if state is None or state in default else state) / LEDGER


def witness_of(root: Path) -> Path | None:
    """A file among git's own that outlives the removal of all that git ignores; None outside git.

    It remembers of a project's default state that there was an incumbent.
    """
    root = root.resolve()
    found = _linked_worktree(root)
    if found is not None:
        top, common = found
    else:
        top = next((top for top in (root, *root.parents) if (top / ".git").exists()), root)
        common = top / ".git"
        if common.is_file():  # of a submodule
            common = top / _line(common).removeprefix("gitdir:").strip().replace("\0", "")
            common = common.resolve()
        if not common.is_dir():
            return None
    inside = hashlib.sha256(root.relative_to(top).as_posix().encode(errors="surrogateescape")).hexdigest()
    return common / f"lance_ar-{inside[:12]}.json"


def _linked_worktree(root: Path) -> tuple[Path, Path] | None:
    """The top of the linked worktree that a project is in, and its repository's common directory."""
    root = root.resolve()
    for top in (root, *root.parents):
        entry = top / ".git"
        if entry.is_dir():
            return None
        if entry.is_file():
            pointer = _line(entry)
            own = top / pointer.removeprefix("gitdir:").strip()
            common = _line(own / "commondir")
            return (top, (own / common).resolve()) if pointer.startswith("gitdir:") and common else None
    return None


def _worktree_of_a_submodule(common: Path) -> Path | None:
    """Where a repository below another one's `.git/modules` says that its files are."""
    for line in _text(common / "config").splitlines():
        name, _, value = line.partition("=")
        if name.strip().lower() == "worktree" and value.strip():
            return (common / value.strip()).resolve()
    return None


def _line(path: Path) -> str:
    return _text(path).split("\n", 1)[0].strip()


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="surrogateescape")
    except (OSError, ValueError):  # ValueError: a NUL character in the path
        return ""
