"""What any suite draws: seeds, distributions, and sizes, those that kernels stumble over more often than others.

A suite draws a line of text, a seed, a distribution and sizes, from which a case builds its arrays: so an example is
small whatever its arrays weigh, is drawn at once, shrinks in few steps and replays anywhere.
"""

from __future__ import annotations

from typing import Final

from hypothesis import strategies as st

from pytest_lance_ar.targets.common.inputs import DISTRIBUTIONS, EXTREMES

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
edges = st.sampled_from(EDGES)
ks = st.one_of(st.integers(1, 16), st.integers(1, 600))


def counts(most: int) -> st.SearchStrategy[int]:
    """Numbers of vectors, those around blocks more often than others."""
    return st.one_of(st.integers(0, most), st.sampled_from([n for n in AROUND_BLOCKS if n <= most]))
