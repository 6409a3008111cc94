"""`python -m pytest_lance_ar admit COMMIT`: takes the kernel out of a pull request, and nothing else.

For a checkout of the branch that the pull request wants to go to. The pull request stays what git has of it: its kernel
is written over the branch's, as it would be after a merge, and no other file of it ever is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from pytest_lance_ar.files import write_atomically
from pytest_lance_ar.report import github
from pytest_lance_ar.seal.fingerprints import PACKAGE, SEALED_IN_ROOT
from pytest_lance_ar.targets import DEFAULT_KERNEL
from pytest_lance_ar.text import one_line
from pytest_lance_ar.trial import pull_request
from pytest_lance_ar.trial.verdict import ExitCode

if TYPE_CHECKING:
    from pytest_lance_ar.commands import Commands

_DOCUMENTS: Final = frozenset({".md", ".rst", ".png", ".svg", ".jpg", ".jpeg", ".gif"})
"""What neither Python nor pytest nor a package's build reads code or settings from."""
_NAMED: Final = 5
"""How many changed files a refusal names."""


def add_to(commands: Commands) -> None:
    parser = commands.add_parser(
        "admit",
        help="take the kernel out of a pull request, for CI, unless it changes anything else that counts",
        description="Exit status: 0 the kernel was taken; 5 it is the same, nothing is to be judged; 10 refused, a "
        "person has to look at what else is changed; 4 usage.",
    )
    parser.add_argument("commit", help="the pull request's last commit, fetched")
    parser.add_argument("--kernel", default=DEFAULT_KERNEL, metavar="PATH")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Take the kernel, or say why not."""
    here = Path.cwd()
    try:
        tree = pull_request.merged(here, options.commit)
        code, sentence = _admit(here, PurePosixPath(options.kernel).as_posix(), tree)
    except pull_request.Unreadable as error:
        print(f"admit: {one_line(error)}", file=sys.stderr)
        return ExitCode.USAGE
    except OSError as error:
        print(f"admit: {options.kernel} cannot be written ({error.strerror})", file=sys.stderr)
        return ExitCode.USAGE
    print(sentence)
    if code is not ExitCode.KEPT and github.is_here():
        print(github.refusal(sentence), end="")
    return code


def _admit(here: Path, kernel: str, tree: str) -> tuple[ExitCode, str]:
    changes = pull_request.changes(here, tree)
    name = pull_request.prefix(here) + kernel
    others = [change.path for change in changes if change.path != name and not is_document(change)]
    if others:
        return ExitCode.TAMPERED, (
            f"refused: this pull request changes more than {one_line(kernel)}: {_listed(others)}. What judges a kernel "
            "is not changed along with it: let a person review these changes, and send the kernel by itself"
        )
    mine = next((change for change in changes if change.path == name), None)
    if mine is None:
        return ExitCode.NONE, f"this pull request does not change {one_line(kernel)}: there is nothing to judge"
    if not mine.regular:
        return ExitCode.TAMPERED, f"refused: {one_line(kernel)} is no regular file in this pull request"
    write_atomically(here / kernel, pull_request.content(here, mine))
    return ExitCode.KEPT, f"{one_line(kernel)} is the pull request's; all else is that of the branch it wants to go to"


def is_document(change: pull_request.Change) -> bool:
    """Whether this is a text or a picture outside of what is sealed or hidden."""
    path = PurePosixPath(change.path)
    sealed = {*SEALED_IN_ROOT, PACKAGE.name}
    counts = any(part in sealed or part.startswith(".") for part in path.parts)
    return not counts and path.suffix.lower() in _DOCUMENTS and (change.regular or change.removed)


def _listed(paths: Iterable[str]) -> str:
    names = sorted(map(one_line, paths))
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
