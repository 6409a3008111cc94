"""What is judged: the battery, the combos, and how an instance of each is made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final

import numpy as np

from pytest_lance_ar.targets.pq_l2 import cases, guards, inputs, reduction, specs
from pytest_lance_ar.targets.pq_l2.shape import PqShape
from pytest_lance_ar.targets.protocol import Case, Combo, Guard, Instance, StillFails, Target

SHAPES: Final = (PqShape(128, 16, 256), PqShape(256, 16, 256), PqShape(768, 96, 256))
BATTERY_DISTRIBUTIONS: Final = ("gaussian", "uniform", "sparse", "large_dynamic_range", "mostly_zero")
SPEED_DISTRIBUTIONS: Final = ("clustered", "uniform", "sparse")
SPEED_VECTORS: Final = 20_000
SPEED_K: Final = 10
FLOAT_OPERATIONS_PER_NS: Final = 256
"""More than any core has: two units of sixteen lanes at 6 GHz do 192."""

ODD_SHAPES: Final = {
    "dim_is_1": PqShape(1, 1, 200),
    "K_is_1": PqShape(8, 2, 1),
    "K_is_2": PqShape(6, 3, 2),
    "K_is_100": PqShape(24, 6, 100),
    "K_is_255": PqShape(16, 4, 255),
    "dsub_is_1": PqShape(16, 16, 256),
    "M_is_1": PqShape(12, 1, 256),
    "M_is_7": PqShape(42, 7, 64),
    "M_is_300": PqShape(900, 300, 16),
    "dsub_is_5": PqShape(60, 12, 17),
    "dsub_is_39": PqShape(78, 2, 40),
}

TRAP_SHAPES: Final = ("dim_is_1", "K_is_100", "dsub_is_1", "M_is_300")
"""The odd shapes that meet every kind of extreme values: on a line the triangle inequality is tight."""

DOMAIN_PARTS: Final = 5
"""What is drawn from the whole domain comes in so many parts, which workers share."""


class PqL2(Target):
    """The target `pq_l2`."""

    name = "pq_l2"
    kernel_class = "PqKernel"
    driver = "pytest_lance_ar.targets.pq_l2.driver"
    steps: ClassVar[Mapping[str, str]] = {"distance_table": "table", "probe_top_k": "scan"}
    kernel_names: ClassVar[Mapping[str, tuple[str, ...]]] = {"pytest_lance_ar": ("PqShape",)}
    suite = Path(__file__).with_name("test_pq_l2.py")
    combos = tuple(Combo(str(shape), distribution) for shape in SHAPES for distribution in SPEED_DISTRIBUTIONS)
    suite_tests = frozenset(
        [
            "test_earlier_falsifying_examples",
            *(f"test_battery[{shape}-{distribution}]" for shape in SHAPES for distribution in BATTERY_DISTRIBUTIONS),
            *(f"test_odd_shape[{name}]" for name in ODD_SHAPES),
            *(f"test_edge_of_n_and_k[{shape}]" for shape in SHAPES),
            "test_drawn_arrays",
            "test_several_code_sets_in_one_kernel",
            *(f"test_traps[{name}]" for name in TRAP_SHAPES),
            *(f"test_domain[{part}]" for part in range(DOMAIN_PARTS)),
            "test_ends_of_the_domain",
            "test_blocks",
            "test_life_of_one_object",
            "test_tails",
            "test_many_queries",
            "test_large_k",
            "test_large_n",
        ]
    )

    def floor_ns(self, combo: Combo) -> float:
        """The distance table alone: a subtraction, a multiplication and an addition for each of K x dim values.

        Codes may be skipped by lossless pruning, the table may not.
        """
        shape = _shape_of(combo)
        return 3 * shape.num_centroids * shape.dim / FLOAT_OPERATIONS_PER_NS

    def parse_case(self, spec: str) -> Case:
        return specs.parse(spec)

    def reduced(self, case: Case, still_fails: StillFails) -> tuple[Case, str]:
        return reduction.reduced(case, still_fails)

    def workload(self, combo: Combo, queries: int, seed: int) -> Instance:
        shape = _shape_of(combo)
        codebook, codes = cases.fixture.__wrapped__(shape, combo.distribution, seed, SPEED_VECTORS)
        drawn = inputs.vectors(combo.distribution, queries, shape.dim, seed=seed, role="query")
        return cases.instance_of(shape, codebook, [(codes, drawn)], SPEED_K, many_calls=True)

    def guards(self, seed: int) -> tuple[Guard, ...]:
        return guards.family(seed)

    def parse_guard(self, spec: str) -> Guard:
        return guards.parse(spec)

    def stand_in(self, combo: Combo) -> Instance:
        """The instance of a call that compiles what a workload's calls do; of any numbers, so that it costs nothing."""
        shape = _shape_of(combo)
        stream = inputs.Stream(0, "stand-in", combo.shape)
        drawn = inputs.vectors("gaussian", shape.num_centroids, shape.dim, seed=0, role="stand-in")
        codes = stream.below(shape.num_centroids, SPEED_VECTORS * shape.num_sub_vectors).astype(np.uint8)
        codebook = inputs.sampled_codebook(drawn, shape, stream)
        return cases.instance_of(shape, codebook, [(codes.reshape(SPEED_VECTORS, -1), drawn[:1])], SPEED_K)


def _shape_of(combo: Combo) -> PqShape:
    return PqShape(*map(int, combo.shape.strip("()").split(",")))


TARGET = PqL2()
