"""What is judged: squared L2 distances."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pytest_lance_ar.targets.common.pq.target import PqTarget, combos
from pytest_lance_ar.targets.pq_l2.metric import L2

SPEED_DISTRIBUTIONS: Final = ("clustered", "uniform", "sparse")


class PqL2(PqTarget):
    """The target `pq_l2`."""

    name = "pq_l2"
    metric = L2
    kernel_class = "PqKernel"
    driver = "pytest_lance_ar.targets.pq_l2.driver"
    suite = Path(__file__).with_name("test_pq_l2.py")
    combos = combos(SPEED_DISTRIBUTIONS)
    benchmarks = "pytest_lance_ar.targets.pq_l2.bench.sections"


TARGET = PqL2()
