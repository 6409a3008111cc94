"""What the benchmark times of any target: its combos, and what it adds to them."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pytest_lance_ar.targets.benchmarks import Benchmarks, Section, Timeable
from pytest_lance_ar.targets.protocol import Combo, Instance, Target


@dataclass(frozen=True)
class OfCombo:
    """What the gate times."""

    target: Target
    combo: Combo
    count: int = 0

    @property
    def shape(self) -> str:
        return self.combo.shape

    @property
    def data(self) -> str:
        return self.combo.distribution

    @property
    def name(self) -> str:
        return self.combo.name

    def instance(self, queries: int, seed: int) -> Instance:
        return self.target.workload(self.combo, queries, seed)


def benchmarks_of(target: Target) -> Benchmarks | None:
    """What a target adds, None for nothing."""
    if not target.benchmarks:
        return None
    found: Benchmarks = importlib.import_module(target.benchmarks).BENCHMARKS
    return found


def sections_of(target: Target, quick: bool = False) -> dict[str, Section]:
    """Every section that the benchmark has for a target, by the option that asks for it."""
    combos = Section("The gate's combos", tuple(OfCombo(target, combo) for combo in target.combos))
    added = benchmarks_of(target)
    return {"combos": combos, **(added.sections(quick) if added else {})}


def instances(workloads: Sequence[Timeable], queries: int, seed: int) -> list[Instance]:
    """Build all, on two cores."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        return list(pool.map(lambda workload: workload.instance(queries, seed), workloads))
