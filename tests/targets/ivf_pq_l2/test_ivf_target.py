"""The target `ivf_pq_l2`: its reference, its tolerance of ties, its cases and workloads."""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pytest_lance_ar.targets.common.inputs import Float32, Stream
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.ivf_pq_l2 import cases, sessions, specs, strategies, workloads
from pytest_lance_ar.targets.ivf_pq_l2.cases import FILLINGS, STRUCTURES, DrawnCase, sizes_of
from pytest_lance_ar.targets.ivf_pq_l2.equivalence import compare_answer
from pytest_lance_ar.targets.ivf_pq_l2.target import DOMAIN_PARTS, TARGET, shape_and_visits
from pytest_lance_ar.targets.ivf_pq_l2.test_ivf_pq_l2 import EXAMPLES
from pytest_lance_ar.targets.protocol import Arrays, Case, Instance, PackInstance, Target

CASE = DrawnCase(PqShape(12, 4, 9), "gaussian", seed=3, partitions=6, most=9, visits=4, k=7)


def scalar(instance: Instance, pack: PackInstance, call: Arrays) -> tuple[list[int], list[np.float32]]:
    """Row ids and distances of all vectors visited, one operation at a time."""
    codebook, centroids = instance.arrays["codebook"], instance.arrays["centroids"]
    num_sub_vectors, _, dsub = codebook.shape
    partitions = call["partitions"][: int(call["visits"][0]) if "visits" in call else None]
    ids, distances = [], []
    for p in partitions:
        residual = [q - c for q, c in zip(call["query"], centroids[p], strict=True)]
        for n in range(pack.arrays["offsets"][p], pack.arrays["offsets"][p + 1]):
            total = np.float32(0)
            for m in range(num_sub_vectors):
                entry = np.float32(0)
                for d in range(dsub):
                    difference = residual[m * dsub + d] - codebook[m, pack.arrays["codes"][n, m], d]
                    entry += difference * difference
                total += entry
            ids.append(int(pack.arrays["row_ids"][n]))
            distances.append(total)
    return ids, distances


def answer(ids: NDArray[np.int64], distances: Float32, k: int) -> dict[str, NDArray[Any]]:
    """A right answer."""
    order = np.argsort(distances, kind="stable")[:k]
    return {"ids": ids[order], "distances": distances[order], "count": np.array([len(order)])}


@pytest.mark.parametrize("distribution", ["gaussian", "large_dynamic_range", "offset", "denormal"])
@pytest.mark.parametrize("structure", ["plain", "midway", "twins", "nearest_last"])
def test_the_reference_is_the_scalar_loops(distribution: str, structure: str) -> None:
    case = replace(CASE, distribution=distribution, structure=structure, varied=1)
    instance = case.instance()
    (pack,) = instance.packs
    for i, call in enumerate(pack.calls):
        ids, distances = scalar(instance, pack, call)
        if not ids:
            continue
        right = answer(np.array(ids), np.array(distances), case.k)
        assert pack.check(i, right, 0.0) is None
        assert pack.check(i, {**right, "distances": right["distances"] * np.float32(1.001)}, 0.0) is not None
        asked = pack.check._asked  # type: ignore[attr-defined]
        got_ids, got = asked.index.answers(asked.queries[i], asked.visits[i])
        assert got_ids.tolist() == ids
        assert got.tobytes() == np.array(distances, np.float32).tobytes()


IDS = np.array([5 << 32, 7, 2**62 + 1, 3])
DISTANCES = np.array([4.0, 1.0, 2.0, 2.0], np.float32)


@pytest.mark.parametrize(
    ("ids", "distances", "count", "words"),
    [
        ([7, 2**62 + 1, 3], [1, 2, 2], 3, ""),
        ([7, 3, 2**62 + 1], [1, 2, 2], 3, ""),
        ([7, 3, 5 << 32], [1, 2, 4], 3, "search distances[2]: expected 2.0"),
        ([7, 3, 3], [1, 2, 2], 3, "search row ids[2]: expected every row id once, got 3 a second time"),
        ([7, 3, 2**62], [1, 2, 2], 3, "search row ids[2]: expected the row id of a vector in the partitions"),
        ([7, 3, 2**63 - 1], [1, 2, 2], 3, "search row ids[2]"),
        ([7, 3, -1], [1, 2, 2], 3, "search row ids[2]"),
        ([7, 3, 0], [1, 2, 0], 2, "the number of row ids of search: expected 3, the smaller of k = 3 and the 4"),
        ([3, 7, 2**62 + 1], [2, 1, 2], 3, "ascending"),
        ([7, 3, 2**62 + 1], [1, 2, 2.001], 3, "search distances[2]"),
        ([7, 3, 2**62 + 1], [1, 2, np.nan], 3, "search distances[2]"),
    ],
)
def test_ids_are_free_among_ties_alone(ids: list[int], distances: list[float], count: int, words: str) -> None:
    outputs = {"ids": np.array(ids), "distances": np.array(distances, np.float32), "count": np.array([count])}
    wrong = compare_answer(IDS, DISTANCES, 3, outputs)
    assert words in str(wrong) if words else wrong is None


