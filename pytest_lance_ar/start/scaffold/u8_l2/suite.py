"""The specification of a `U8L2Kernel`, as tests. What is cheap and catches most comes first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_lance_ar.targets.protocol import Examiner
from u8_l2.target import DISTRIBUTIONS, MAX_DIM, Drawn, Literal, parse

EXAMPLES = {"test_small": 150, "test_drawn": 40}
"""How many examples a trial draws for each test."""


@st.composite
def small_cases(draw: st.DrawFn) -> Literal:
    vector = st.tuples(*[st.integers(0, 255)] * draw(st.integers(1, 4)))
    return Literal(tuple(draw(st.lists(vector, max_size=3))), draw(vector))


def test_earlier_falsifying_examples(examiner: Examiner, earlier_cases: list[str]) -> None:
    for spec in [Literal(((0, 255),), (255, 0)).spec, *earlier_cases]:
        examiner.examine(parse(spec))


@given(case=small_cases())
def test_small(examiner: Examiner, case: Literal) -> None:
    """A handful of numbers, many times: what fails here shrinks to next to nothing."""
    examiner.examine(case)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(0, 700), dim=st.integers(1, 300), sets=st.integers(1, 2))
def test_drawn(examiner: Examiner, distribution: str, seed: int, n: int, dim: int, sets: int) -> None:
    examiner.examine(Drawn(distribution, seed, n, dim, sets))


def test_ends_of_the_domain(examiner: Examiner, fixture_seed: int) -> None:
    for distribution in DISTRIBUTIONS:
        for n, dim in ((1, 1), (3, MAX_DIM), (70_000, 3), (2_000, 768)):
            examiner.examine(Drawn(distribution, fixture_seed, n, dim))
