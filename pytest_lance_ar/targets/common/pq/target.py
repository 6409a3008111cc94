"""What is judged of a PQ kernel: the battery, the combos, and how an instance of each is made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final

import numpy as np

from pytest_lance_ar.targets.common import inputs, lance
from pytest_lance_ar.targets.common.pq import cases, guards, quantizer, reduction, specs
from pytest_lance_ar.targets.common.pq.answers import instance_of
from pytest_lance_ar.targets.common.pq.metric import Metric
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.protocol import Case, Combo, Guard, Instance, StillFails, Target

SHAPES: Final = (PqShape(128, 16, 256), PqShape(256, 16, 256), PqShape(768, 96, 256))
BATTERY_DISTRIBUTIONS: Final = ("gaussian", "uniform", "sparse", "large_dynamic_range", "mostly_zero")
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


class PqTarget(Target):
    """A target of PQ kernels. What differs from one to another: its name, its metric, the class of its kernels, its
    driver and suite, and the distributions that it is timed on."""

    name: ClassVar[str]
    metric: ClassVar[Metric]
    kernel_class: ClassVar[str]
    driver: ClassVar[str]
    suite: ClassVar[Path]
    combos: ClassVar[tuple[Combo, ...]]
    upstream = lance.UPSTREAM
    steps: ClassVar[Mapping[str, str]] = {"distance_table": "table", "probe_top_k": "scan"}
    kernel_names: ClassVar[Mapping[str, tuple[str, ...]]] = {"pytest_lance_ar": ("PqShape",)}
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
        """The distance table alone: the metric's operations for each of K x dim values.

        Codes may be skipped by lossless pruning, the table may not.
        """
        shape = PqShape.of(combo.shape)
        return self.metric.operations * shape.num_centroids * shape.dim / FLOAT_OPERATIONS_PER_NS

    def parse_case(self, spec: str) -> Case:
        return specs.parse(self.metric, spec)

    def reduced(self, case: Case, still_fails: StillFails) -> tuple[Case, str]:
        return reduction.reduced(self.metric, case, still_fails)

    def workload(self, combo: Combo, queries: int, seed: int) -> Instance:
        shape = PqShape.of(combo.shape)
        vectors = inputs.vectors(combo.distribution, SPEED_VECTORS, shape.dim, seed=seed, role="base")
        codebook = cases.trained(vectors, shape, combo.distribution, seed)
        codes = quantizer.encode_for_timing(vectors, codebook)
        drawn = inputs.vectors(combo.distribution, queries, shape.dim, seed=seed, role="query")
        return instance_of(self.metric, shape, codebook, [(codes, drawn)], SPEED_K)

    def guards(self, seed: int) -> tuple[Guard, ...]:
        return guards.family(self.metric, seed)

    def parse_guard(self, spec: str) -> Guard:
        return guards.parse(self.metric, spec)

    def stand_in(self, combo: Combo) -> Instance:
        """The instance of a call that compiles what a workload's calls do; of any numbers, so that it costs nothing."""
        shape = PqShape.of(combo.shape)
        stream = inputs.Stream(0, "stand-in", combo.shape)
        drawn = inputs.vectors("gaussian", shape.num_centroids, shape.dim, seed=0, role="stand-in")
        codes = stream.below(shape.num_centroids, SPEED_VECTORS * shape.num_sub_vectors).astype(np.uint8)
        codebook = quantizer.sampled_codebook(drawn, shape, stream)
        return instance_of(self.metric, shape, codebook, [(codes.reshape(SPEED_VECTORS, -1), drawn[:1])], SPEED_K)


def combos(distributions: tuple[str, ...]) -> tuple[Combo, ...]:
    """The battery's shapes with each of these distributions."""
    return tuple(Combo(str(shape), distribution) for shape in SHAPES for distribution in distributions)
