"""A case is rebuilt from its text, makes the same inputs each time, and judges answers by the reference."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pytest_lance_ar.targets.common import inputs
from pytest_lance_ar.targets.common.inputs import DISTRIBUTIONS, EXTREMES
from pytest_lance_ar.targets.common.pq import cases, quantizer, reference, strategies
from pytest_lance_ar.targets.common.pq.answers import instance_of
from pytest_lance_ar.targets.common.pq.cases import (
    BATTERY_VECTORS,
    QUERIES_PER_CASE,
    STRUCTURES,
    DrawnCase,
    LiteralCase,
    fixture,
)
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.common.pq.specs import parse
from pytest_lance_ar.targets.pq_l2.metric import L2
from pytest_lance_ar.targets.protocol import Instance

Array = NDArray[Any]

SMALL = PqShape(12, 3, 10)
CASES_DIGEST = "c835e113bbc660a15b6b9240ff6c3ecea3e5299b9057f54088dc42f5ec7acd49"
FIXTURE_DIGEST = "dff55dc35ae5c7f6b351884ae3a93abd3a1a7815fc1bc79de40ef07aae336ad7"
LITERAL = LiteralCase(
    L2,
    codebook=(((0.0,), (1.0,), (3.0,)), ((0.0,), (2.0,), (2.0,))),
    codes=((2, 0), (0, 0), (1, 1), (1, 2)),
    queries=((0.0, 0.0), (1.0, 2.0)),
    k=3,
)


@st.composite
def shapes(draw: st.DrawFn) -> PqShape:
    dsub, parts = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    return PqShape(dsub * parts, parts, draw(st.integers(1, 256)))


drawn_cases = st.builds(
    DrawnCase,
    metric=st.just(L2),
    shape=shapes(),
    distribution=st.sampled_from(DISTRIBUTIONS),
    seed=st.integers(0, 2**64),
    n=st.integers(0, 40),
    k=st.integers(1, 50),
    structure=st.sampled_from(STRUCTURES),
    fixture=st.none() | st.integers(0, 2**64),
    code_sets=st.integers(1, 3),
    queries=st.integers(1, 4),
)
numbers = st.one_of(st.integers(-3, 3).map(float), st.floats(width=32, allow_nan=False, allow_infinity=False))
# Sums of squares must stay finite where answers are compared.
moderate = st.one_of(st.integers(-3, 3).map(float), st.floats(-100, 100, width=32))


@st.composite
def literal_cases(draw: st.DrawFn, values: st.SearchStrategy[float] = numbers) -> LiteralCase:
    parts, centroids, dsub = draw(st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 3)))
    row = st.tuples(*[values] * dsub)
    query = st.tuples(*[values] * (parts * dsub))
    code = st.tuples(*[st.integers(0, centroids - 1)] * parts)
    return LiteralCase(
        L2,
        codebook=draw(st.tuples(*[st.tuples(*[row] * centroids)] * parts)),
        codes=tuple(draw(st.lists(code, max_size=6))),
        queries=tuple(draw(st.lists(query, min_size=1, max_size=3))),
        k=draw(st.integers(1, 9)),
    )


def all_bytes(instance: Instance) -> list[Any]:
    """All that a kernel gets to see."""

    def seen(arrays: Any) -> dict[str, Any]:
        return {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in arrays.items()}

    packs = [(dict(p.params), seen(p.arrays), [seen(c) for c in p.calls], dict(p.outputs)) for p in instance.packs]
    return [dict(instance.params), seen(instance.arrays), packs]


def right_answer(instance: Instance, pack: int, call: int) -> dict[str, Array]:
    """The reference's answer, computed from what the kernel gets."""
    served = instance.packs[pack]
    table = reference.distance_table(L2, served.calls[call]["query"], instance.arrays["codebook"])
    distances = reference.distances(table, served.arrays["codes"])
    ids, nearest = reference.top_k(distances, served.params["k"])
    return {"table": table.copy(), "ids": ids, "distances": nearest}