def test_nothing_is_visited_and_nothing_found() -> None:
    nothing = np.empty(0, np.int64), np.empty(0, np.float32)
    outputs = {"ids": np.array([-1]), "distances": np.array([np.nan], np.float32), "count": np.array([0])}
    assert compare_answer(*nothing, 1, outputs) is None
    assert compare_answer(*nothing, 1, {**outputs, "count": np.array([1])}) is not None


@pytest.mark.parametrize("filling", FILLINGS)
def test_partitions_are_filled_as_told(filling: str) -> None:
    sizes = sizes_of(filling, 200, 50, Stream(1, filling))
    assert len(sizes) == 200
    assert {
        "skewed": sizes.max() == 50 and (sizes == 0).sum() > 10 and np.median(sizes) < 15,
        "full": (sizes == 50).all(),
        "around": set(sizes) == {49, 50, 51},
        "one": (sizes > 0).sum() == 1 and sizes.max() == 50,
        "empty": not sizes.any(),
    }[filling]


def test_row_ids_are_different_and_do_not_fit_into_32_bits() -> None:
    ids = cases.row_ids_of(5_000, Stream(1, "ids"))
    assert len(set(ids.tolist())) == 5_000
    assert ids.min() >= 0
    assert (ids >= 2**32).any()
    assert (ids < 2**32).any()
    assert len(cases.row_ids_of(0, Stream(1, "ids"))) == 0


@pytest.mark.parametrize("structure", STRUCTURES)
def test_a_case_is_the_same_from_its_text(structure: str) -> None:
    case = replace(CASE, structure=structure, indexes=2, scale=-3, varied=1)
    again = TARGET.parse_case(case.spec)
    assert again == case
    one, other = case.instance(), again.instance()
    assert len(one.packs) == 2
    assert len(one.beside) == 1
    for pack, twin in zip(one.packs, other.packs, strict=True):
        assert all(array.tobytes() == twin.arrays[name].tobytes() for name, array in pack.arrays.items())
        assert pack.arrays["codes"].max(initial=0) < case.shape.num_centroids
        assert len(pack.arrays["codes"]) == pack.arrays["offsets"][-1] == len(pack.arrays["row_ids"])


def test_in_twins_every_vector_ties_with_one_of_another_partition() -> None:
    pack = replace(CASE, structure="twins", filling="full", visits=6, k=54).instance().packs[0]
    asked = pack.check._asked  # type: ignore[attr-defined]
    _, distances = asked.index.answers(asked.queries[0], asked.visits[0])
    assert (np.unique(distances, return_counts=True)[1] % 6 == 0).all()


@pytest.mark.parametrize(("structure", "place"), [("nearest_first", 0), ("nearest_last", -1)])
def test_the_nearest_are_where_the_structure_says(structure: str, place: int) -> None:
    pack = replace(CASE, structure=structure, filling="full", k=1).instance().packs[0]
    asked = pack.check._asked  # type: ignore[attr-defined]
    ids, distances = asked.index.answers(asked.queries[0], asked.visits[0])
    assert ids[distances.argmin()] in asked.index.row_ids[asked.index.rows(asked.visits[0][place])]


def test_a_literal_case_is_the_same_from_its_text() -> None:
    literal = strategies.small_case(5, 2, 1, 3, [2, 0, 1], 4)
    again = specs.parse(literal.spec)
    assert again == literal
    assert "centroids" in again.where


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        CASE.spec.replace("gaussian", "normal"),
        CASE.spec.replace("visits=4", "visits=65"),
        CASE.spec.replace("k=7", "k=0"),
        CASE.spec + " structure=odd",
        "{}",
        strategies.small_case(5, 2, 1, 3, [2, 0, 1], 4).spec.replace('"visits":[[', '"visits":[[9,'),
        "session shape=4,2,4 distribution=gaussian seed=1 n=0 k=1 packs=1 calls=0",
    ],
)
def test_what_is_no_case_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="not a case"):
        TARGET.parse_case(text)


def test_a_session_packs_drops_and_asks_again() -> None:
    session = sessions.drawn(4)
    assert TARGET.parse_case(session.spec) == session
    instance = replace(session, packs=8, calls=30).instance()
    assert len(instance.packs) == 9
    assert instance.packs[-1].repeats == 30
    assert len(instance.beside) == 1
    sizes = [tuple(pack.arrays["offsets"].tolist()) for pack in instance.packs]
    assert sizes[2] == sizes[3] != sizes[4]
    assert {step.object for step in instance.script} == {0, 1}


