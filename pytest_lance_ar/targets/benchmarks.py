"""What a target may add to `bench`, beside its combos and guard workloads. It is no part of the protocol's edition.

A target names the module that has BENCHMARKS, so that nobody imports it but `bench`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pytest_lance_ar.targets.protocol import Instance


class Timeable(Protocol):
    """What can be timed. data: what the table calls the data; count: vectors stored, 0 where there is no such thing."""

    @property
    def shape(self) -> object: ...

    @property
    def data(self) -> str: ...

    @property
    def count(self) -> int: ...

    @property
    def name(self) -> str: ...

    def instance(self, queries: int, seed: int) -> Instance:
        """One pack with so many calls."""
        ...


@dataclass(frozen=True)
class Section:
    """Workloads that belong into one table.

    driver, library_driver: how contestants are asked, where not as in a duel; without the latter no library is asked.
    packing_driver: tells the bytes that a pack holds, for a section `by_size`. afterwards: what else is to be told.
    """

    title: str
    workloads: tuple[Timeable, ...]
    by_size: bool = False
    driver: str = ""
    library_driver: str = ""
    packing_driver: str = ""
    afterwards: Callable[[], str] | None = None


class Benchmarks(Protocol):
    """What a target's kernels are timed on beside the gate's own."""

    library: str
    """A library that can be asked the same, "" for none."""

    def version(self) -> str | None:
        """Of the library, which only a process of its own imports; None where it is not installed."""
        ...

    def sections(self, quick: bool) -> Mapping[str, Section]:
        """By the option that asks for it. quick: nothing that takes long to build."""
        ...

    def own(self, path: Path, k: int) -> Timeable:
        """A user's file. Raises OSError, and ValueError with a sentence that says what is wrong."""
        ...

    def notes(self, wanted: Collection[str]) -> list[str]:
        """What who reads the tables should know, a line each."""
        ...