def codes_of(structure: str, shape: PqShape = SMALL, n: int = 60, seed: int = 4) -> Array:
    return DrawnCase(L2, shape, "gaussian", seed, n, 10, structure).instance().packs[0].arrays["codes"]


# What a case is: its text.


@given(case=drawn_cases)
def test_a_drawn_case_comes_back_from_its_text(case: DrawnCase) -> None:
    assert parse(L2, case.spec) == case
    assert "\n" not in case.spec


@settings(max_examples=50)
@given(case=literal_cases())
def test_a_literal_case_comes_back_from_its_text(case: LiteralCase) -> None:
    again = parse(L2, case.spec)
    assert again == case
    assert repr(again) == repr(case)  # -0.0 equals 0.0, and is not the same
    assert "\n" not in case.spec


def test_the_text_of_a_case() -> None:
    plain = DrawnCase(L2, PqShape(128, 16, 256), "gaussian", seed=7, n=40, k=10)
    assert plain.spec == "shape=128,16,256 distribution=gaussian seed=7 n=40 k=10"
    full = DrawnCase(L2, PqShape(6, 3, 2), "sparse", 1, 2, 3, structure="ties", fixture=0, code_sets=2)
    assert full.spec == "shape=6,3,2 distribution=sparse seed=1 n=2 k=3 structure=ties fixture=0 code_sets=2"
    assert json.loads(LITERAL.spec) == {
        "codebook": [[[0.0], [1.0], [3.0]], [[0.0], [2.0], [2.0]]],
        "codes": [[2, 0], [0, 0], [1, 1], [1, 2]],
        "queries": [[0.0, 0.0], [1.0, 2.0]],
        "k": 3,
    }


def test_a_case_in_words() -> None:
    plain = DrawnCase(L2, PqShape(128, 16, 256), "gaussian", seed=7, n=40, k=10)
    assert plain.where == "shape (128,16,256), gaussian, seed 7, N 40, k 10"
    full = DrawnCase(L2, PqShape(6, 3, 2), "sparse", 1, 2, 3, structure="ties", fixture=0, code_sets=2)
    assert full.where == "shape (6,3,2), sparse, seed 1, N 2, k 3, ties codes, fixture 0, 2 code sets"
    assert LITERAL.where.startswith("shape (2,2,3), drawn arrays, no seed, N 4, k 3, codebook [[[0.0], [1.0], ")
    assert LITERAL.where.endswith("codes [[2, 0], [0, 0], [1, 1], [1, 2]], queries [[0.0, 0.0], [1.0, 2.0]]")


def test_spaces_and_order_do_not_matter() -> None:
    text = "  k=10\tn=40 seed=7   distribution=gaussian shape=12,3,10 "
    assert parse(L2, text) == DrawnCase(L2, SMALL, "gaussian", 7, 40, 10)
    assert parse(L2, "\n " + LITERAL.spec + "\n") == LITERAL


