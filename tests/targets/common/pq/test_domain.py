"""What a trial draws reaches the whole domain, stays in it, and is another thing in every trial."""

from __future__ import annotations

from itertools import chain, pairwise

import numpy as np
import pytest

from pytest_lance_ar.targets.common.inputs import Stream
from pytest_lance_ar.targets.common.pq import cases, domain, reference, sessions, specs
from pytest_lance_ar.targets.common.pq.cases import SCALES, DrawnCase
from pytest_lance_ar.targets.common.pq.sessions import NAMES, Session
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.common.pq.suite import EXAMPLES
from pytest_lance_ar.targets.common.pq.target import DOMAIN_PARTS
from pytest_lance_ar.targets.common.sessions import asked_again, changed_answer
from pytest_lance_ar.targets.pq_l2.metric import L2
from pytest_lance_ar.targets.protocol import DROP, PACK
from tests.mutants import survival

SEEDS = range(100, 106)


def drawn(seed: int) -> list[DrawnCase]:
    parts = (domain.draws(L2, seed, part, EXAMPLES["test_domain"]) for part in range(DOMAIN_PARTS))
    return list(
        chain(
            *parts,
            domain.ends(L2, seed),
            domain.large_n(L2, seed),
            domain.large_k(L2, seed),
            domain.blocks(L2, seed, 24),
        )
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_a_trial_stays_in_the_domain_and_reaches_its_ends(seed: int) -> None:
    examples = drawn(seed)
    shapes = [case.shape for case in examples]
    ends = [
        (4096, [shape.dim for shape in shapes]),
        (512, [shape.num_sub_vectors for shape in shapes]),
        (1024, [shape.sub_vector_dim for shape in shapes]),
        (256, [shape.num_centroids for shape in shapes]),
    ]
    for most, sizes in ends:
        assert min(sizes) >= 1
        assert max(sizes) == most
    assert 2**20 <= max(case.n for case in examples) <= 1_200_000
    assert 2**16 <= max(case.k for case in examples) <= 1_200_000
    for case in examples:
        assert case.n * case.shape.num_sub_vectors <= 17_500_000  # the costly ends are small in the others
        assert specs.parse(L2, case.spec) == case


def test_trials_draw_other_shapes_and_other_sizes() -> None:
    first, second = ([(case.shape, case.n, case.k) for case in drawn(seed)] for seed in (1, 2))
    assert len({*first, *second}) > 0.9 * (len(first) + len(second))


def test_all_scales_are_drawn() -> None:
    scales = [case.scale for seed in SEEDS for case in drawn(seed)]
    assert set(scales) == set(SCALES)
    assert sum(scale < 0 for scale in scales) > len(scales) / 6


@pytest.mark.parametrize("scale", [SCALES[0], SCALES[-1]])
@pytest.mark.parametrize("distribution", cases.SCALABLE)
def test_distances_at_the_ends_of_the_scales_are_numbers_and_not_zero(distribution: str, scale: int) -> None:
    instance = DrawnCase(L2, PqShape(64, 4, 20), distribution, 3, 30, 5, scale=scale).instance()
    query, codebook = instance.packs[0].calls[0]["query"], instance.arrays["codebook"]
    table = reference.distance_table(L2, query, codebook)
    assert np.isfinite(table).all()
    assert table.max() > 0
    plain = DrawnCase(L2, PqShape(64, 4, 20), distribution, 3, 30, 5).instance()
    np.testing.assert_array_equal(query, plain.packs[0].calls[0]["query"] * np.float32(f"1e{scale}"))


def test_no_cell_of_shapes_waits_for_long() -> None:
    shares = survival.curve(12, first_seed=50)
    assert shares[0] < 0.6
    assert shares[-1] < 0.02


@pytest.mark.parametrize("n", [1, 5, 400])
def test_the_nearest_are_the_last(n: int) -> None:
    case = DrawnCase(L2, PqShape(12, 3, 100), "gaussian", 4, n, 10, "last")
    instance = case.instance()
    table = reference.distance_table(L2, instance.packs[0].calls[0]["query"], instance.arrays["codebook"])
    distances = reference.distances(table, instance.packs[0].arrays["codes"])
    ids, _ = reference.top_k(distances, 3)
    assert ids[0] == n - 1
    assert (ids >= n - cases.LAST).all()


def test_as_many_of_the_last_are_near_as_are_looked_for() -> None:
    instance = DrawnCase(L2, PqShape(12, 3, 100), "gaussian", 4, 2000, 300, "last").instance()
    table = reference.distance_table(L2, instance.packs[0].calls[0]["query"], instance.arrays["codebook"])
    ids, _ = reference.top_k(reference.distances(table, instance.packs[0].arrays["codes"]), 300)
    assert (ids >= 1700).mean() > 0.5


@pytest.mark.parametrize("seed", SEEDS)
def test_the_life_of_an_object(seed: int) -> None:
    session = sessions.drawn(L2, seed)
    assert session.packs >= 40
    assert session.calls >= 6_000
    assert specs.parse(L2, session.spec) == session
    small = Session(L2, session.shape, session.distribution, seed, 12, 3, packs=9, calls=5000)
    instance = small.instance()
    assert len(instance.beside) == 1
    held: dict[int, set[int]] = {0: set(), 1: set()}
    calls = []
    for who, pack, action in instance.script:
        if action == PACK:
            held[who].add(pack)
        elif action == DROP:
            held[who].remove(pack)
        else:
            assert pack in held[who]
            calls.append((who, pack, action))
        assert len(held[who]) <= sessions.MOST_HELD + 3
    assert {pack for who, pack, _ in calls if who == 0} == set(range(10))
    # The first code set lives throughout, and its first query is asked from the beginning to the end.
    first = [i for i, call in enumerate(calls) if call == (0, 0, 0)]
    assert len(first) > 9
    assert first[0] < 3
    assert (0, 0, 0) in calls[-4 * len(held[0]) :]
    assert sum(instance.packs[pack].repeats for who, pack, _ in calls if who == 0) >= 5000
    sizes = [len(pack.arrays["codes"]) for pack in instance.packs[:-1]]
    assert any(a == b for a, b in pairwise(sizes))
    assert len(set(sizes)) > 1


def test_the_first_answer_that_changes_is_found() -> None:
    first = {"table": np.zeros((2, 1, 1), np.float32), "distances": np.ones((2, 3), np.float32)}
    again = {"table": np.zeros((6, 1, 1), np.float32), "distances": np.ones((6, 3), np.float32)}
    asked = np.array([0, 1, 1, 0, 1, 0])
    assert changed_answer(first, asked, again, 100, NAMES) is None
    again["distances"][3, 2] = np.nextafter(np.float32(1), np.float32(2))
    again["table"][4] = 1
    mismatch = changed_answer(first, asked, again, 100, NAMES)
    assert mismatch is not None
    assert (mismatch.what, mismatch.index) == ("probe_top_k distances", (2,))
    assert mismatch.got.endswith("after 103 calls")


def test_queries_come_again_at_no_regular_times() -> None:
    asked = asked_again(64, 2048, Stream(5, "asked"))
    np.testing.assert_array_equal(asked[:64], range(64))
    gaps = {int(gap) for query in range(64) for gap in np.diff(np.flatnonzero(asked == query))}
    assert {1, 255, 256, 257} & gaps
    assert len(gaps) > 100
    assert len(asked_again(64, 5, Stream(5, "asked"))) == 5
    assert (np.diff(asked) == 1).sum() > 300  # half of the neighbours that may be nearly the same


@pytest.mark.parametrize(
    "spec",
    [
        "session shape=6,3,9 distribution=none seed=1 n=3 k=1 packs=2 calls=0",
        "session shape=6,3,9 distribution=gaussian seed=1 n=0 k=1 packs=2 calls=0",
        "session shape=6,3,9 distribution=gaussian seed=1 n=3 k=1 packs=2",
        "shape=6,3,9 distribution=gaussian seed=1 n=3 k=1 scale=13",
        "shape=6,3,9 distribution=huge seed=1 n=3 k=1 scale=1",
    ],
)
def test_what_is_no_case_is_refused(spec: str) -> None:
    with pytest.raises(ValueError, match="not a case"):
        specs.parse(L2, spec)
