"""The reference against real Lance: the same codes, and the same distances up to rounding."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from pytest_lance_ar.targets.pq_l2.inputs import Float32
from pytest_lance_ar.targets.pq_l2.shape import PqShape
from tests.outside.examples import NAMES, SABOTAGES, Difference, Example, example, rounding_bound

pytest.importorskip("lance", reason="real Lance is not installed: the extra [lance]")
from tests.outside import lance_index

pytestmark = pytest.mark.slow


@cache
def answers(shape: PqShape, name: str) -> tuple[Example, NDArray[np.uint8], Float32]:
    ours = example(shape, name)
    return ours, *lance_index.codes_and_distances(ours)


@pytest.mark.parametrize(("shape", "name"), NAMES, ids=str)
def test_lance_gives_the_references_codes(shape: PqShape, name: str) -> None:
    ours, codes, _ = answers(shape, name)
    np.testing.assert_array_equal(codes, ours.codes)


@pytest.mark.parametrize(("shape", "name"), NAMES, ids=str)
def test_lance_gives_the_references_distances(shape: PqShape, name: str) -> None:
    ours, _, distances = answers(shape, name)
    assert Difference.between(ours.reference_distances(), distances).relative <= rounding_bound(shape)


@pytest.mark.parametrize("sabotage", SABOTAGES)
@pytest.mark.parametrize("shape", sorted({shape for shape, _ in NAMES}), ids=str)
def test_a_wrong_reference_would_be_noticed(shape: PqShape, sabotage: Callable[[Example], Example]) -> None:
    ours, _, distances = answers(shape, "gaussian")
    wrong = sabotage(ours).reference_distances()
    assert Difference.between(wrong, distances).relative > rounding_bound(shape)
