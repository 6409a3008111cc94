"""What a trial draws from the whole domain that a kernel must serve.

dim 1 to 4,096, M 1 to 512, dsub 1 to 1,024, K 1 to 256, N 0 to 1,200,000, k 1 to N, at every scale. Sizes are drawn
log-uniformly, so that a trial meets small and large ones alike; powers of two and their neighbours, primes and the
shapes that people use come more often. All of it depends on the trial's seed, so that there is no list to learn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from pytest_lance_ar.targets.common.draw import Draw, dealt
from pytest_lance_ar.targets.common.inputs import DISTRIBUTIONS, EXTREMES, Stream
from pytest_lance_ar.targets.common.pq.cases import LAST, MAX_DIM, SCALABLE, SCALES, STRUCTURES, DrawnCase
from pytest_lance_ar.targets.common.pq.metric import Metric
from pytest_lance_ar.targets.common.pq.shape import MAX_CENTROIDS, PqShape

MAX_PARTS: Final = 512
MAX_DSUB: Final = 1024
MAX_N: Final = 1_200_000
IN_USE: Final = ((96, 12), (128, 16), (256, 16), (384, 48), (512, 64), (768, 96), (960, 120), (1009, 1), (1024, 16))
IN_USE_LARGE: Final = ((1024, 128), (1536, 192), (3072, 384), (2048, 256), (4096, 512))
"""(dim, M) of real embeddings, and a prime."""
Cell = tuple[int, int, int]
"""An octave of dsub, one of M, and a third of K's range: numbers from 0."""
CENTROIDS: Final = ((1, 7), (8, 63), (64, MAX_CENTROIDS))
CORNERS: Final = ((1, 2, 3, 4, 5, 6, 7), (8, 9, 15, 16, 17, 31, 32, 33, 63), (64, 65, 127, 128, 129, 255, 256, 256))
"""Sizes that K has in each of these, over and over; between them, it may be any."""
CELLS: Final[tuple[Cell, ...]] = tuple(
    (dsub, parts, centroids)
    for dsub in range(MAX_DSUB.bit_length())
    for parts in range(MAX_PARTS.bit_length())
    for centroids in range(len(CENTROIDS))
    if dsub + parts < MAX_DIM.bit_length()
)
TILES: Final = (8, 12, 16, 24, 32, 48, 48, 96)
"""Sub-vectors, or dimensions, that a kernel may take at a time; the tails are beside their multiples."""
FEW_LOOK_UPS: Final = 1 << 17
"""N x M of a case that is not one of the costly ends."""
MANY_LOOK_UPS: Final = (1 << 23, 17_500_000)
"""N x M of one case of each trial: beyond where a float32 counts, every second time."""
MOST_K: Final = 70_000
"""k of a trial's every kernel: one that keeps the nearest in a sorted array does N x k / 2 moves. Up to all 1,200,000
is asked of those whose answer to this many came at once."""
AT_ONCE: Final = 0.5
"""Seconds. Keeping 70,000 nearest in a sorted array takes longer."""
ODD: Final = ("equal", "edges", "repeated", "needle", "lists", "neighbours", "farthest", "ties", "midway")
LARGE_N_PLACES: Final = tuple(1 << power for power in range(15, 21))


