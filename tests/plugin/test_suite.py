"""The correctness suite that the package ships, against this project's kernel."""

from __future__ import annotations

from pytest_lance_ar.targets.pq_l2.test_pq_l2 import *  # noqa: F403 - whatever the suite has, now and later
