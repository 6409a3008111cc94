"""What can be restored of a state that is gone: the incumbent and the ledger's head, from ledger and sources.

The ledger says which kernel was kept last, by its hash; the source of that hash is among the kept sources, or in the
commit that the row names. Nothing else will do. What nobody can restore is the seal, which is taken anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pytest_lance_ar.store import ledger
from pytest_lance_ar.store.ledger import Head
from pytest_lance_ar.store.memory import KEPT
from pytest_lance_ar.store.state import StateDirectory, StateError
from pytest_lance_ar.targets.registry import target_of
from pytest_lance_ar.trial import git
from pytest_lance_ar.trial.kernel_source import Kernel
from pytest_lance_ar.trial.trial import Incumbent


class NotRestorable(Exception):
    """The message says why."""


@dataclass(frozen=True)
class Restoration:
    """line: of the ledger, where the incumbent was kept. found: sources that are not among the kept ones any more.

    missing: lines of kept kernels whose source is nowhere.
    """

    incumbent: Incumbent
    head: Head
    line: int
    found: tuple[Kernel, ...]
    missing: tuple[int, ...]

    def source_of(self, sha256: str) -> bytes | None:
        """The source of a kernel that is to be kept again."""
        return next((kernel.source for kernel in self.found if kernel.sha256 == sha256), None)


def needed(directory: StateDirectory, path: Path) -> bool:
    """Whether the ledger has kept kernels, and the incumbent or the head is gone or damaged."""
    try:
        lost = directory.load() is None or directory.load_head() is None
    except StateError:
        lost = True
    return lost and any(row["verdict"] in KEPT for _, row in ledger.rows(path))


def plan(directory: StateDirectory, path: Path, kernel: Path, last_known: str | None) -> Restoration:
    """What can be restored. Raises NotRestorable, OSError.

    kernel: the kernel file, to look for in commits. last_known: what is remembered elsewhere of the last incumbent, its
    hash, if anything is.
    """
    rows = list(ledger.rows(path))
    kept = [(line, row) for line, row in rows if row["verdict"] in KEPT]
    if not kept:
        raise NotRestorable(f"{path.name} has no row of a kept kernel")
    head = Head(len(rows), rows[-1][1]["chain"])
    if problem := ledger.verify(path, head):
        raise NotRestorable(f"{path.name} does not verify by itself, {problem}")
    try:
        remembered = directory.load_head()
    except StateError:
        remembered = None
    if remembered is not None and (problem := ledger.verify(path, remembered)):
        raise NotRestorable(f"{path.name} is not the one that is remembered, {problem}")
    line, row = kept[-1]
    sha256 = row["kernel_sha256"]
    if last_known is not None and last_known not in {row["kernel_sha256"] for _, row in kept}:
        raise NotRestorable(
            f"this repository's last incumbent was {last_known[:12]}, and {path.name} ends with another one, "
            f"{sha256[:12]}: rows are missing at its end"
        )
    name = f"{kernel.parent.name}/{kernel.name}"
    found, missing = [], []
    for place, other in kept:
        if directory.source_of(other["kernel_sha256"]) is None:
            source = _source(directory, kernel, other["commit"], other["kernel_sha256"])
            if source is None:
                missing.append(place)
            else:
                found.append(Kernel(name, source))
    source = directory.source_of(sha256) or next((each.source for each in found if each.sha256 == sha256), None)
    if source is None:
        raise NotRestorable(
            f"the source of {sha256[:12]}, kept in line {line}, is neither in {directory.kept} nor in commit "
            f"{row['commit']}"
        )
    incumbent = Incumbent(
        kernel=Kernel(name, source),
        target=target_of(source).name,
        commit=row["commit"],
        timestamp=row["timestamp"],
        geomean_ns=_number(row["geomean_ns"]),
        seed=int(_number(row["seed"])),
    )
    return Restoration(incumbent, remembered or head, line, tuple(_once(found)), tuple(missing))


def _source(directory: StateDirectory, kernel: Path, commit: str, sha256: str) -> bytes | None:
    tried = directory.tried_source(sha256)
    if tried is not None:
        return tried
    committed = git.source_at(kernel, commit.removesuffix("-dirty"))
    fits = committed is not None and hashlib.sha256(committed).hexdigest() == sha256
    return committed if fits else None


def _once(kernels: Iterable[Kernel]) -> Iterable[Kernel]:
    return {kernel.sha256: kernel for kernel in kernels}.values()


def _number(text: str) -> float:
    """For people only: no decision reads it."""
    try:
        return float(text)
    except ValueError:
        return 0.0
