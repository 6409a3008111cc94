"""The specification of a PQ L2 kernel, as tests: that of all PQ kernels, for squared L2 distances."""

from __future__ import annotations

import pytest

from pytest_lance_ar.targets.common.pq.metric import Metric
from pytest_lance_ar.targets.common.pq.suite import *  # noqa: F403 - whatever the suite has, now and later
from pytest_lance_ar.targets.pq_l2.metric import L2


@pytest.fixture(scope="session")
def metric() -> Metric:
    """What the kernel must compute."""
    return L2
