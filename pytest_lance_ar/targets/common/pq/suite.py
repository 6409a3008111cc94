"""The specification of a PQ kernel, as tests, for the metric that a target's suite says.

A kernel is correct when, for every shape, distribution, seed, N and k, its distance table and its top-K are those of
the scalar reference: within 1e-4 and 1e-5 of the largest value, ids free only among ties. What is cheap and catches
most comes first.
"""

from __future__ import annotations

from itertools import chain, islice, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_lance_ar.targets.common import strategies
from pytest_lance_ar.targets.common.pq import domain, sessions, specs
from pytest_lance_ar.targets.common.pq import strategies as pq
from pytest_lance_ar.targets.common.pq.cases import DrawnCase, fixture
from pytest_lance_ar.targets.common.pq.metric import Metric
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.common.pq.target import (
    BATTERY_DISTRIBUTIONS,
    DOMAIN_PARTS,
    ODD_SHAPES,
    SHAPES,
    TRAP_SHAPES,
)
from pytest_lance_ar.targets.protocol import Examiner

EXAMPLES = {
    "test_drawn_arrays": 100,
    "test_domain": 24,
    "test_ends_of_the_domain": 9,
    "test_blocks": 24,
    "test_life_of_one_object": 1,
    "test_traps": 35,
    "test_tails": 27,
    "test_many_queries": 14,
    "test_odd_shape": 9,
    "test_edge_of_n_and_k": 12,
    "test_several_code_sets_in_one_kernel": 12,
    "test_large_k": 6,
    "test_large_n": 12,
    "test_battery": 4,
}
"""How many examples a trial has for each test: drawn by Hypothesis, or from a fixed list with a new seed each trial."""

LARGEST_IN_BATTERY = 2048

SMALL = PqShape(32, 8, 256)
SMALLER = PqShape(16, 4, 256)


def test_earlier_falsifying_examples(
    examiner: Examiner, metric: Metric, fixture_seed: int, earlier_cases: list[str]
) -> None:
    """What an earlier trial's kernel failed on is tried first."""
    for shape, distribution in product(SHAPES, BATTERY_DISTRIBUTIONS):
        if not examiner.is_compiling():
            break
        fixture(shape, distribution, fixture_seed)
    # Two sub-vectors: codes of one are contiguous when transposed as well, which is another function to compile.
    for spec in [DrawnCase(metric, PqShape(4, 2, 2), "uniform", seed=0, n=2, k=1).spec, *earlier_cases]:
        examiner.examine(specs.parse(metric, spec))


@given(sizes=pq.small_sizes)
def test_drawn_arrays(examiner: Examiner, metric: Metric, sizes: dict[str, int]) -> None:
    """A handful of numbers, many times."""
    examiner.examine(pq.small_case(metric, **sizes))


@pytest.mark.parametrize("name", TRAP_SHAPES)
def test_traps(examiner: Examiner, metric: Metric, fixture_seed: int, name: str) -> None:
    """Values and codes that arithmetic, bounds and thresholds go wrong on."""
    for case in islice(pq.traps(metric, ODD_SHAPES[name], fixture_seed), EXAMPLES["test_traps"]):
        examiner.examine(case)


def test_tails(examiner: Examiner, metric: Metric, fixture_seed: int) -> None:
    """N around the sizes that a kernel may work in, with the nearest vectors at the end."""
    for case in islice(pq.tails(metric, SMALL, fixture_seed), EXAMPLES["test_tails"]):
        examiner.examine(case)


def test_many_queries(examiner: Examiner, metric: Metric, fixture_seed: int) -> None:
    """Pruning that is wrong once in a hundred queries."""
    cases_ = pq.many_queries(metric, ODD_SHAPES["dim_is_1"], ODD_SHAPES["K_is_100"], fixture_seed)
    for case in islice(cases_, EXAMPLES["test_many_queries"]):
        examiner.examine(case)


