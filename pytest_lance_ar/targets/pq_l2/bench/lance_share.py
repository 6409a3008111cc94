"""What share of a real Lance query is spent where a kernel works: a table and a scan for each partition it visits.

An IVF_PQ index of released `pylance` (the extra [lance]) is asked for the nearest with more and fewer probes in turns,
and the median time of a query is laid out, by least squares, as everything else + probes x what a partition takes. What
grows with the probes is the table, the scan, the heap and the bookkeeping of a partition: an upper bound of what a
kernel can save. The rest of the query no kernel makes faster. How far the share can be trusted is told by resampling
the queries: on a machine that is busy it cannot.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from dataclasses import dataclass
from importlib import metadata, util
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.targets.common import inputs
from pytest_lance_ar.targets.common.inputs import Float32
from pytest_lance_ar.targets.common.pq.shape import PqShape

VECTORS: Final = 20_000
PARTITIONS: Final = 64
PROBES: Final = (1, 2, 5, 10, 20, 40)
USUAL: Final = 20
"""Probes of the query whose share is told: 20, Lance's own default at the time of writing."""
QUERIES: Final = 60
WARMUP: Final = 5
RESAMPLES: Final = 400
SEED: Final = 5


@dataclass(frozen=True)
class Share:
    """microseconds: of a query with USUAL probes; share: of it, what grows with the partitions and vectors visited.

    interval: 90% of the shares that other queries would have told.
    """

    version: str
    shape: PqShape
    microseconds: float
    share: float
    interval: tuple[float, float]

    def __str__(self) -> str:
        return (
            f"pylance {self.version}, IVF_PQ {self.shape}, {VECTORS:,} vectors in {PARTITIONS} partitions, "
            f"{USUAL} probes: {self.microseconds:,.0f} us a query, of which {self.share:.0%} "
            f"[{self.interval[0]:.0%}, {self.interval[1]:.0%}] grow with what it visits (table and scan)"
        )


def installed() -> bool:
    return util.find_spec("lance") is not None and util.find_spec("pyarrow") is not None


def measure(shape: PqShape) -> Share:
    """Ask a real index; it lies in a temporary directory."""
    os.environ.setdefault("LANCE_IO_THREADS", "2")
    import lance
    import pyarrow

    vectors = inputs.vectors("clustered", VECTORS, shape.dim, seed=SEED, role="base")
    queries = inputs.vectors("clustered", QUERIES, shape.dim, seed=SEED, role="query")
    with tempfile.TemporaryDirectory() as directory:
        column = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(vectors.reshape(-1)), shape.dim)
        dataset = lance.write_dataset(pyarrow.table({"vec": column}), f"{directory}/vectors.lance")
        dataset = dataset.create_index(
            "vec", "IVF_PQ", metric="L2", num_partitions=PARTITIONS, num_sub_vectors=shape.num_sub_vectors
        )

        def seconds(query: Float32, probes: int) -> float:
            nearest = {"column": "vec", "q": query, "k": 10, "nprobes": probes}
            begun = time.perf_counter()
            dataset.to_table(columns=["_distance"], with_row_id=True, nearest=nearest)
            return time.perf_counter() - begun

        for query in queries[:WARMUP]:  # the index is read into memory
            seconds(query, max(PROBES))
        rng = random.Random(SEED)
        times = np.empty((QUERIES, len(PROBES)))
        for row, query in zip(times, queries, strict=True):
            for i in rng.sample(range(len(PROBES)), len(PROBES)):
                row[i] = seconds(query, PROBES[i])
    return share_of(shape, metadata.version("pylance"), times)


def share_of(shape: PqShape, version: str, seconds: NDArray[np.float64]) -> Share:
    """From the seconds of each query, (queries, PROBES). Partitions are of one size on average: a line will do."""
    rng = np.random.default_rng(SEED)
    resampled = (seconds[rng.integers(len(seconds), size=len(seconds))] for _ in range(RESAMPLES))
    low, high = np.quantile([_laid_out(sample)[1] for sample in resampled], (0.05, 0.95))
    usual, share = _laid_out(seconds)
    return Share(version, shape, 1e6 * usual, share, (float(low), float(high)))


def _laid_out(seconds: NDArray[np.float64]) -> tuple[float, float]:
    """Seconds of a query with USUAL probes, and the share that grows."""
    slope, rest = np.polyfit(PROBES, np.median(seconds, axis=0), 1)
    usual = float(rest + slope * USUAL)
    return usual, float(np.clip(slope * USUAL / usual, 0.0, 1.0))
