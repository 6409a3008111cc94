"""Squared L2 distance."""

from __future__ import annotations

from typing import Final

import numpy as np

from pytest_lance_ar.targets.common.inputs import Float32
from pytest_lance_ar.targets.common.pq.metric import Metric


def term(query: Float32, centroids: Float32) -> Float32:
    difference = query - centroids
    difference *= difference
    return difference


def midway(u: Float32, v: Float32, side: Float32) -> Float32:
    return np.asarray((u + v) * np.float32(0.5) + (v - u) * (side * np.float32(2.0**-9)), np.float32)


L2: Final = Metric("squared L2", term, operations=3, midway=midway, products=-2, squares=True)
