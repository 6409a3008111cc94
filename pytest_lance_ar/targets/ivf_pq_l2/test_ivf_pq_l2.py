"""The specification of an IVF_PQ kernel, as tests.

A kernel is correct when, for every shape, distribution, seed, layout of partitions, visit and k, its row ids and
distances are those of the scalar reference: within 1e-4 and 1e-5 of the largest distance, row ids free only among ties.
What is cheap and catches most comes first.
"""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.common.pq.target import BATTERY_DISTRIBUTIONS, ODD_SHAPES, SHAPES, TRAP_SHAPES
from pytest_lance_ar.targets.common.strategies import counts, distributions, ks, seeds
from pytest_lance_ar.targets.ivf_pq_l2 import sessions, specs, strategies
from pytest_lance_ar.targets.ivf_pq_l2.cases import FILLINGS, DrawnCase, LiteralCase
from pytest_lance_ar.targets.ivf_pq_l2.target import DOMAIN_PARTS
from pytest_lance_ar.targets.protocol import Examiner

EXAMPLES = {
    "test_drawn_arrays": 150,
    "test_domain": 24,
    "test_ends_of_the_domain": 6,
    "test_life_of_one_object": 1,
    "test_traps": 34,
    "test_tails": 27,
    "test_many_queries": 16,
    "test_odd_shape": 10,
    "test_partitions_of_any_size": 14,
    "test_edges": 24,
    "test_several_indices_in_one_kernel": 15,
    "test_large": 6,
    "test_battery": 5,
}
"""How many examples a trial has for each test: drawn by Hypothesis, or from a fixed list with a new seed each trial."""

SMALL = PqShape(32, 8, 256)


def test_earlier_falsifying_examples(examiner: Examiner, earlier_cases: list[str]) -> None:
    """What an earlier trial's kernel failed on is tried first."""
    first = DrawnCase(PqShape(4, 2, 2), "uniform", seed=0, partitions=2, most=2, visits=2, k=1)
    for spec in [first.spec, *earlier_cases]:
        examiner.examine(specs.parse(spec))


@given(case=strategies.small_cases)
def test_drawn_arrays(examiner: Examiner, case: LiteralCase) -> None:
    """A handful of numbers, many times."""
    examiner.examine(case)


@pytest.mark.parametrize("name", TRAP_SHAPES)
def test_traps(examiner: Examiner, fixture_seed: int, name: str) -> None:
    """Values and codes that arithmetic, bounds and thresholds go wrong on."""
    for case in islice(strategies.traps(ODD_SHAPES[name], fixture_seed), EXAMPLES["test_traps"]):
        examiner.examine(case)


def test_tails(examiner: Examiner, fixture_seed: int) -> None:
    """Partitions of sizes around those that a kernel may work in, with the nearest vectors at the end."""
    for case in islice(strategies.tails(SMALL, fixture_seed), EXAMPLES["test_tails"]):
        examiner.examine(case)


def test_many_queries(examiner: Examiner, fixture_seed: int) -> None:
    """Pruning that is wrong once in a hundred queries."""
    cases_ = strategies.many_queries(ODD_SHAPES["dim_is_1"], ODD_SHAPES["K_is_100"], fixture_seed)
    for case in islice(cases_, EXAMPLES["test_many_queries"]):
        examiner.examine(case)


@given(seed=seeds, edge=strategies.edges, structure=strategies.structures)
def test_edges(examiner: Examiner, seed: int, edge: tuple[int, int, str, int, int], structure: str) -> None:
    """No vectors at all, one, fewer than k, as many as k; all partitions empty, all but one."""
    partitions, most, filling, visits, k = edge
    examiner.examine(DrawnCase(SMALL, "gaussian", seed, partitions, most, visits, k, filling, structure))


@pytest.mark.parametrize("filling", FILLINGS)
@given(
    seed=seeds,
    distribution=distributions,
    partitions=strategies.partition_counts,
    most=counts(300),
    visits=strategies.visit_counts,
    k=ks,
    structure=strategies.structures,
    varied=st.integers(0, 1),
)
def test_partitions_of_any_size(
    examiner: Examiner,
    filling: str,
    seed: int,
    distribution: str,
    partitions: int,
    most: int,
    visits: int,
    k: int,
    structure: str,
    varied: int,
) -> None:
    """Skewed, equal, empty but for one, or none at all; few or all of them visited, other numbers from call to call."""
    examiner.examine(DrawnCase(SMALL, distribution, seed, partitions, most, visits, k, filling, structure, varied))


@pytest.mark.parametrize("shape", ODD_SHAPES.values(), ids=ODD_SHAPES)
@given(
    seed=seeds,
    distribution=distributions,
    most=counts(200),
    visits=strategies.visit_counts,
    k=ks,
    structure=strategies.structures,
)
def test_odd_shape(
    examiner: Examiner, shape: PqShape, seed: int, distribution: str, most: int, visits: int, k: int, structure: str
) -> None:
    """K not a power of two, K = 1, dsub = 1, M odd: a kernel is generic over shapes."""
    examiner.examine(DrawnCase(shape, distribution, seed, 5, most, visits, k, structure=structure))


@given(
    seed=seeds,
    distribution=distributions,
    partitions=strategies.partition_counts,
    most=counts(150),
    visits=strategies.visit_counts,
    k=ks,
    structure=strategies.structures,
)
def test_several_indices_in_one_kernel(
    examiner: Examiner,
    seed: int,
    distribution: str,
    partitions: int,
    most: int,
    visits: int,
    k: int,
    structure: str,
) -> None:
    """One kernel answers on three indices in turns, beside another kernel: nothing of one call stays for the next."""
    examiner.examine(
        DrawnCase(SMALL, distribution, seed, partitions, most, visits, k, structure=structure, varied=1, indexes=3)
    )


@pytest.mark.parametrize("part", range(DOMAIN_PARTS))
def test_domain(examiner: Examiner, fixture_seed: int, part: int) -> None:
    """Shapes, layouts, structures and scales from the whole domain, other ones in each trial."""
    for case in strategies.domain(fixture_seed, part, EXAMPLES["test_domain"]):
        examiner.examine(case)


def test_ends_of_the_domain(examiner: Examiner, fixture_seed: int) -> None:
    """dim 4,096, M 512, dsub 1,024, K 256."""
    for case in islice(strategies.ends(fixture_seed), EXAMPLES["test_ends_of_the_domain"]):
        examiner.examine(case)


def test_life_of_one_object(examiner: Examiner, fixture_seed: int) -> None:
    """Indices come and go by the dozen, equal sizes among them; queries by the thousand, and the first ones again."""
    examiner.examine(sessions.drawn(fixture_seed))


def test_large(examiner: Examiner, fixture_seed: int) -> None:
    """64 partitions of thousands of vectors, 65,536 in one, k in the thousands, more than a thousand partitions."""
    for case in islice(strategies.large(fixture_seed), EXAMPLES["test_large"]):
        examiner.examine(case)


@pytest.mark.parametrize("distribution", BATTERY_DISTRIBUTIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@given(
    seed=seeds,
    partitions=strategies.partition_counts,
    most=st.integers(1, 300),
    visits=strategies.visit_counts,
    k=ks,
)
def test_battery(
    examiner: Examiner,
    fixture_seed: int,
    shape: PqShape,
    distribution: str,
    seed: int,
    partitions: int,
    most: int,
    visits: int,
    k: int,
) -> None:
    """Trained codebooks and nearest-centroid codes, over the three shapes and the five distributions."""
    examiner.examine(DrawnCase(shape, distribution, seed, partitions, most, visits, k, fixture=fixture_seed))
