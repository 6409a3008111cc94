"""The specification of a PQ L2 kernel, as tests.

A kernel is correct when, for every shape, distribution, seed, N and k, its distance table and its top-K are those of
the scalar reference: within 1e-4, ids free only among ties. Each test draws its examples with Hypothesis, which
shrinks what fails.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_lance_ar.correctness import Examiner
from pytest_lance_ar.targets.pq_l2 import cases
from pytest_lance_ar.targets.pq_l2.cases import FIXTURE_VECTORS, STRUCTURES, DrawnCase, LiteralCase
from pytest_lance_ar.targets.pq_l2.inputs import DISTRIBUTIONS
from pytest_lance_ar.targets.pq_l2.shape import PqShape
from pytest_lance_ar.targets.pq_l2.target import BATTERY_DISTRIBUTIONS, ODD_SHAPES, SHAPES

EXAMPLES = {
    "test_battery": 8,
    "test_odd_shape": 25,
    "test_edge_of_n_and_k": 25,
    "test_drawn_arrays": 120,
    "test_two_code_sets_in_one_kernel": 25,
    "test_many_vectors": 4,
}
"""How many examples a trial draws for each test."""

seeds = st.integers(0, 2**32 - 1)
ks = st.one_of(st.integers(1, 16), st.integers(1, 600))


def test_earlier_falsifying_examples(examiner: Examiner, earlier_cases: list[str]) -> None:
    """What an earlier trial's kernel failed on is tried first."""
    for spec in [DrawnCase(PqShape(2, 1, 2), "uniform", seed=0, n=2, k=1).spec, *earlier_cases]:
        examiner.examine(cases.parse(spec))


@pytest.mark.parametrize("distribution", BATTERY_DISTRIBUTIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@given(seed=seeds, n=st.integers(1, FIXTURE_VECTORS), k=ks)
def test_battery(
    examiner: Examiner, fixture_seed: int, shape: PqShape, distribution: str, seed: int, n: int, k: int
) -> None:
    """Trained codebooks and nearest-centroid codes, over the three shapes and the five distributions."""
    examiner.examine(DrawnCase(shape, distribution, seed, n, k, fixture=fixture_seed))


@pytest.mark.parametrize("shape", ODD_SHAPES.values(), ids=ODD_SHAPES)
@given(
    seed=seeds,
    distribution=st.sampled_from(DISTRIBUTIONS),
    n=st.integers(0, 700),
    k=ks,
    structure=st.sampled_from(STRUCTURES),
)
def test_odd_shape(
    examiner: Examiner, shape: PqShape, seed: int, distribution: str, n: int, k: int, structure: str
) -> None:
    """K not a power of two, K = 1, dsub = 1, M odd: a kernel is generic over shapes."""
    examiner.examine(DrawnCase(shape, distribution, seed, n, k, structure))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@given(
    seed=seeds,
    distribution=st.sampled_from(BATTERY_DISTRIBUTIONS),
    n_and_k=st.sampled_from(
        [
            (0, 1),
            (0, 10),
            (1, 1),
            (1, 10),
            (2, 1),
            (9, 10),
            (10, 10),
            (11, 10),
            (33, 33),
            (257, 256),
            (64, 1000),
        ]
    ),
    structure=st.sampled_from(STRUCTURES),
)
def test_edge_of_n_and_k(
    examiner: Examiner, shape: PqShape, seed: int, distribution: str, n_and_k: tuple[int, int], structure: str
) -> None:
    """N = 0, N = 1, N < k, k = 1, k = N, and many exact ties."""
    n, k = n_and_k
    examiner.examine(DrawnCase(shape, distribution, seed, n, k, structure))


values = st.one_of(
    st.integers(-4, 4).map(float),  # small integers: exact ties
    st.floats(-1e3, 1e3, width=32, allow_subnormal=False),
)


@st.composite
def literal_cases(draw: st.DrawFn) -> LiteralCase:
    m, dsub, k_centroids = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 5))
    n = draw(st.integers(0, 12))

    def table(rows: int, columns: int, element: st.SearchStrategy[float]) -> tuple[tuple[float, ...], ...]:
        row = st.tuples(*[element] * columns)
        return draw(st.tuples(*[row] * rows))

    return LiteralCase(
        codebook=tuple(table(k_centroids, dsub, values) for _ in range(m)),
        codes=draw(st.tuples(*[st.tuples(*[st.integers(0, k_centroids - 1)] * m)] * n)),
        queries=table(2, m * dsub, values),
        k=draw(st.integers(1, 14)),
    )


@given(case=literal_cases())
def test_drawn_arrays(examiner: Examiner, case: LiteralCase) -> None:
    """Every value drawn: what fails here shrinks to a handful of numbers."""
    examiner.examine(case)


@given(
    seed=seeds,
    distribution=st.sampled_from(DISTRIBUTIONS),
    n=st.integers(0, 300),
    k=ks,
    structure=st.sampled_from(STRUCTURES),
)
def test_two_code_sets_in_one_kernel(
    examiner: Examiner, seed: int, distribution: str, n: int, k: int, structure: str
) -> None:
    """One kernel packs two code sets and answers on them in turns: nothing of one call stays for the next."""
    examiner.examine(DrawnCase(PqShape(32, 8, 256), distribution, seed, n, k, structure, code_sets=2))


@given(
    seed=seeds,
    distribution=st.sampled_from(DISTRIBUTIONS),
    n=st.integers(60_000, 70_000),
    k=st.sampled_from([1, 10, 100]),
    structure=st.sampled_from(STRUCTURES),
)
def test_many_vectors(examiner: Examiner, seed: int, distribution: str, n: int, k: int, structure: str) -> None:
    """Around 2^16 vectors, where 16-bit positions overflow."""
    examiner.examine(DrawnCase(PqShape(16, 4, 256), distribution, seed, n, k, structure))