GOOD = "shape=12,3,10 distribution=gaussian seed=7 n=40 k=10"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("", "'shape'"),
        ("nonsense", ""),
        ("distribution=gaussian seed=7 n=40 k=10", "'shape'"),
        (GOOD.replace("distribution=gaussian ", ""), "'distribution'"),
        (GOOD.replace(" k=10", ""), "'k'"),
        (GOOD.replace("gaussian", "gausian"), "unknown distribution 'gausian'"),
        (GOOD + " structure=odd", "unknown structure 'odd'"),
        (GOOD + " colour=red", "colour"),
        (GOOD + " fixture=", "invalid literal"),
        (GOOD.replace("seed=7", "seed=x"), "'x'"),
        (GOOD.replace("n=40", "n=4.5"), "'4.5'"),
        (GOOD.replace("n=40", "n=-1"), "n must be at least 0"),
        (GOOD.replace("k=10", "k=0"), "k, code_sets and queries at least 1"),
        (GOOD + " code_sets=0", "k, code_sets and queries at least 1"),
        (GOOD + " queries=0", "k, code_sets and queries at least 1"),
        (GOOD.replace("12,3,10", "12,5,10"), "must divide dim exactly"),
        (GOOD.replace("12,3,10", "12,3,257"), "at most 256"),
        (GOOD.replace("12,3,10", "12"), "num_sub_vectors"),
        (GOOD.replace("12,3,10", "12,3,10,1"), "arguments"),
        ("{", "property name"),
        ("{}", "'codebook'"),
        ('{"codebook": 1, "codes": [], "queries": [[0.0]], "k": 1}', "not iterable"),
        ('{"codebook": [[[0.0]]], "codes": [], "queries": [], "k": 1}', "index out of range"),
        ('{"codebook": [[[0.0], [0.0, 1.0]]], "codes": [], "queries": [[0.0]], "k": 1}', "inhomogeneous"),
        (
            '{"codebook": [[[0.0]], [[0.0]]], "codes": [[0, 0, 0]], "queries": [[0.0, 0.0]], "k": 1}',
            "must be 2 numbers",
        ),
        ('{"codebook": [[[0.0]], [[0.0]]], "codes": [], "queries": [[0.0, 0.0, 0.0]], "k": 1}', "must divide dim"),
        ('{"codebook": [[["a"]]], "codes": [], "queries": [[0.0]], "k": 1}', "'a'"),
    ],
)
def test_what_is_no_case_is_refused_with_an_example(spec: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"^not a case: ") as error:
        parse(L2, spec)
    named, _, example = str(error.value).partition("; a case reads like ")
    assert named.startswith(f"not a case: {spec!r} (")
    assert words in named.removeprefix(f"not a case: {spec!r}")
    assert example == "'shape=128,16,256 distribution=gaussian seed=7 n=40 k=10'"


def test_the_example_in_the_sentence_is_a_case() -> None:
    with pytest.raises(ValueError, match="reads like '") as error:
        parse(L2, "?")
    example = str(error.value).split("reads like '")[1].rstrip("'")
    assert parse(L2, example) == DrawnCase(L2, PqShape(128, 16, 256), "gaussian", 7, 40, 10)


@pytest.mark.parametrize(
    "change",
    [
        {"codes": [[300, 0]]},
        {"codes": [[-1, 0]]},
        {"codes": [[3, 0]]},
        {"codebook": [[[0.0, 1.0]], [[0.0, 1.0]]], "codes": []},
        {"k": 0},
        {"k": 1e400},
    ],
    ids=["code_above_a_byte", "code_below_0", "code_is_K", "dsub_is_not_dim_over_M", "k_is_0", "k_is_infinite"],
)
def test_a_literal_case_without_meaning_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^not a case: "):
        parse(L2, json.dumps({**json.loads(LITERAL.spec), **change}))


# What a case makes: inputs.


@settings(max_examples=10)
@given(case=drawn_cases.filter(lambda case: case.fixture is None))
def test_a_case_makes_the_same_inputs_each_time(case: DrawnCase) -> None:
    assert all_bytes(case.instance()) == all_bytes(parse(L2, case.spec).instance())


def test_a_fixture_is_the_same_when_made_anew() -> None:
    case = DrawnCase(L2, SMALL, "uniform", seed=3, n=50, k=5, fixture=8)
    first = all_bytes(case.instance())
    fixture.cache_clear()
    assert all_bytes(case.instance()) == first


@pytest.mark.parametrize(
    "other",
    [
        DrawnCase(L2, SMALL, "gaussian", 8, 40, 10),
        DrawnCase(L2, SMALL, "uniform", 7, 40, 10),
        DrawnCase(L2, SMALL, "gaussian", 7, 40, 10, structure="repeated"),
        DrawnCase(L2, SMALL, "gaussian", 7, 40, 10, fixture=0),
        DrawnCase(L2, SMALL, "gaussian", 7, 41, 10),
        DrawnCase(L2, SMALL, "gaussian", 7, 40, 11),
        DrawnCase(L2, SMALL, "gaussian", 7, 40, 10, code_sets=2),
    ],
    ids=["seed", "distribution", "structure", "fixture", "n", "k", "code_sets"],
)
def test_another_case_other_inputs(other: DrawnCase) -> None:
    assert all_bytes(other.instance()) != all_bytes(DrawnCase(L2, SMALL, "gaussian", 7, 40, 10).instance())


