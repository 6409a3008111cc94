"""The specification of a PQ dot kernel, as tests: that of all PQ kernels, for negative inner products."""

from __future__ import annotations

import pytest

from pytest_lance_ar.targets.common.pq.metric import Metric
from pytest_lance_ar.targets.common.pq.suite import *  # noqa: F403 - whatever the suite has, now and later
from pytest_lance_ar.targets.pq_dot.metric import DOT


@pytest.fixture(scope="session")
def metric() -> Metric:
    """What the kernel must compute."""
    return DOT