@pytest.mark.parametrize("shape", ODD_SHAPES.values(), ids=ODD_SHAPES)
@given(
    seed=strategies.seeds,
    distribution=strategies.distributions,
    n=strategies.counts(700),
    k=strategies.ks,
    structure=pq.structures,
)
def test_odd_shape(
    examiner: Examiner, metric: Metric, shape: PqShape, seed: int, distribution: str, n: int, k: int, structure: str
) -> None:
    """K not a power of two, K = 1, dsub = 1, M odd: a kernel is generic over shapes."""
    examiner.examine(DrawnCase(metric, shape, distribution, seed, n, k, structure))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@given(
    seed=strategies.seeds,
    distribution=strategies.distributions,
    n_and_k=strategies.edges,
    structure=pq.structures,
)
def test_edge_of_n_and_k(
    examiner: Examiner,
    metric: Metric,
    shape: PqShape,
    seed: int,
    distribution: str,
    n_and_k: tuple[int, int],
    structure: str,
) -> None:
    """N = 0, N = 1, N < k, k = 1, k = N, and many exact ties."""
    n, k = n_and_k
    examiner.examine(DrawnCase(metric, shape, distribution, seed, n, k, structure))


@given(
    seed=strategies.seeds,
    distribution=strategies.distributions,
    n=strategies.counts(300),
    k=strategies.ks,
    structure=pq.structures,
)
def test_several_code_sets_in_one_kernel(
    examiner: Examiner, metric: Metric, seed: int, distribution: str, n: int, k: int, structure: str
) -> None:
    """One kernel answers on three code sets in turns, beside another kernel: nothing of one call stays for the next."""
    examiner.examine(DrawnCase(metric, SMALL, distribution, seed, n, k, structure, code_sets=3))


@pytest.mark.parametrize("part", range(DOMAIN_PARTS))
def test_domain(examiner: Examiner, metric: Metric, fixture_seed: int, part: int) -> None:
    """Shapes, sizes, structures and scales from the whole domain, other ones in each trial."""
    for case in domain.draws(metric, fixture_seed, part, EXAMPLES["test_domain"]):
        examiner.examine(case)


def test_ends_of_the_domain(examiner: Examiner, metric: Metric, fixture_seed: int) -> None:
    """dim 4,096, M 512, dsub 1,024, K 256."""
    for case in islice(domain.ends(metric, fixture_seed), EXAMPLES["test_ends_of_the_domain"]):
        examiner.examine(case)


def test_blocks(examiner: Examiner, metric: Metric, fixture_seed: int) -> None:
    """N around multiples of any size of block, with the nearest vectors at the end."""
    for case in domain.blocks(metric, fixture_seed, EXAMPLES["test_blocks"]):
        examiner.examine(case)


def test_life_of_one_object(examiner: Examiner, metric: Metric, fixture_seed: int) -> None:
    """Code sets come and go by the dozen, equal sizes among them; queries by the thousand, and the first ones again."""
    examiner.examine(sessions.drawn(metric, fixture_seed))


def test_large_k(examiner: Examiner, metric: Metric, fixture_seed: int) -> None:
    """k from 129 to 70,000, and up to 1,200,000 where that takes no time that grows with N x k."""
    for case in islice(pq.large_k(metric, SMALLER, fixture_seed), EXAMPLES["test_large_k"]):
        examiner.examine(case)
    large, largest = domain.large_k(metric, fixture_seed)
    if examiner.examine(large) < domain.AT_ONCE:
        examiner.examine(largest)


def test_large_n(examiner: Examiner, metric: Metric, fixture_seed: int) -> None:
    """N around 2^16 and other powers of two, and above 2^20; N x M above 2^23."""
    cases_ = chain(pq.large_n(metric, SMALLER, fixture_seed), domain.large_n(metric, fixture_seed))
    for case in islice(cases_, EXAMPLES["test_large_n"]):
        examiner.examine(case)


@pytest.mark.parametrize("distribution", BATTERY_DISTRIBUTIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@given(seed=strategies.seeds, n=st.integers(1, LARGEST_IN_BATTERY), k=strategies.ks)
def test_battery(
    examiner: Examiner, metric: Metric, fixture_seed: int, shape: PqShape, distribution: str, seed: int, n: int, k: int
) -> None:
    """Trained codebooks and nearest-centroid codes, over the three shapes and the five distributions."""
    examiner.examine(DrawnCase(metric, shape, distribution, seed, n, k, fixture=fixture_seed))
