"""The family of guard workloads: what is in every draw, and that a workload is what its name and its spec say."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pytest_lance_ar.targets.common import inputs
from pytest_lance_ar.targets.common.pq import guards, reference
from pytest_lance_ar.targets.common.pq.guards import COUNT, GuardWorkload, family, parse
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.pq_l2.metric import L2
from pytest_lance_ar.targets.pq_l2.target import TARGET

SEEDS = range(100)
DRAWS = [family(L2, seed) for seed in SEEDS]
SMALL = GuardWorkload(L2, PqShape(12, 3, 8), "gaussian", seed=5, n=50, k=4)


def test_a_draw_is_its_seed() -> None:
    assert family(L2, 3) == DRAWS[3]
    assert family(L2, 3) != family(L2, 4)
    seeds = {workload.seed for draw in DRAWS for workload in draw}
    assert len(seeds) == COUNT * len(DRAWS), "no two workloads have the same data"
    assert TARGET.guards(3) == DRAWS[3]


def test_every_draw_stays_within_the_bounds() -> None:
    for workload in (workload for draw in DRAWS for workload in draw):
        shape = workload.shape
        assert 32 <= shape.dim <= 2048
        assert 1 <= shape.sub_vector_dim <= 64
        assert 1 <= shape.num_sub_vectors <= 512
        assert 16 <= shape.num_centroids <= 256
        assert 200 <= workload.n <= 200_000
        assert workload.n * shape.num_sub_vectors < 1.05 * guards.MAX_LOOK_UPS


@pytest.mark.parametrize("seed", SEEDS)
def test_every_draw_has_the_corners(seed: int) -> None:
    draw = DRAWS[seed]
    assert len(draw) == COUNT == 14
    assert any(400 <= workload.n <= 600 for workload in draw)
    assert any(workload.k == 1000 and workload.n >= 5000 for workload in draw)
    assert sum(workload.distribution == "clustered" and workload.queries == "foreign" for workload in draw) >= 2
    assert any(workload.shape.dim > 1000 for workload in draw)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_draw_has_something_of_every_kind(seed: int) -> None:
    draw = DRAWS[seed]
    assert set(Counter(workload.k for workload in draw)) == {1, 10, 100, 1000}
    assert min(Counter(workload.queries for workload in draw).values()) >= 4
    assert {workload.distribution for workload in draw} == {
        *("gaussian", "uniform", "sparse", "large_dynamic_range", "mostly_zero", "clustered"),
        *("student_t2", "student_t3"),
    }
    assert sum(workload.code_sets == 2 for workload in draw) == 3
    assert sum(workload.n < 1000 for workload in draw) >= 3
    assert sum(workload.n > 50_000 for workload in draw) >= 2
    assert sum(workload.k > 100 for workload in draw) >= 3
    assert sum(workload.shape.num_centroids < 256 for workload in draw) >= 6


def test_sizes_are_log_uniform() -> None:
    places = [math.log(workload.n / 200) / math.log(1000) for draw in DRAWS for workload in draw]
    shares = np.histogram(places, bins=5, range=(0, 1))[0] / len(places)
    np.testing.assert_allclose(shares, 0.2, atol=0.03)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_spec_is_read_back(seed: int) -> None:
    for workload in DRAWS[seed]:
        assert parse(L2, workload.spec) == workload == TARGET.parse_guard(workload.spec)


def test_a_workload_in_words() -> None:
    assert SMALL.name == "(12,3,8), gaussian, N 50, k 4"
    other = replace(SMALL, queries="foreign", code_sets=2)
    assert other.name == "(12,3,8), gaussian, N 50, k 4, foreign queries, 2 code sets"
    assert other.spec == "shape=12,3,8 distribution=gaussian seed=5 n=50 k=4 queries=foreign code_sets=2"


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "nonsense",
        "shape=12,3,8",
        "shape=12,5,8 distribution=gaussian seed=5 n=50 k=4",
        "shape=12,3,8 distribution=nothing seed=5 n=50 k=4",
        "shape=12,3,8 distribution=gaussian seed=5 n=0 k=4",
        "shape=12,3,8 distribution=gaussian seed=5 n=50 k=0",
        "shape=12,3,8 distribution=gaussian seed=5 n=50 k=4 queries=mine",
        "shape=12,3,8 distribution=gaussian seed=5 n=50 k=4 code_sets=3",
        "shape=12,3,8 distribution=gaussian seed=x n=50 k=4",
        "shape=12,3,8 distribution=gaussian seed=5 n=50 k=4 more=1",
    ],
)
def test_what_is_no_spec_is_refused_with_one_that_is(spec: str) -> None:
    with pytest.raises(ValueError, match=r"not a workload: .*one reads like 'shape=128,16,256") as error:
        parse(L2, spec)
    parse(L2, str(error.value).split("'")[-2])


def answers(workload: GuardWorkload, instance: Any, pack: Any, call: int) -> list[Mapping[str, NDArray[Any]]]:
    """What the reference answers to each query of a call."""
    queries = pack.calls[call]["query"].reshape(-1, workload.shape.dim)
    given: list[Mapping[str, NDArray[Any]]] = []
    for query in queries:
        table = reference.distance_table(L2, query, instance.arrays["codebook"])
        ids, distances = reference.top_k(reference.distances(table, pack.arrays["codes"]), workload.k)
        given.append({"table": table, "ids": ids, "distances": distances})
    return given


@pytest.mark.parametrize("distribution", sorted(set(guards.DATA)))
@pytest.mark.parametrize("queries", ["own", "foreign", "stored"])
def test_an_instance_is_what_its_workload_says(distribution: str, queries: str) -> None:
    workload = replace(SMALL, distribution=distribution, queries=queries, code_sets=2)
    instance = workload.instance(9)
    assert instance.params == {"shape": (12, 3, 8)}
    assert instance.arrays["codebook"].shape == (3, 8, 4)
    first, second = instance.packs
    assert first.arrays["codes"].shape == (50, 3)
    assert (first.arrays["codes"] != second.arrays["codes"]).any()
    asked = np.concatenate([call["query"] for pack in instance.packs for call in pack.calls])
    assert asked.dtype == np.float32
    if distribution not in ("sparse", "mostly_zero"):  # a few zeros are what others have as well
        assert len(np.unique(asked, axis=0)) == 2 * 9 * workload.batch, "every timed query is another one"
    for pack in instance.packs:
        assert pack.params == {"k": 4}
        assert len(pack.calls) == 9
        assert pack.repeats == workload.batch == 16
        given = answers(workload, instance, pack, 3)
        together = {name: np.stack([one[name] for one in given]) for name in given[0]}
        assert {name: (str(array.dtype), array.shape) for name, array in together.items()} == dict(pack.outputs)
        assert pack.check(3, together, 0.0) is None
        wrong = together["distances"].copy()
        wrong[-1, -1] += 1 + wrong[-1, -1]
        assert pack.check(3, {**together, "distances": wrong}, 0.0) is not None, "the last query of a call is looked at"


def test_a_call_that_takes_long_is_one_query() -> None:
    workload = replace(SMALL, shape=PqShape(64, 16, 64), n=20_000, k=5)
    instance = workload.instance(2)
    (pack,) = instance.packs
    assert (workload.batch, pack.repeats) == (1, 0)
    assert pack.calls[1]["query"].shape == (64,)
    (given,) = answers(workload, instance, pack, 1)
    assert pack.check(1, given, 0.0) is None


def test_stored_queries_are_stored_vectors() -> None:
    workload = GuardWorkload(L2, PqShape(64, 4, 256), "gaussian", seed=2, n=2000, k=1, queries="stored")
    instance = workload.instance(5)
    (pack,) = instance.packs
    for call in range(5):
        for given in answers(workload, instance, pack, call):
            far = reference.distances(given["table"], pack.arrays["codes"])
            assert given["distances"][0] < 0.5 * np.median(far)


def test_foreign_queries_on_clusters_are_from_elsewhere() -> None:
    workload = GuardWorkload(L2, PqShape(64, 4, 64), "clustered", seed=2, n=2000, k=1)
    nearest = {}
    for queries in ("own", "foreign"):
        instance = replace(workload, queries=queries).instance(4)
        (pack,) = instance.packs
        found = [given["distances"][0] for call in range(4) for given in answers(workload, instance, pack, call)]
        nearest[queries] = np.median(found)
    assert nearest["foreign"] > 10 * nearest["own"]


def test_stored_clusters_are_as_tight_as_clusters_are() -> None:
    """The sub-vectors of one stored vector come from one cluster: most vectors have hundreds near them."""
    workload = GuardWorkload(L2, PqShape(64, 8, 64), "clustered", seed=2, n=3200, k=1)
    instance = workload.instance(4)
    (pack,) = instance.packs
    (given, *_) = answers(workload, instance, pack, 0)
    distances = np.sort(reference.distances(given["table"], pack.arrays["codes"]))
    assert distances[40] < 0.1 * np.median(distances)
    assert distances[300] > 0.3 * np.median(distances)


def test_stored_vectors_are_no_copies_of_each_other() -> None:
    (pack,) = GuardWorkload(L2, PqShape(64, 16, 64), "uniform", seed=2, n=30_000, k=1).instance(1).packs
    assert len(np.unique(pack.arrays["codes"], axis=0)) > 29_900


def test_heavy_tails_are_heavy_and_the_others_are_those_of_the_battery() -> None:
    tails = np.abs(inputs.vectors("student_t2", 1000, 16, seed=1, role="base"))
    assert np.median(tails) == pytest.approx(0.816, rel=0.05)
    assert tails.max() > 30
    lighter = np.abs(inputs.vectors("student_t3", 1000, 16, seed=1, role="base"))
    assert np.median(lighter) == pytest.approx(0.765, rel=0.05)
    plain = inputs.vectors("sparse", 5, 16, seed=1, role="base")
    np.testing.assert_array_equal(plain, inputs.vectors("sparse", 5, 16, seed=1, role="base"))
