"""What is the target's own: its terms, its positions, its nearly tied queries, and answers of either sign."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pytest_lance_ar.targets import pq_dot
from pytest_lance_ar.targets.common import inputs
from pytest_lance_ar.targets.common.inputs import Float32
from pytest_lance_ar.targets.common.pq import reference
from pytest_lance_ar.targets.common.pq.cases import DrawnCase
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.pq_dot.metric import DOT, POSITIONS, midway, posed
from pytest_lance_ar.targets.pq_dot.target import TARGET
from pytest_lance_ar.targets.registry import target_of
from tests import kernels

SHAPE = PqShape(45, 5, 7)


def arrays(seed: int) -> tuple[Float32, Float32, NDArray[np.uint8]]:
    """A query, a codebook and codes of every magnitude."""
    rng = np.random.default_rng(seed)
    parts, centroids, dsub = SHAPE.num_sub_vectors, SHAPE.num_centroids, SHAPE.sub_vector_dim
    query, codebook = (
        (rng.standard_normal(size) * 10.0 ** rng.integers(-9, 9, size)).astype(np.float32)
        for size in ((SHAPE.dim,), (parts, centroids, dsub))
    )
    return query, codebook, rng.integers(0, centroids, (30, parts)).astype(np.uint8)


@pytest.mark.parametrize("seed", range(3))
def test_the_reference_is_the_scalar_loop(seed: int) -> None:
    query, codebook, codes = arrays(seed)
    table = np.empty(codebook.shape[:2], np.float32)
    for m, k in np.ndindex(*table.shape):
        total = np.float32(0)
        for d in range(codebook.shape[2]):
            total = np.float32(total - np.float32(query[m * codebook.shape[2] + d] * codebook[m, k, d]))
        table[m, k] = total
    distances = np.zeros(len(codes), np.float32)
    for n, code in enumerate(codes):
        for m, k in enumerate(code):
            distances[n] = np.float32(distances[n] + table[m, k])
    searcher = reference.Searcher(DOT, codebook, codes)
    for ours in (reference.distance_table(DOT, query, codebook), searcher.distance_table(query)):
        assert ours.tobytes() == table.tobytes()
    for ours in (reference.distances(table, codes), searcher.distances(table)):
        assert ours.tobytes() == distances.tobytes()
    assert (distances < 0).any()
    assert (distances > 0).any()


def test_a_table_has_no_negative_zero() -> None:
    table = reference.distance_table(DOT, np.zeros(4, np.float32), np.ones((2, 3, 2), np.float32))
    assert not np.signbit(table).any()


def distances(seed: int, distribution: str = "gaussian") -> list[Float32]:
    """The distances of a drawn case's vectors to each of its queries but the second, which is one of the vectors."""
    instance = DrawnCase(DOT, PqShape(24, 6, 32), distribution, seed, n=200, k=10, queries=3).instance()
    codebook, codes = np.asarray(instance.arrays["codebook"]), np.asarray(instance.packs[0].arrays["codes"])
    searcher = reference.Searcher(DOT, codebook, codes)
    queries = [np.asarray(instance.packs[0].calls[i]["query"]) for i in (0, 2)]
    return [searcher.distances(searcher.distance_table(query)) for query in queries]


@pytest.mark.parametrize("first", [0, 4])
def test_a_seed_chooses_the_signs_of_all_distances(first: int) -> None:
    as_drawn, alike, opposed, _ = (distances(first + place) for place in range(len(POSITIONS)))
    assert all((one < 0).any() and (one > 0).any() for one in as_drawn)
    assert all((one < 0).all() for one in alike)
    assert all((one > 0).all() for one in opposed)


def test_turning_sums_climb_above_every_distance() -> None:
    seed = POSITIONS.index("turning")
    query, stored = (
        posed(inputs.vectors("gaussian", 1, 24, seed=1, role=role), 6, seed, role) for role in ("query", "")
    )
    entries = -(query * stored).reshape(6, 4).sum(axis=1)
    assert (entries[:3] > 0).all()
    assert (entries[3:] < 0).all()


def test_a_rival_and_its_queries_are_posed_alike() -> None:
    drawn = inputs.vectors("gaussian", 5, 24, seed=1, role="x")
    opposed = POSITIONS.index("opposed")
    assert (posed(drawn.copy(), 6, opposed, "rival codebook") >= 0).all()
    assert (posed(drawn.copy(), 6, opposed, "query rival 0") <= 0).all()


@pytest.mark.parametrize("distribution", ["gaussian", "huge", "tiny", "integers"])
def test_midway_two_vectors_nearly_tie(distribution: str) -> None:
    u, v = (inputs.vectors(distribution, 20, 12, seed=seed, role="base") for seed in (1, 2))
    side = np.where(np.arange(20) % 2, 1, -1).astype(np.float32)[:, np.newaxis]
    query = midway(u, v, side).astype(np.float64)
    assert np.isfinite(query).all()
    gap = (query * (v.astype(np.float64) - u)).sum(axis=1)
    assert (np.sign(gap) == side[:, 0]).all()
    assert (np.abs(gap) <= 2.0**-8 * ((v.astype(np.float64) - u) ** 2).sum(axis=1)).all()


def test_midway_two_equal_vectors_is_one_of_them() -> None:
    u = np.ones((1, 3), np.float32)
    assert midway(u, u, np.ones((1, 1), np.float32)).tolist() == u.tolist()


def test_the_class_of_a_kernel_chooses_the_target() -> None:
    assert target_of(kernels.DOT_BASELINE.encode()) is TARGET
    assert pq_dot.TARGET is TARGET
    assert TARGET.suite.parent == Path(pq_dot.__file__).parent
    assert TARGET.driver == "pytest_lance_ar.targets.pq_dot.driver"


def test_cases_and_guards_are_of_this_metric() -> None:
    case = TARGET.parse_case("shape=12,3,10 distribution=gaussian seed=7 n=40 k=10")
    assert isinstance(case, DrawnCase)
    assert case.metric is DOT
    literal = TARGET.parse_case('{"codebook":[[[2.0]]],"codes":[[0]],"queries":[[3.0]],"k":1}')
    (pack,) = literal.instance().packs
    answer: dict[str, NDArray[Any]] = {
        "table": np.array([[-6.0]], np.float32),
        "ids": np.array([0], np.int64),
        "distances": np.array([-6.0], np.float32),
    }
    assert pack.check(0, answer, 0.0) is None
    assert pack.check(0, {**answer, "table": -answer["table"]}, 0.0) is not None
    assert [guard.spec for guard in TARGET.guards(3)] == [TARGET.parse_guard(g.spec).spec for g in TARGET.guards(3)]
    (timed,) = TARGET.workload(TARGET.combos[1], 2, 5).packs
    assert (np.abs(np.linalg.norm(timed.calls[0]["query"]) - 1) < 1e-6).all()
    assert TARGET.floor_ns(TARGET.combos[0]) == 2 * 256 * 128 / 256
