"""Falsifying examples of earlier trials, kept in a Hypothesis example database as case specifications.

A specification rebuilds its case whatever the strategies look like by then, and says so to people as well.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from hypothesis.database import DirectoryBasedExampleDatabase

LIMIT: Final = 64


class Examples:
    """The store of one target's falsifying examples."""

    def __init__(self, directory: Path, target: str) -> None:
        self._database = DirectoryBasedExampleDatabase(directory)
        self._key = f"pytest-lance-ar {target}".encode()

    def load(self) -> list[str]:
        """All specifications, shortest first: the smallest failure is the most telling."""
        specs = {value.decode(errors="replace") for value in self._database.fetch(self._key)}
        return sorted(specs, key=lambda spec: (len(spec), spec))

    def known(self, parse: Callable[[str], object]) -> list[str]:
        """Those that `parse` still understands; it raises ValueError for one of a grammar that is no more."""
        known = []
        for spec in self.load():
            try:
                parse(spec)
            except ValueError:
                self.forget(spec)
            else:
                known.append(spec)
        return known

    def save(self, spec: str) -> None:
        known = self.load()
        if spec in known:
            return
        for longest in known[LIMIT - 1 :]:
            self.forget(longest)
        self._database.save(self._key, spec.encode())

    def forget(self, spec: str) -> None:
        self._database.delete(self._key, spec.encode())
