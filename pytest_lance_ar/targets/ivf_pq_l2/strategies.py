"""What the suite draws: a seed, a distribution, a structure and sizes, from which a case builds its arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from hypothesis import strategies as st

from pytest_lance_ar.targets.common.inputs import DISTRIBUTIONS, EXTREMES, Stream
from pytest_lance_ar.targets.common.pq.domain import FEW_LOOK_UPS, PqDraw, shuffled_cells
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.common.pq.strategies import floats
from pytest_lance_ar.targets.common.strategies import AROUND_BLOCKS, seeds
from pytest_lance_ar.targets.ivf_pq_l2.cases import (
    FILLINGS,
    MAX_VISITS,
    STRUCTURES,
    Asked,
    DrawnCase,
    LiteralCase,
    row_ids_of,
)
from pytest_lance_ar.targets.ivf_pq_l2.reference import Index

EDGES: Final = (
    # (partitions, most, filling, visits, k)
    (1, 0, "empty", 1, 1),
    (3, 0, "empty", 3, 10),
    (1, 1, "full", 1, 1),
    (5, 1, "full", 5, 10),
    (64, 1, "full", 64, 64),
    (64, 5, "one", 64, 3),
    (64, 5, "one", 1, 3),
    (9, 3, "skewed", 4, 1),
    (6, 11, "full", 6, 66),
    (6, 11, "around", 5, 55),
    (200, 7, "skewed", 64, 1000),
    (2, 257, "full", 1, 256),
)
"""No vectors, one, fewer than k, as many; empty partitions, one that is not; one partition or all of 64 visited."""
edges = st.sampled_from(EDGES)
structures = st.sampled_from(STRUCTURES)
fillings = st.sampled_from(FILLINGS)
partition_counts = st.integers(1, 12)
visit_counts = st.one_of(st.integers(1, 12), st.sampled_from((1, MAX_VISITS)))
FEW_TABLE_TERMS: Final = 1 << 23
"""K x dim x partitions visited of a case that is not one of the costly ends."""


def small_case(seed: int, num_sub_vectors: int, dsub: int, num_centroids: int, sizes: list[int], k: int) -> LiteralCase:
    """A few values, each of a kind of its own, and a few vectors in a few partitions."""
    stream = Stream(seed, "small", num_sub_vectors, dsub, num_centroids, *sizes, k)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    count, dim = int(offsets[-1]), num_sub_vectors * dsub
    index = Index(
        floats(stream, num_sub_vectors, num_centroids, dsub),
        floats(stream, len(sizes), dim),
        stream.below(num_centroids, count * num_sub_vectors).reshape(count, num_sub_vectors).astype(np.uint8),
        row_ids_of(count, stream),
        offsets,
    )
    visits = [stream.distinct(len(sizes), len(sizes))[: 1 + int(stream.below(len(sizes), 1)[0])] for _ in range(2)]
    return LiteralCase.of(Asked(index, floats(stream, 2, dim), visits, k))


small_cases = st.builds(
    small_case,
    seed=seeds,
    num_sub_vectors=st.integers(1, 3),
    dsub=st.integers(1, 3),
    num_centroids=st.integers(1, 5),
    sizes=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    k=st.integers(1, 14),
)


def tails(shape: PqShape, seed: int) -> Iterator[DrawnCase]:
    """Partitions of sizes around every block size, the nearest vectors last in each, or all in the last."""
    for i, most in enumerate(AROUND_BLOCKS):
        structure = ("descending", "last", "nearest_last")[i % 3]
        yield DrawnCase(shape, DISTRIBUTIONS[i % 3], seed + i, 3, most, 2, (10, 1, 3)[i % 3], "full", structure)


def traps(shape: PqShape, seed: int) -> Iterator[DrawnCase]:
    """The largest sums there can be, for those that count in 16 bits; then each kind of extreme values, and with it
    every structure in turn."""
    yield DrawnCase(shape, "signs", seed, 4, 60, 4, 200, "full", "farthest")
    for i, distribution in enumerate(EXTREMES):
        for j, (partitions, most, visits, k) in enumerate(((4, 60, 3, 10), (12, 90, 9, 1), (2, 700, 2, 64))):
            structure = STRUCTURES[(seed + 3 * i + j) % len(STRUCTURES)]
            yield DrawnCase(
                shape, distribution, seed + 3 * i + j, partitions, most, visits, k, structure=structure, queries=2
            )


def many_queries(line: PqShape, shape: PqShape, seed: int) -> Iterator[DrawnCase]:
    """Many queries of few vectors, for bounds that prune wrongly now and then: on a line, where the triangle inequality
    is tight, and among clusters."""
    for i in range(10):
        most, k = (10, 15, 25, 40, 60)[i % 5], (1, 2, 3, 5, 8, 13)[i % 6]
        distribution = ("large_dynamic_range", "huge", "far")[i % 3]
        yield DrawnCase(line, distribution, seed + i, 5, most, 4, k, structure="midway", varied=1, queries=60)
    for i in range(6):
        structure = ("lists", "plain", "midway", "descending", "nearest_last", "nearest_first")[i]
        distribution = ("gaussian", "clustered")[i % 2]
        yield DrawnCase(shape, distribution, seed + i, 20, 200, 12, 10, structure=structure, varied=1, queries=30)


def domain(seed: int, part: int, count: int) -> Iterator[DrawnCase]:
    """Examples from everywhere: what costs little whatever the shape. Five in six have a shape from a cell of its own,
    so that no part of the domain waits long for its turn; the order of the cells is the trial's."""
    cells = shuffled_cells(seed)
    for i in range(count):
        draw = PqDraw(seed, "ivf", part, i)
        shape = draw.shape() if i % 6 == 5 else draw.shape_in(*cells[(part * count + i) % len(cells)])
        yield _anywhere(draw, shape, seed + i, draw.one_of(STRUCTURES) if draw.chance(0.6) else "plain")


