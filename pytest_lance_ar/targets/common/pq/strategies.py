"""What a PQ suite draws, besides what any suite does: structures, a handful of literal numbers, and lists of traps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from hypothesis import strategies as st

from pytest_lance_ar.targets.common.draw import Draw
from pytest_lance_ar.targets.common.inputs import DISTRIBUTIONS, EXTREMES, Float32, Stream
from pytest_lance_ar.targets.common.pq.cases import STRUCTURES, DrawnCase, LiteralCase
from pytest_lance_ar.targets.common.pq.metric import Metric
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.common.strategies import AROUND_BLOCKS, seeds

structures = st.sampled_from(STRUCTURES)

SPECIAL_VALUES: Final = np.array([-0.0, 2.0**-149, 1e-20, 0.1, 4096.0, 4097.0, 1e6, -1e9], np.float32)


def small_case(
    metric: Metric, seed: int, num_sub_vectors: int, dsub: int, num_centroids: int, n: int, k: int
) -> LiteralCase:
    """A few values, each of a kind of its own: a small integer (exact ties), one of up to thousands, a special one."""
    stream = Stream(seed, "small", num_sub_vectors, dsub, num_centroids, n, k)
    return LiteralCase.of(
        metric,
        floats(stream, num_sub_vectors, num_centroids, dsub),
        stream.below(num_centroids, n * num_sub_vectors).reshape(n, num_sub_vectors),
        floats(stream, 2, num_sub_vectors * dsub),
        k,
    )


def floats(stream: Stream, *shape: int) -> Float32:
    """Values each of a kind of its own."""
    count = int(np.prod(shape))
    integers = (stream.below(9, count) - 4).astype(np.float32)
    special = SPECIAL_VALUES[stream.below(len(SPECIAL_VALUES), count)]
    kind = stream.below(8, count)
    drawn = np.where(kind < 4, integers, np.where(kind < 7, stream.normal(count) * np.float32(300.0), special))
    return drawn.reshape(shape)


small_sizes = st.fixed_dictionaries(
    {
        "seed": seeds,
        "num_sub_vectors": st.integers(1, 3),
        "dsub": st.integers(1, 3),
        "num_centroids": st.integers(1, 5),
        "n": st.integers(0, 12),
        "k": st.integers(1, 14),
    }
)


def tails(metric: Metric, shape: PqShape, seed: int) -> Iterator[DrawnCase]:
    """N around every block size, the nearest vectors last."""
    for i, n in enumerate(AROUND_BLOCKS):
        yield DrawnCase(metric, shape, DISTRIBUTIONS[i % 3], seed + i, n, (10, 1, 3)[i % 3], "descending")


def traps(metric: Metric, shape: PqShape, seed: int) -> Iterator[DrawnCase]:
    """The largest sums there can be, for those that count in 16 bits; then each kind of extreme values, and with it
    every structure in turn."""
    yield DrawnCase(metric, shape, "signs", seed, 200, 200, "farthest", queries=2)
    yield DrawnCase(metric, shape, "signs", seed + 1, 400, 1 + seed % 100, "farthest", queries=2)
    for i, distribution in enumerate(EXTREMES):
        for j, (n, k) in enumerate(((150, 10), (700, 1), (1300, 64))):
            structure = STRUCTURES[(seed + 3 * i + j) % len(STRUCTURES)]
            yield DrawnCase(metric, shape, distribution, seed + 3 * i + j, n + 31 * i, k, structure, queries=2)


def many_queries(metric: Metric, line: PqShape, shape: PqShape, seed: int) -> Iterator[DrawnCase]:
    """Many queries of few vectors, for bounds that prune wrongly now and then: on a line, where the triangle inequality
    is tight, and among clusters."""
    for i in range(10):
        n, k = (40, 60, 90, 130, 200)[i % 5], (1, 2, 3, 5, 8, 13)[i % 6]
        distribution = ("large_dynamic_range", "huge", "far")[i % 3]
        yield DrawnCase(metric, line, distribution, seed + i, n, k, "midway", queries=60)
    for i in range(4):
        structure = ("lists", "plain", "midway", "descending")[i]
        yield DrawnCase(metric, shape, ("gaussian", "clustered")[i % 2], seed + i, 900, 10, structure, queries=30)


def large_n(metric: Metric, shape: PqShape, seed: int) -> Iterator[DrawnCase]:
    """N around 2^16, where positions of 16 bits end: the nearest vectors last, first, or anywhere."""
    yield DrawnCase(metric, shape, "gaussian", seed, 2**16 - 1, 10, "descending", queries=1)
    yield DrawnCase(metric, shape, "gaussian", seed + 1, 2**16 + seed % 2, 100, "descending", queries=1)
    yield DrawnCase(metric, shape, "uniform", seed + 1, 2**16 + 9, 1, "ascending", queries=1)
    yield DrawnCase(metric, shape, "outlier", seed, 70_001, 10, queries=1)


def large_k(metric: Metric, shape: PqShape, seed: int) -> Iterator[DrawnCase]:
    """k beyond what a kernel may keep in a fixed place, up to more than 2^15; k = N, N - 1 and N / 2. The codes
    of two of them are of any structure: hundreds may tie."""
    draw = Draw(seed, "k")
    more, all_of_them = draw.below(40), draw.log_uniform(2_200, 30_000)
    sizes = ((300, 129 + more), (1500 + more, 1025), (2049, 2048), (all_of_them, all_of_them), (5000, 4097 + more))
    for i, (n, k) in enumerate((*sizes, (40_000, 33_000 + more))):
        distribution = ("gaussian", "large_dynamic_range", "uniform")[i % 3]
        structure = STRUCTURES[draw.below(len(STRUCTURES))] if i in (1, 4) else "plain"
        yield DrawnCase(metric, shape, distribution, seed + i, n, k, structure, queries=3 if n < 40_000 else 1)
