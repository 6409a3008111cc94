"""What is judged: the battery, the combos, and how an instance of each is made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final

from pytest_lance_ar.targets.common import lance
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.common.pq.target import (
    BATTERY_DISTRIBUTIONS,
    FLOAT_OPERATIONS_PER_NS,
    ODD_SHAPES,
    SHAPES,
    TRAP_SHAPES,
)
from pytest_lance_ar.targets.ivf_pq_l2 import reduction, specs, workloads
from pytest_lance_ar.targets.ivf_pq_l2.cases import FILLINGS
from pytest_lance_ar.targets.protocol import Case, Combo, Guard, Instance, StillFails, Target

SPEED_DISTRIBUTIONS: Final = ("clustered", "uniform", "sparse")
SPEED_VISITS: Final = (1, 8, 32)
DOMAIN_PARTS: Final = 4
"""What is drawn from the whole domain comes in so many parts, which workers share."""


class IvfPqL2(Target):
    """The target `ivf_pq_l2`."""

    name = "ivf_pq_l2"
    kernel_class = "IvfPqKernel"
    driver = "pytest_lance_ar.targets.ivf_pq_l2.driver"
    upstream = lance.UPSTREAM
    steps: ClassVar[Mapping[str, str]] = {"search": "search"}
    kernel_names: ClassVar[Mapping[str, tuple[str, ...]]] = {"pytest_lance_ar": ("PqShape",)}
    suite = Path(__file__).with_name("test_ivf_pq_l2.py")
    combos = tuple(
        # Each shape with each number of partitions visited, and each of both with each distribution.
        Combo(f"{shape}x{visits}", SPEED_DISTRIBUTIONS[(row + column) % len(SPEED_DISTRIBUTIONS)])
        for row, shape in enumerate(SHAPES)
        for column, visits in enumerate(SPEED_VISITS)
    )
    suite_tests = frozenset(
        [
            "test_earlier_falsifying_examples",
            *(f"test_battery[{shape}-{distribution}]" for shape in SHAPES for distribution in BATTERY_DISTRIBUTIONS),
            *(f"test_odd_shape[{name}]" for name in ODD_SHAPES),
            *(f"test_partitions_of_any_size[{filling}]" for filling in FILLINGS),
            "test_edges",
            "test_drawn_arrays",
            "test_several_indices_in_one_kernel",
            *(f"test_traps[{name}]" for name in TRAP_SHAPES),
            *(f"test_domain[{part}]" for part in range(DOMAIN_PARTS)),
            "test_ends_of_the_domain",
            "test_life_of_one_object",
            "test_tails",
            "test_many_queries",
            "test_large",
        ]
    )

    def floor_ns(self, combo: Combo) -> float:
        """The residuals of the partitions visited and the distances returned, of dim values each.

        No table is asked for, and codes and entries of tables may be skipped by lossless pruning.
        """
        shape, visits = shape_and_visits(combo)
        return 3 * (visits + workloads.SPEED_K) * shape.dim / FLOAT_OPERATIONS_PER_NS

    def parse_case(self, spec: str) -> Case:
        return specs.parse(spec)

    def reduced(self, case: Case, still_fails: StillFails) -> tuple[Case, str]:
        return reduction.reduced(case, still_fails)

    def workload(self, combo: Combo, queries: int, seed: int) -> Instance:
        shape, visits = shape_and_visits(combo)
        return workloads.Workload(shape, combo.distribution, seed, visits).instance(queries)

    def guards(self, seed: int) -> tuple[Guard, ...]:
        return workloads.family(seed)

    def parse_guard(self, spec: str) -> Guard:
        return workloads.parse(spec)

    def stand_in(self, combo: Combo) -> Instance:
        """The instance of a call that compiles what a workload's calls do; small, so that it costs nothing."""
        shape, visits = shape_and_visits(combo)
        return workloads.stand_in(shape, visits)


def shape_and_visits(combo: Combo) -> tuple[PqShape, int]:
    """From a combo's shape: "(128,16,256)x8" is that shape with 8 partitions visited."""
    numbers, _, visits = combo.shape.rpartition("x")
    return PqShape.of(numbers), int(visits)


TARGET = IvfPqL2()