def _anywhere(draw: PqDraw, shape: PqShape, seed: int, structure: str) -> DrawnCase:
    terms = shape.dim * shape.num_centroids
    visits = draw.size(1, max(1, min(MAX_VISITS, FEW_TABLE_TERMS // terms)))
    partitions = visits + draw.log_uniform(1, 200) - 1
    most = draw.size(1, min(5_000, max(FEW_LOOK_UPS // (shape.num_sub_vectors * min(partitions, 24)), 12)))
    distribution, scale = draw.values()
    return DrawnCase(
        shape,
        distribution,
        seed,
        partitions,
        most,
        visits,
        draw.k(most * visits // 2),
        draw.one_of((*FILLINGS[:4], "skewed")),
        structure,
        varied=draw.below(2),
        indexes=2 if draw.chance(0.2) else 1,
        queries=2,
        scale=scale,
    )


def ends(seed: int) -> Iterator[DrawnCase]:
    """The ends of every axis of the shape, of which each trial has all."""
    draw = PqDraw(seed, "ivf ends")
    for parts, dsub, centroids in (
        (4, 1024, draw.log_uniform(2, 40)),
        (1, 1024, 256),
        (512, 8, draw.log_uniform(2, 40)),
        (512, 1 + draw.below(2), 256),
        (512 - draw.below(256), draw.size(1, 8), draw.size(1, 32)),
        (draw.log_uniform(1, 48), draw.log_uniform(1, 24), 256 - draw.below(2)),
    ):
        structure = "nearest_last" if draw.chance(0.6) else "plain"
        yield _anywhere(draw, PqShape(parts * dsub, parts, centroids), seed, structure)


def large(seed: int) -> Iterator[DrawnCase]:
    """64 partitions of thousands of vectors; partitions around powers of two up to 2^16; a large k, up to all."""
    draw = PqDraw(seed, "ivf large")

    def shape(parts: int) -> PqShape:
        return PqShape(parts * (1 + draw.below(2)), parts, draw.size(24, 256))

    def case(parts: int, partitions: int, most: int, visits: int, k: int, filling: str = "full") -> DrawnCase:
        structure = ("plain", "nearest_last", "last")[draw.below(3)]
        return DrawnCase(shape(parts), "gaussian", seed, partitions, most, visits, k, filling, structure, queries=1)

    yield case(3, MAX_VISITS + draw.below(8), 4_000 + draw.below(1_001), MAX_VISITS, draw.log_uniform(1, 300))
    yield case(8, 90, 5_000, 20 + draw.below(45), draw.log_uniform(10, 1_000), "skewed")
    for _ in range(2):
        yield case(3, 2, (1 << (12 + draw.below(5))) + draw.below(5) - 1, 2, draw.log_uniform(1, 24))
    yield case(2, 3, 9_000 + draw.below(2_000), 3, 20_000 + draw.below(7_000))
    yield case(2, 1_500 - draw.below(400), 40, MAX_VISITS, draw.log_uniform(1, 300), "skewed")