def test_the_suites_tests_are_named() -> None:
    names = {node.name for node in ast.parse(TARGET.suite.read_text()).body if isinstance(node, ast.FunctionDef)}
    assert {name.partition("[")[0] for name in TARGET.suite_tests} == names
    assert set(EXAMPLES) == names - {"test_earlier_falsifying_examples"}
    as_target: Target = TARGET
    assert as_target.kernel_class == "IvfPqKernel"


def test_nine_combos_have_every_shape_with_every_number_of_partitions_and_every_distribution_with_both() -> None:
    combos = [(*shape_and_visits(combo), combo.distribution) for combo in TARGET.combos]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert len({(combo[one], combo[other]) for combo in combos}) == 9
    assert sorted({combo[1] for combo in combos}) == [1, 8, 32]
    assert all(0 < TARGET.floor_ns(combo) < 1_000 for combo in TARGET.combos)


def test_a_workload_visits_the_nearest_partitions_and_a_full_one_first() -> None:
    instance = TARGET.workload(TARGET.combos[1], 5, 9)
    (pack,) = instance.packs
    sizes = np.diff(pack.arrays["offsets"])
    assert (sizes == 0).sum() == workloads.PARTITIONS // workloads.EMPTY
    assert sizes[sizes > 0].min() >= 130
    assert sizes.max() <= workloads.MOST
    for call in pack.calls:
        assert len(set(call["partitions"].tolist())) == 8
        apart = ((call["query"] - instance.arrays["centroids"]) ** 2).sum(axis=1)
        assert sizes[call["partitions"][0]] > 0
        assert apart[call["partitions"][1:]].max() <= np.sort(apart)[8]
    assert len({call["query"].tobytes() for call in pack.calls}) == 5


def test_a_stand_in_has_what_a_workload_has() -> None:
    for combo in TARGET.combos[:2]:
        one, other = TARGET.stand_in(combo).packs[0], TARGET.workload(combo, 1, 0).packs[0]
        assert {name: array.dtype for name, array in one.calls[0].items()} == {
            name: array.dtype for name, array in other.calls[0].items()
        }
        assert one.params == other.params


def test_the_family_of_guards_has_its_corners() -> None:
    for seed in range(20):
        small, large_k, *foreign, wide = workloads.family(seed)[:5]
        assert (small.visits, small.most < 900) == (1, True)
        assert large_k.k == 1_000
        assert large_k.visits >= 16
        assert all(guard.queries == "foreign" and guard.distribution == "clustered" for guard in foreign)
        assert wide.shape.dim > 1_000
        for guard in workloads.family(seed):
            assert TARGET.parse_guard(guard.spec) == guard
            assert guard.shape.dim * guard.shape.num_centroids * guard.visits <= 2 * workloads.MAX_TERMS
    with pytest.raises(ValueError, match="not a workload"):
        TARGET.parse_guard("shape=8,2,4 distribution=gaussian seed=1 visits=3 partitions=2")


def test_a_guard_answers_some_queries_a_call() -> None:
    guard = workloads.parse(
        "shape=8,2,16 distribution=gaussian seed=1 visits=2 k=1 partitions=16 most=40 queries=stored"
    )
    assert guard.batch > 1
    (pack,) = guard.instance(2).packs
    assert pack.repeats == guard.batch
    single = workloads.Workload(**vars(guard)).instance(2 * guard.batch).packs[0]
    asked = single.check._asked  # type: ignore[attr-defined]
    found = [asked.index.answers(*each) for each in zip(asked.queries, asked.visits, strict=True)]
    right = [answer(ids, distances, 1) for ids, distances in found]
    outputs = {name: np.stack([one[name] for one in right[guard.batch :]]) for name in right[0]}
    assert pack.check(1, outputs, 0.0) is None
    outputs["distances"][-1] *= np.float32(1.01)
    assert pack.check(1, outputs, 0.0) is not None


def test_drawn_cases_stay_within_the_domain() -> None:
    seen = [case for part in range(DOMAIN_PARTS) for case in strategies.domain(3, part, 24)]
    seen += [*strategies.ends(3), *strategies.large(3)]
    for case in seen:
        assert specs.parse(case.spec) == case
        assert 1 <= case.visits <= case.partitions
    assert max(case.visits for case in seen) == 64
    assert max(case.shape.dim for case in seen) == 4_096
    assert max(case.shape.num_sub_vectors for case in seen) == 512


def test_from_which_number_of_partitions_on_a_kernel_is_wrong_is_told() -> None:
    case = replace(CASE, partitions=80, most=3, visits=40, filling="full")

    def still_fails(case: Case, *, loosely: bool = False) -> bool:
        visited = [len(call["partitions"]) for call in case.instance().packs[0].calls]
        return max(visited) > 24

    smallest, sentence = TARGET.reduced(case, still_fails)
    assert sentence == (
        "wrong for every number of partitions above 24 with every number of partitions visited above 24"
    )
    assert "visits 25" in smallest.where or '"visits":' in smallest.spec