def test_another_fixture_another_codebook() -> None:
    first, second = (DrawnCase(L2, SMALL, "gaussian", 7, 40, 10, fixture=seed).instance() for seed in (0, 1))
    assert not np.array_equal(first.arrays["codebook"], second.arrays["codebook"])
    np.testing.assert_array_equal(first.packs[0].calls[0]["query"], second.packs[0].calls[0]["query"])


@settings(max_examples=15)
@given(case=drawn_cases.filter(lambda case: case.fixture is None))
def test_what_a_kernel_gets_is_as_the_contract_says(case: DrawnCase) -> None:
    instance = case.instance()
    shape = case.shape
    assert instance.params == {"shape": (shape.dim, shape.num_sub_vectors, shape.num_centroids)}
    codebook = instance.arrays["codebook"]
    assert codebook.dtype == np.float32
    assert codebook.shape == (shape.num_sub_vectors, shape.num_centroids, shape.sub_vector_dim)
    assert codebook.flags.c_contiguous
    sizes = [(case.n, case.k), (case.n // 2 + 1, case.k // 2 + 1), (case.n + 7, case.k + 3)][: case.code_sets]
    if case.code_sets == 2:  # the second is the first with a little changed
        sizes[1] = sizes[0]
    counts = [n for n, _ in sizes]
    assert [len(pack.arrays["codes"]) for pack in instance.packs] == counts
    assert [pack.params["k"] for pack in instance.packs] == [k for _, k in sizes]
    rivals = [rival.arrays["codebook"].shape for rival in instance.beside]
    assert rivals == [codebook.shape] * (case.code_sets > 1)
    for pack, count in zip(instance.packs, counts, strict=True):
        codes = pack.arrays["codes"]
        assert codes.dtype == np.uint8
        assert codes.shape == (count, shape.num_sub_vectors)
        assert codes.flags.c_contiguous
        assert (codes < shape.num_centroids).all()
        assert pack.params.keys() == {"k"}
        assert len(pack.calls) == case.queries
        for call in pack.calls:
            assert call["query"].dtype == np.float32
            assert call["query"].shape == (shape.dim,)
        n = min(pack.params["k"], count)
        assert pack.outputs == {
            "table": ("float32", (shape.num_sub_vectors, shape.num_centroids)),
            "ids": ("int64", (n,)),
            "distances": ("float32", (n,)),
        }
        assert pack.bulky == {"table"}


def test_code_sets_and_queries_all_differ() -> None:
    packs = DrawnCase(L2, SMALL, "gaussian", 7, 2, 10, code_sets=3).instance().packs
    assert len({pack.arrays["codes"].tobytes() for pack in packs}) == 3
    assert len({call["query"].tobytes() for pack in packs for call in pack.calls}) == 3 * QUERIES_PER_CASE


@pytest.mark.parametrize("seed", range(12))
def test_of_two_code_sets_the_second_is_nearly_the_first_and_has_another_answer(seed: int) -> None:
    instance = DrawnCase(L2, SMALL, "gaussian", seed, 60, 5, code_sets=2).instance()
    first, second = (pack.arrays["codes"] for pack in instance.packs)
    changed = np.not_equal(first, second)
    assert changed.any(axis=0).sum() == 1 or changed.any(axis=1).sum() <= 2
    query = instance.packs[0].calls[0]["query"]
    np.testing.assert_array_equal(query, instance.packs[1].calls[0]["query"])
    table = reference.distance_table(L2, query, instance.arrays["codebook"])
    ids, distances = reference.top_k(reference.distances(table, first), 5)
    other_ids, other_distances = reference.top_k(reference.distances(table, second), 5)
    assert (ids != other_ids).any() or (distances != other_distances).any()


@pytest.mark.parametrize(("n", "k"), [(1, 1), (300, 300), (5000, 40), (100_000, 700)])
def test_near_vectors_are_spread_over_all_blocks(n: int, k: int) -> None:
    case = DrawnCase(L2, PqShape(12, 6, 100), "gaussian", 4, n, k, "spread")
    instance = case.instance()
    table = reference.distance_table(L2, instance.packs[0].calls[0]["query"], instance.arrays["codebook"])
    ids, _ = reference.top_k(reference.distances(table, instance.packs[0].arrays["codes"]), k)
    blocks = np.searchsorted(np.arange(k + 1) * n // k, ids, side="right")
    assert len(set(blocks)) >= 0.9 * k
    assert n - 1 in ids


@pytest.mark.parametrize("count", [1, 2, 5, 6, 256])
def test_ties_come_from_centroids_that_are_there_twice(count: int) -> None:
    shape = PqShape(6, 2, count)
    tied, plain = (DrawnCase(L2, shape, "gaussian", 4, 9, 3, structure).instance() for structure in ("ties", "plain"))
    centroids = tied.arrays["codebook"]
    for k in range(count):
        np.testing.assert_array_equal(centroids[:, k], plain.arrays["codebook"][:, k - k % 2])
    assert len(np.unique(centroids[0], axis=0)) == -(-count // 2)
    np.testing.assert_array_equal(tied.packs[0].arrays["codes"], plain.packs[0].arrays["codes"])


def test_equal_codes_are_one_vector() -> None:
    assert len(np.unique(codes_of("equal"), axis=0)) == 1
    assert len({codes_of("equal", seed=seed)[0].tobytes() for seed in range(5)}) > 1


@pytest.mark.parametrize("count", [2, 10, 256])
def test_edge_codes_are_the_first_and_the_last(count: int) -> None:
    codes = codes_of("edges", PqShape(12, 3, count))
    assert set(np.unique(codes).tolist()) == {0, count - 1}
    assert len(np.unique(codes, axis=0)) > 2


def test_repeated_codes_are_three_vectors() -> None:
    codes = codes_of("repeated")
    _, counts = np.unique(codes, axis=0, return_counts=True)
    assert len(counts) == 3
    assert counts.min() > 1


@pytest.mark.parametrize("structure", ["plain", "ties"])
def test_other_codes_are_any(structure: str) -> None:
    codes = codes_of(structure)
    assert len(np.unique(codes, axis=0)) > 30
    assert set(np.unique(codes).tolist()) == set(range(SMALL.num_centroids))


def distances_of(structure: str, seed: int = 4) -> tuple[Array, Array]:
    """The reference distances of 60 vectors to the first query and to the second one."""
    instance = DrawnCase(L2, SMALL, "gaussian", seed, 60, 10, structure).instance()
    codes = instance.packs[0].arrays["codes"]
    first, second = (
        reference.distances(reference.distance_table(L2, call["query"], instance.arrays["codebook"]), codes)
        for call in instance.packs[0].calls[:2]
    )
    return first, second


def test_sorted_codes_are_sorted_by_distance_to_the_first_query() -> None:
    assert (np.diff(distances_of("ascending")[0]) >= 0).all()
    assert (np.diff(distances_of("descending")[0]) <= 0).all()
    assert np.diff(distances_of("ascending")[0]).any()


def test_a_needle_is_the_one_near_vector() -> None:
    _, counts = np.unique(codes_of("needle"), axis=0, return_counts=True)
    assert sorted(counts.tolist()) == [1, 59]
    first, _ = distances_of("needle")
    assert np.sort(first)[1] > first.min()
    assert len({int(distances_of("needle", seed)[0].argmin()) for seed in range(5)}) > 1


def test_neighbours_differ_in_one_sub_vector_at_most() -> None:
    codes = codes_of("neighbours")
    usual = np.array([np.bincount(column).argmax() for column in codes.T])
    assert (codes != usual).sum(axis=1).max() == 1


def test_lists_are_runs_of_vectors_alike() -> None:
    codes = codes_of("lists")
    alike = (codes[1:] == codes[:-1]).mean()
    assert alike > 2 * (codes_of("plain")[1:] == codes_of("plain")[:-1]).mean()


def test_farthest_codes_are_of_the_two_farthest_centroids() -> None:
    instance = DrawnCase(L2, SMALL, "gaussian", 4, 60, 10, "farthest").instance()
    table = reference.distance_table(L2, instance.packs[0].calls[0]["query"], instance.arrays["codebook"])
    for row, column in zip(table, instance.packs[0].arrays["codes"].T, strict=True):
        assert set(column.tolist()) == set(np.argsort(row)[-2:].tolist())


def test_midway_queries_nearly_tie_at_the_kth_place() -> None:
    case = DrawnCase(L2, PqShape(1, 1, 200), "gaussian", 4, 60, 3, "midway", queries=20)
    (pack,) = case.instance().packs
    codebook, codes = case.instance().arrays["codebook"], pack.arrays["codes"]
    gaps = []
    for call in pack.calls:
        nearest = np.sort(reference.distances(reference.distance_table(L2, call["query"], codebook), codes))
        gaps.append((nearest[3] - nearest[2]) / nearest[3])
    assert np.median(gaps) < 0.02
    assert max(gaps) > 0


@pytest.mark.parametrize("structure", [name for name in STRUCTURES if name not in ("plain", "midway")])
def test_the_second_query_is_a_stored_vector(structure: str) -> None:
    assert distances_of(structure)[1].min() == 0


def test_every_structure_is_tested_here() -> None:
    tested = {"plain", "ties", "equal", "edges", "repeated"}
    assert set(STRUCTURES) == tested | {
        "ascending",
        "descending",
        "lists",
        "neighbours",
        "needle",
        "farthest",
        "midway",
        "last",
        "spread",
        "low",
    }
    assert len({codes_of(structure).tobytes() for structure in STRUCTURES if structure not in ("ties", "midway")}) == 13


def test_a_seed_stands_for_these_very_cases() -> None:
    """Each structure and each kind of values, to the bit: another machine or numpy must not make other cases."""
    digest = hashlib.sha256()
    for structure, distribution in zip(STRUCTURES * 2, (DISTRIBUTIONS + EXTREMES) * 2, strict=False):
        case = DrawnCase(L2, SMALL, distribution, 7, 40, 10, structure, code_sets=2)
        digest.update(repr(all_bytes(case.instance())).encode())
        digest.update(strategies.small_case(L2, 7, 2, 3, 4, 5, 6).spec.encode())
    assert digest.hexdigest() == CASES_DIGEST


def test_a_seed_stands_for_these_very_fixtures() -> None:
    codebook, codes = fixture.__wrapped__(SMALL, "clustered", 5, 300)
    assert hashlib.sha256(codebook.astype("<f4").tobytes() + codes.tobytes()).hexdigest() == FIXTURE_DIGEST


def test_a_fixture_is_trained_and_its_codes_are_the_nearest_centroids() -> None:
    codebook, codes = fixture(SMALL, "sparse", 5)
    vectors = inputs.vectors("sparse", BATTERY_VECTORS, SMALL.dim, seed=5, role="base")
    assert codebook.shape == (3, 10, 4)
    np.testing.assert_array_equal(codes, quantizer.encode(vectors, codebook))
    start = np.unique(vectors.reshape(BATTERY_VECTORS, 3, 4)[:, 0], axis=0)
    assert not all((start == centroid).all(axis=1).any() for centroid in codebook[0])
    for array in (codebook, codes):
        assert not array.flags.writeable
        assert array.flags.c_contiguous


def test_a_fixture_of_more_vectors_is_trained_on_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "FIXTURE_VECTORS", 40)
    codebook, codes = fixture.__wrapped__(SMALL, "clustered", 5, 90)
    assert codes.shape == (90, 3)
    vectors = inputs.vectors("clustered", 90, SMALL.dim, seed=5, role="base")
    trained = quantizer.trained_codebook(
        np.ascontiguousarray(vectors[:40]), SMALL, inputs.Stream(5, "codebook", "clustered", 12, 3, 10)
    )
    np.testing.assert_array_equal(codebook, trained)
    np.testing.assert_array_equal(codes, quantizer.encode(vectors, codebook))


def test_a_case_picks_its_codes_from_the_fixture() -> None:
    instance = DrawnCase(L2, SMALL, "gaussian", 7, 500, 10, fixture=6).instance()
    codebook, pool = fixture(SMALL, "gaussian", 6)
    np.testing.assert_array_equal(instance.arrays["codebook"], codebook)
    assert {row.tobytes() for row in instance.packs[0].arrays["codes"]} <= {row.tobytes() for row in pool}
    assert len(np.unique(instance.packs[0].arrays["codes"], axis=0)) > 100


def test_a_literal_case_is_its_arrays() -> None:
    instance = LITERAL.instance()
    assert LITERAL.shape == PqShape(2, 2, 3)
    assert instance.params == {"shape": (2, 2, 3)}
    assert instance.arrays["codebook"].tolist() == [[[0], [1], [3]], [[0], [2], [2]]]
    (pack,) = instance.packs
    assert pack.params == {"k": 3}
    assert pack.arrays["codes"].tolist() == [[2, 0], [0, 0], [1, 1], [1, 2]]
    assert [call["query"].tolist() for call in pack.calls] == [[0, 0], [1, 2]]
    arrays = [instance.arrays["codebook"], pack.arrays["codes"], pack.calls[0]["query"]]
    assert [array.dtype for array in arrays] == [np.float32, np.uint8, np.float32]


# What an instance does: judge.


@settings(max_examples=15)
@given(case=drawn_cases.filter(lambda case: case.fixture is None))
def test_the_reference_answer_to_a_drawn_case_passes(case: DrawnCase) -> None:
    instance = case.instance()
    for p, pack in enumerate(instance.packs):
        for call in range(len(pack.calls)):
            assert pack.check(call, right_answer(instance, p, call), 0.0) is None


@given(case=literal_cases(moderate))
def test_the_reference_answer_to_a_literal_case_passes(case: LiteralCase) -> None:
    instance = case.instance()
    for call in range(len(case.queries)):
        assert instance.packs[0].check(call, right_answer(instance, 0, call), 0.0) is None


@pytest.mark.parametrize(("name", "what"), [("table", "distance_table"), ("distances", "probe_top_k distances")])
@pytest.mark.parametrize("fixture_seed", [None, 6])
def test_one_wrong_value_fails(name: str, what: str, fixture_seed: int | None) -> None:
    instance = DrawnCase(L2, SMALL, "uniform", 7, 40, 10, fixture=fixture_seed, code_sets=2).instance()
    for p, pack in enumerate(instance.packs):
        for call in range(QUERIES_PER_CASE):
            answer = right_answer(instance, p, call)
            answer[name].flat[-1] += np.float32(0.001)
            mismatch = pack.check(call, answer, 0.0)
            assert mismatch is not None
            assert mismatch.what == what
            assert mismatch.index == tuple(size - 1 for size in answer[name].shape)


def test_the_answer_of_another_call_or_code_set_fails() -> None:
    instance = DrawnCase(L2, SMALL, "gaussian", 7, 40, 10, code_sets=2).instance()
    first, second = instance.packs
    assert first.check(0, right_answer(instance, 0, 1), 0.0) is not None
    other = right_answer(instance, 1, 0)
    assert second.check(0, other, 0.0) is None
    assert first.check(0, other, 0.0) is not None
    # The same query on the other set: only the search tells them apart.
    table = right_answer(instance, 0, 0)["table"]
    mismatch = first.check(0, {**other, "table": table}, 0.0)
    assert mismatch is not None
    assert mismatch.what.startswith("probe_top_k")


def test_calls_are_checked_in_any_order() -> None:
    instance = DrawnCase(L2, SMALL, "gaussian", 7, 40, 10).instance()
    check = instance.packs[0].check
    answers = [right_answer(instance, 0, call) for call in range(QUERIES_PER_CASE)]
    for call in (2, 0, 0, 1, 2):
        assert check(call, answers[call], 0.0) is None
        assert check(call, answers[call - 1], 0.0) is not None


def test_a_known_answer() -> None:
    check = LITERAL.instance().packs[0].check
    table = np.array([[0, 1, 9], [0, 4, 4]], np.float32)
    answer: dict[str, Array] = {
        "table": table,
        "ids": np.array([1, 3, 2]),
        "distances": np.array([0, 5, 5], np.float32),
    }
    assert check(0, answer, 0.0) is None
    assert check(0, {**answer, "ids": np.array([1, 2, 3])}, 0.0) is None
    assert str(check(0, {**answer, "ids": np.array([1, 2, 0])}, 0.0)) == (
        "probe_top_k distances[2]: expected 9.0 (the reference distance of the id), got 5.0, abs error 4, 7340032 ulps"
    )


def test_without_the_bulky_table_the_search_is_checked() -> None:
    instance = DrawnCase(L2, SMALL, "gaussian", 7, 40, 10).instance()
    check = instance.packs[0].check
    answer = right_answer(instance, 0, 0)
    del answer["table"]
    assert check(0, answer, 0.0) is None
    answer["distances"][0] += np.float32(0.5)
    assert check(0, answer, 0.0) is not None


def test_rtol_reaches_both_comparisons() -> None:
    one = LiteralCase(L2, (((0.0,),),), ((0,),), ((100.0,),), k=1)  # every distance is 10,000
    check = one.instance().packs[0].check
    exact, off = np.float32(10_000), np.float32(10_000.005)
    for table, distance in ((off, exact), (exact, off)):
        answer = {
            "table": np.array([[table]], np.float32),
            "ids": np.array([0]),
            "distances": np.array([distance], np.float32),
        }
        mismatch = check(0, answer, 0.0)
        assert mismatch is not None
        assert mismatch.rounding_only
        assert check(0, answer, 1e-6) is None


@pytest.mark.parametrize("structure", STRUCTURES)
def test_no_vectors(structure: str) -> None:
    (pack,) = DrawnCase(L2, SMALL, "gaussian", 7, 0, 10, structure).instance().packs
    assert pack.arrays["codes"].shape == (0, 3)
    assert pack.outputs["ids"] == ("int64", (0,))
    nothing: dict[str, Array] = {"ids": np.empty(0, np.int64), "distances": np.empty(0, np.float32)}
    assert pack.check(0, nothing, 0.0) is None
    something: dict[str, Array] = {"ids": np.zeros(1, np.int64), "distances": np.zeros(1, np.float32)}
    assert pack.check(0, something, 0.0) is not None


@pytest.mark.parametrize("shape", [SMALL, PqShape(5, 1, 7)], ids=str)
@pytest.mark.parametrize("n", [0, 1, 300])
@pytest.mark.parametrize("foreseen", [False, True])
def test_many_calls_change_no_judgement(shape: PqShape, n: int, foreseen: bool) -> None:
    rng = np.random.default_rng(n)
    codebook = rng.standard_normal((shape.num_sub_vectors, shape.num_centroids, shape.sub_vector_dim))
    codes = rng.integers(0, shape.num_centroids, (n, shape.num_sub_vectors)).astype(np.uint8)
    queries = rng.standard_normal((2, shape.dim)).astype(np.float32)
    instance = instance_of(L2, shape, codebook.astype(np.float32), [(codes, queries)], 10)
    for call in range(2):
        answer = right_answer(instance, 0, call)
        if foreseen:
            instance.packs[0].foresee([0, 1])
        assert instance.packs[0].check(call, answer, 0.0) is None
        assert instance.packs[0].check(1 - call, answer, 0.0) is not None


def test_many_calls_on_read_only_codes_of_one_column() -> None:
    codes = np.zeros((5, 1), np.uint8)
    codes.setflags(write=False)
    codebook, queries = np.zeros((1, 3, 2), np.float32), np.zeros((1, 2), np.float32)
    instance = instance_of(L2, PqShape(2, 1, 3), codebook, [(codes, queries)], 2)
    assert instance.packs[0].check(0, right_answer(instance, 0, 0), 0.0) is None
