"""Watches over the sealed files of a project, from the start of a run to its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from pytest_lance_ar.seal.compiled import CompiledFiles
from pytest_lance_ar.seal.fingerprints import PACKAGE, changed, contradicted, fingerprint
from pytest_lance_ar.seal.reach import imported


class Watch:
    """`seal`: the fingerprints at the start of the run. `unsealed`: the kernel, should it lie among the tests.

    beside: what else is sealed, wherever it lies, by the name that messages call it: a target from outside.
    """

    def __init__(self, root: Path, *, unsealed: Path, beside: Callable[[], Mapping[str, Path]] = dict) -> None:
        self._root = root
        self._unsealed = frozenset({unsealed.resolve()})
        self._beside = beside
        self._compiled = CompiledFiles()
        self.seal = self._now()

    def since(self, sealed: Mapping[str, str] | None) -> tuple[str, ...]:
        """What was changed before this run began."""
        changes = changed(sealed, self.seal) if sealed is not None else ()
        return (*changes, *self._intruders())

    def behind(self) -> tuple[str, ...]:
        """What is not what its source says. The first look takes as long as compiling the package does."""
        return contradicted(self._root, self._compiled, self._beside())

    def meanwhile(self) -> tuple[str, ...]:
        """What was changed since this run began."""
        return (*changed(self.seal, self._now()), *self.behind(), *self._intruders())

    def _now(self) -> dict[str, str]:
        return fingerprint(self._root, unsealed=self._unsealed, beside=self._beside())

    def _intruders(self) -> tuple[str, ...]:
        root = self._root.resolve()
        sealed = {PACKAGE / name.partition("/")[2] for name in self.seal} | {root / name for name in self.seal}
        sealed |= set(self._beside().values())
        found = dict.fromkeys(path.relative_to(root).as_posix() for path in imported(root, sealed))
        return tuple(f"{name} (imported by the gate, and not sealed: move it out of the project)" for name in found)
