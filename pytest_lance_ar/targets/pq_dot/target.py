"""What is judged: negative inner products; cosines, where vectors and queries are normalised before they are coded."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pytest_lance_ar.targets.common.pq.target import PqTarget, combos
from pytest_lance_ar.targets.pq_dot.metric import DOT

SPEED_DISTRIBUTIONS: Final = ("clustered", "unit", "sparse")
"""unit: of norm 1, as for cosine, where inner products crowd around zero."""


class PqDot(PqTarget):
    """The target `pq_dot`."""

    name = "pq_dot"
    metric = DOT
    kernel_class = "PqDotKernel"
    driver = "pytest_lance_ar.targets.pq_dot.driver"
    suite = Path(__file__).with_name("test_pq_dot.py")
    combos = combos(SPEED_DISTRIBUTIONS)


TARGET = PqDot()
