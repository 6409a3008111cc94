"""What the suite draws: a seed, a distribution, a structure and a size, from which a case builds its arrays.

So an example is a line of text whatever its arrays weigh, shrinks in a few steps and replays anywhere. Small literal
arrays are drawn value by value.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from hypothesis import strategies as st

from pytest_lance_ar.targets.pq_l2.cases import STRUCTURES, DrawnCase, LiteralCase
from pytest_lance_ar.targets.pq_l2.inputs import DISTRIBUTIONS, EXTREMES
from pytest_lance_ar.targets.pq_l2.shape import PqShape

BLOCKS: Final = (8, 16, 32, 64, 128, 256, 512, 1024, 2048)
"""Sizes that a kernel may work in; their neighbours are where its tails are."""
AROUND_BLOCKS: Final = tuple(block + offset for block in BLOCKS for offset in (-1, 0, 1))
EDGES: Final = (
    (0, 1),
    (0, 10),
    (1, 1),
    (1, 10),
    (2, 1),
    (9, 10),
    (10, 10),
    (11, 10),
    (33, 33),
    (64, 1000),
    (257, 256),
)
"""(N, k): N = 0, N = 1, N < k, k = 1, k = N."""

seeds = st.integers(0, 2**32 - 1)
distributions = st.sampled_from(DISTRIBUTIONS + EXTREMES)
structures = st.sampled_from(STRUCTURES)
edges = st.sampled_from(EDGES)
ks = st.one_of(st.integers(1, 16), st.integers(1, 600))


def counts(most: int) -> st.SearchStrategy[int]:
    """Numbers of vectors, those around blocks more often than others."""
    return st.one_of(st.integers(0, most), st.sampled_from([n for n in AROUND_BLOCKS if n <= most]))


values = st.one_of(
    st.integers(-4, 4).map(float),  # small integers: exact ties
    st.floats(-1e3, 1e3, width=32, allow_subnormal=False),
    st.sampled_from([-0.0, 2.0**-149, 1e-20, 4096.0, 4097.0, 1e6, -1e9]),
)


@st.composite
def literal_cases(draw: st.DrawFn) -> LiteralCase:
    m, dsub, k_centroids = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 5))
    n = draw(st.integers(0, 12))

    def table(rows: int, columns: int, element: st.SearchStrategy[float]) -> tuple[tuple[float, ...], ...]:
        row = st.tuples(*[element] * columns)
        return draw(st.tuples(*[row] * rows))

    return LiteralCase(
        codebook=tuple(table(k_centroids, dsub, values) for _ in range(m)),
        codes=draw(st.tuples(*[st.tuples(*[st.integers(0, k_centroids - 1)] * m)] * n)),
        queries=table(2, m * dsub, values),
        k=draw(st.integers(1, 14)),
    )


def tails(shape: PqShape, seed: int) -> Iterator[DrawnCase]:
    """N around every block size, the nearest vectors last."""
    for i, n in enumerate(AROUND_BLOCKS):
        yield DrawnCase(shape, DISTRIBUTIONS[i % 3], seed + i, n, (10, 1, 3)[i % 3], "descending")


def traps(shape: PqShape, seed: int) -> Iterator[DrawnCase]:
    """The largest sums there can be, for those that count in 16 bits; then each kind of extreme values, and with it
    every structure in turn."""
    yield DrawnCase(shape, "signs", seed, 200, 200, "farthest")
    for i, distribution in enumerate(EXTREMES):
        for j, (n, k) in enumerate(((150, 10), (700, 1), (1300, 64))):
            structure = STRUCTURES[(seed + 3 * i + j) % len(STRUCTURES)]
            yield DrawnCase(shape, distribution, seed + 3 * i + j, n + 31 * i, k, structure)


def large_n(shape: PqShape, seed: int) -> Iterator[DrawnCase]:
    """N around 2^16 and 2^17, where positions of 16 bits end: the nearest vectors last, first, or anywhere."""
    yield DrawnCase(shape, "gaussian", seed, 2**16 - 1, 10, "descending")
    yield DrawnCase(shape, "uniform", seed, 2**16, 10, "descending")
    yield DrawnCase(shape, "gaussian", seed + 1, 2**16 + 1, 100, "descending")
    yield DrawnCase(shape, "uniform", seed + 1, 2**16 + 9, 1, "ascending")
    yield DrawnCase(shape, "gaussian", seed + 2, 2**17 + 33, 10, "descending")
    yield DrawnCase(shape, "outlier", seed, 70_001, 10)


def large_k(shape: PqShape, seed: int) -> Iterator[DrawnCase]:
    """k beyond what a kernel may keep in a fixed place, up to more than 2^15; k = N, N - 1 and N / 2."""
    sizes = ((300, 129), (1500, 1025), (2049, 2048), (2200, 2200), (5000, 4097), (40_000, 33_000))
    for i, (n, k) in enumerate(sizes):
        yield DrawnCase(shape, ("gaussian", "large_dynamic_range", "uniform")[i % 3], seed + i, n, k)