class PqDraw(Draw):
    """Shapes and values as well."""

    def shape(self) -> PqShape:
        """Any shape, drawn axis by axis."""
        dsub = self.size(1, MAX_DSUB)
        parts = self.size(1, min(MAX_PARTS, MAX_DIM // dsub))
        return PqShape(parts * dsub, parts, self.size(1, MAX_CENTROIDS))

    def shape_in(self, cell: Cell, turns: Cell) -> PqShape:
        """A shape of a cell. The corners of each axis take turns with what is drawn: it is that many-th of its octave,
        or third."""
        dsub_power, parts_power, centroids = cell
        dsub = self.corner(1 << dsub_power, min((2 << dsub_power) - 1, MAX_DSUB, MAX_DIM >> parts_power), turns[0])
        parts = self.corner(1 << parts_power, min((2 << parts_power) - 1, MAX_PARTS, MAX_DIM // dsub), turns[1])
        low, high = CENTROIDS[centroids]
        corners = CORNERS[centroids]
        number = self.log_uniform(low, high) if self.chance(0.5) else corners[turns[2] % len(corners)]
        return PqShape(parts * dsub, parts, number)

    def corner(self, low: int, high: int, turn: int) -> int:
        """The first of an octave, the second, the last; as often any, two in three of them near a multiple of a tile's
        size."""
        corners = (low, min(low + 1, high), high)
        if turn % 6 < len(corners):
            return corners[turn % 6]
        value = self.log_uniform(low, high)
        if turn % 6 == len(corners):
            return value
        tile = TILES[self.below(len(TILES))]
        return min(max(round(value / tile) * tile + self.below(3) - 1, low), high)

    def values(self) -> tuple[str, int]:
        """A distribution and a scale."""
        if self.chance(0.55):
            distribution = self.one_of(SCALABLE)
            return distribution, SCALES[self.below(len(SCALES))]
        return self.one_of(DISTRIBUTIONS + EXTREMES), 0

    def structure(self) -> str:
        if self.chance(0.4):
            return "last" if self.chance(0.7) else "spread"
        return self.one_of(STRUCTURES) if self.chance(0.5) else "plain"


def cell_of(shape: PqShape) -> Cell:
    return (
        shape.sub_vector_dim.bit_length() - 1,
        shape.num_sub_vectors.bit_length() - 1,
        next(i for i, (_, high) in enumerate(CENTROIDS) if shape.num_centroids <= high),
    )


def shuffled_cells(seed: int) -> list[tuple[Cell, Cell]]:
    """All cells in the order of a trial, each with how many of its octave of dsub, its octave of M and its third of K
    came before it, all counted from a number of the trial's."""
    seen: Counter[tuple[int, int]] = Counter()
    cells = []
    for cell in dealt(CELLS, Stream(seed, "cells")):
        places = tuple(enumerate(cell))
        first, second, third = (seed + seen[place] for place in places)
        cells.append((cell, (first, second, third)))
        seen.update(places)
    return cells


def draws(metric: Metric, seed: int, part: int, count: int) -> Iterator[DrawnCase]:
    """Small examples from everywhere: what costs little whatever the shape. Five in six are in a cell of their own, so
    that no part of the domain waits long for its turn; the order of the cells is the trial's."""
    cells = shuffled_cells(seed)
    known = dealt(IN_USE + IN_USE_LARGE, Stream(seed, "in use"))
    for i in range(count):
        draw, turn = PqDraw(seed, part, i), part * count + i
        if i % 6 != 5:
            shape = draw.shape_in(*cells[turn % len(cells)])
        elif turn // 6 < len(known):
            dim, parts = known[turn // 6]
            shape = PqShape(dim, parts, (16, MAX_CENTROIDS)[draw.below(2)])
        else:
            shape = draw.shape()
        n = draw.size(1, min(3000, max(FEW_LOOK_UPS // shape.num_sub_vectors, 64)))
        distribution, scale = draw.values()
        yield DrawnCase(
            metric,
            shape,
            distribution,
            seed + i,
            n,
            draw.k(n),
            draw.structure(),
            code_sets=2 if draw.chance(0.2) else 1,
            scale=scale,
            queries=2,
        )


def ends(metric: Metric, seed: int) -> Iterator[DrawnCase]:
    """The ends of every axis of the shape, of which each trial has all; the other sizes are small there."""
    draw = PqDraw(seed, "ends")

    def case(parts: int, dsub: int, centroids: int, n: int) -> DrawnCase:
        distribution, scale = draw.values()
        shape = PqShape(parts * dsub, parts, centroids)
        structure = "last" if draw.chance(0.6) else "plain"
        return DrawnCase(metric, shape, distribution, seed, n, draw.k(n), structure, scale=scale, queries=2)

    few, some = (draw.log_uniform(2, 40) for _ in range(2))
    yield case(4, MAX_DSUB, few, 30 + draw.below(100))  # dim and dsub
    yield case(1, MAX_DSUB, MAX_CENTROIDS, 300 + draw.below(100))
    yield case(MAX_PARTS, 8, some, 60 + draw.below(100))  # dim and M
    yield case(MAX_PARTS, 1 + draw.below(2), MAX_CENTROIDS, 200 + draw.below(200))
    yield case(1 + draw.below(3), MAX_DSUB - draw.below(512), draw.size(1, 64), draw.size(1, 200))
    parts = MAX_PARTS - draw.below(256)
    yield case(parts, draw.size(1, MAX_DIM // parts), draw.size(1, 32), draw.size(1, 200))
    parts = draw.log_uniform(3, 400)
    yield case(parts, MAX_DIM // parts, draw.size(1, 24), draw.size(1, 200))
    yield case(draw.log_uniform(1, 48), draw.log_uniform(1, 24), MAX_CENTROIDS - draw.below(2), draw.size(1, 400))
    dim, parts = IN_USE_LARGE[draw.below(len(IN_USE_LARGE))]
    yield case(parts, dim // parts, (16, 64)[draw.below(2)], draw.size(1, 300))


def large_n(metric: Metric, seed: int) -> Iterator[DrawnCase]:
    """N around powers of two up to 2^20, the nearest vectors last; two of any size and one above 2^20, with near ones
    everywhere, so that none may be lost wherever it lies; many vectors of many sub-vectors; and a shape that people
    use, with as many vectors as they have in a partition."""
    draw = PqDraw(seed, "large N")

    def case(n: int, k: int, parts: int, structure: str, dim: int = 0) -> DrawnCase:
        centroids = (16, MAX_CENTROIDS)[draw.below(2)] if draw.chance(0.4) else draw.size(24, MAX_CENTROIDS)
        shape = PqShape(dim, parts, MAX_CENTROIDS) if dim else PqShape(parts * (1 + draw.below(2)), parts, centroids)
        distribution = ("gaussian", "uniform")[draw.below(2)]
        scale = SCALES[draw.below(len(SCALES))] if draw.chance(0.4) else 2 + draw.below(SCALES[-1] - 1)
        if draw.chance(0.25):
            distribution, scale = draw.values()
        return DrawnCase(metric, shape, distribution, seed, n, k, structure, scale=scale, queries=1)

    places = [LARGE_N_PLACES[draw.below(6)], LARGE_N_PLACES[draw.below(4)], LARGE_N_PLACES[draw.below(3)]]
    for place in places:
        structure = "last" if draw.chance(0.75) else "plain"
        yield case(place + draw.below(3) - 1, draw.log_uniform(1, 4 * LAST), 3 + draw.below(2), structure)
    n = draw.log_uniform(5_000, 1 << 20)
    yield case(n, draw.log_uniform(LAST, n // 32), 3 + draw.below(6 if n < 1 << 18 else 1), "spread")
    yield case(MAX_N - draw.below(MAX_N - (1 << 20)), draw.log_uniform(4_500, 6_500), 3, "spread")
    usual = [(dim, parts) for dim, parts in IN_USE if parts > 1]
    for (least, most), (low, high) in (((1 << 18, 1 << 20), (5, 48)), (MANY_LOOK_UPS, (24, MAX_PARTS))):
        look_ups = most - draw.below(most // 25) if draw.chance(0.7) else draw.log_uniform(least, most)
        parts = draw.log_uniform(low, high)
        if draw.chance(0.5):
            parts = usual[draw.below(len(usual))][1] if most <= 1 << 20 else parts - 1 + parts % 2
        n = look_ups // parts
        structure = "last" if draw.chance(0.5) else "spread"
        yield case(n, draw.log_uniform(1, 4 * LAST if structure == "last" else max(n // 64, LAST)), parts, structure)
    dim, parts = usual[draw.below(len(usual))]
    structure = ("last", "spread", "plain")[draw.below(3)]
    yield case(draw.log_uniform(8_000, 40_000), draw.log_uniform(1, 100), parts, structure, dim)


def large_k(metric: Metric, seed: int) -> tuple[DrawnCase, DrawnCase]:
    """A k above 2^16, and one of any size up to 1,200,000 for those that answer the first at once; one of them is N."""
    draw = PqDraw(seed, "large k")
    shape = PqShape(2, 2, 256)

    def case(n: int, k: int) -> DrawnCase:
        return DrawnCase(metric, shape, "gaussian", seed, n, k, queries=1)

    k = MOST_K - draw.below(MOST_K - (1 << 16))
    most = MAX_N if draw.chance(0.25) else draw.log_uniform(MOST_K, MAX_N)
    more = max(draw.below(4) - 1, 0)
    return case(k + more, k), case(most, most if more else most - draw.below(most // 2))


def blocks(metric: Metric, seed: int, count: int) -> Iterator[DrawnCase]:
    """N around multiples of sizes that a kernel may work in, the nearest vectors last."""
    for i in range(count):
        draw = PqDraw(seed, "blocks", i)
        block = draw.log_uniform(3, 6000) if draw.chance(0.4) else 1 << (3 + draw.below(10))
        n = max(block * draw.log_uniform(1, 12) + draw.below(3) - 1, 1)
        parts = 1 + draw.below(16 if n < 8_000 else 4)
        shape = PqShape(2 * parts, parts, draw.size(16, MAX_CENTROIDS))
        k = draw.log_uniform(1, LAST) if draw.chance(0.6) else draw.log_uniform(LAST, 300)
        yield DrawnCase(metric, shape, "gaussian", seed + i, n, k, "last", queries=1)
