"""No vector that is among the nearest may be missing from a list, whatever the values are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_lance_ar.targets.common.inputs import DISTRIBUTIONS, EXTREMES, Stream, vectors
from pytest_lance_ar.targets.common.pq import quantizer, reference, shortlist
from pytest_lance_ar.targets.common.pq.metric import Metric
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.pq_dot.metric import DOT
from pytest_lance_ar.targets.pq_l2.metric import L2


@settings(max_examples=150)
@given(
    metric=st.sampled_from([L2, DOT]),
    distribution=st.sampled_from([*DISTRIBUTIONS, *EXTREMES]),
    parts=st.integers(1, 9),
    dsub=st.integers(1, 9),
    centroids=st.integers(1, 40),
    count=st.integers(1, 300),
    n=st.integers(1, 300),
    scale=st.integers(-12, 12),
    seed=st.integers(0, 2**32),
)
def test_all_that_can_be_among_the_nearest_are_listed(
    metric: Metric,
    distribution: str,
    parts: int,
    dsub: int,
    centroids: int,
    count: int,
    n: int,
    scale: int,
    seed: int,
) -> None:
    n = min(n, count)
    shape = PqShape(parts * dsub, parts, centroids)
    with np.errstate(over="ignore", invalid="ignore"):
        factor = np.float32(10.0**scale)
        drawn = vectors(distribution, centroids, shape.dim, seed=seed, role="base") * factor
        queries = vectors(distribution, 3, shape.dim, seed=seed, role="query") * factor
        codebook = quantizer.sampled_codebook(drawn, shape, Stream(seed, "codebook"))
        codes = Stream(seed, "codes").below(centroids, count * parts).astype(np.uint8).reshape(count, parts)
        for query, listed in zip(queries, shortlist.shortlists(metric, codebook, codes, queries, n), strict=True):
            distances = reference.distances(reference.distance_table(metric, query, codebook), codes)
            wanted = np.flatnonzero(~(distances > np.partition(distances, n - 1)[n - 1]))
            assert np.isin(wanted, listed).all()


@pytest.mark.parametrize("metric", [L2, DOT], ids=str)
def test_lists_are_short(metric: Metric) -> None:
    """On the data of a duel about as many are summed up as are wanted."""
    shape = PqShape(128, 16, 256)
    drawn = vectors("clustered", 4000, shape.dim, seed=3, role="base")
    codebook = quantizer.sampled_codebook(drawn, shape, Stream(3, "codebook"))
    codes = quantizer.encode(drawn, codebook)
    queries = vectors("clustered", 20, shape.dim, seed=3, role="query")
    lengths = [len(one) for one in shortlist.shortlists(metric, codebook, codes, queries, 10)]
    assert min(lengths) >= 10
    assert np.mean(lengths) < 40


def test_many_queries_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    codebook = rng.standard_normal((2, 8, 3)).astype(np.float32)
    codes = rng.integers(0, 8, (50, 2)).astype(np.uint8)
    queries = rng.standard_normal((7, 6)).astype(np.float32)
    at_once = [one.tolist() for one in shortlist.shortlists(L2, codebook, codes, queries, 5)]
    monkeypatch.setattr(shortlist, "_SCORES", 120)
    monkeypatch.setattr(shortlist, "_CHUNK", 100)
    assert [one.tolist() for one in shortlist.shortlists(L2, codebook, codes, queries, 5)] == at_once
