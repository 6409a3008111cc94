"""A yardstick for the timing core: a fixed piece of work in the gate's own process, which no kernel has a hand in."""

from __future__ import annotations

import time
from typing import Final

import numpy as np

from pytest_lance_ar.host.platform import pinned

VECTORS: Final = 20_000
TABLE: Final = 256
READINGS: Final = 60


class Yardstick:
    """Looks up as many bytes in a table as a small scan of codes does, with numpy alone."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self._codes = random.integers(0, TABLE, (4, VECTORS), dtype=np.uint8)
        self._table = random.random(TABLE, dtype=np.float32)
        self._rows = np.empty((4, VECTORS), np.float32)

    def read_ns(self, core: int | None) -> float:
        """Median nanoseconds of the work on a core, over some milliseconds."""
        with pinned(core):
            readings = []
            for _ in range(READINGS):
                begun = time.perf_counter_ns()
                np.take(self._table, self._codes, out=self._rows, mode="clip")
                self._rows.sum(axis=0)
                readings.append(time.perf_counter_ns() - begun)
        return float(np.median(readings))
