"""The reference against others with the same codebook: the same codes, and the same distances up to rounding."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

from pytest_lance_ar.targets.common.equivalence import MAX_SHARE
from pytest_lance_ar.targets.common.inputs import Float32
from pytest_lance_ar.targets.common.pq.shape import PqShape
from tests.outside.examples import NAMES, SABOTAGES, Difference, Example, at_scale, example, rounding_bound

pytestmark = pytest.mark.slow

of_each_example = pytest.mark.parametrize(("shape", "name"), NAMES, ids=str)


@pytest.fixture(params=["lance", "faiss"])
def other(request: pytest.FixtureRequest) -> str:
    """An implementation of product quantization that is not ours: `tests.outside.<other>_index` asks it."""
    return str(request.param)


def asked(other: str) -> ModuleType:
    """The module that asks another implementation. Skips the test where that is not installed."""
    pytest.importorskip(other, reason=f"{other} is not installed: the extra [{other}]")
    return importlib.import_module(f"tests.outside.{other}_index")


@cache
def answers(other: str, shape: PqShape, name: str) -> tuple[Example, NDArray[np.uint8], Float32]:
    """An example, and the codes and distances that another implementation gives it."""
    index = asked(other)
    ours = example(shape, name)
    return ours, *index.codes_and_distances(ours)


@of_each_example
def test_the_references_distances_are_theirs(other: str, shape: PqShape, name: str) -> None:
    ours, _, distances = answers(other, shape, name)
    assert Difference.between(ours.reference_distances(), distances).relative <= rounding_bound(shape)


@pytest.mark.parametrize("sabotage", SABOTAGES)
@pytest.mark.parametrize("shape", sorted({shape for shape, _ in NAMES}), ids=str)
def test_a_wrong_reference_would_be_noticed(other: str, shape: PqShape, sabotage: Callable[[Example], Example]) -> None:
    ours, _, distances = answers(other, shape, "gaussian")
    wrong = sabotage(ours).reference_distances()
    assert Difference.between(wrong, distances).relative > rounding_bound(shape)


@of_each_example
def test_lance_gives_the_references_codes(shape: PqShape, name: str) -> None:
    ours, codes, _ = answers("lance", shape, name)
    np.testing.assert_array_equal(codes, ours.codes)


@of_each_example
def test_faiss_codes_are_as_near_as_the_references(shape: PqShape, name: str) -> None:
    # Sparse data leaves centroids that are equal, and faiss takes another one of them than the first.
    ours, codes, _ = answers("faiss", shape, name)
    parts = ours.vectors.reshape(len(ours.vectors), shape.num_sub_vectors, shape.sub_vector_dim).astype(np.float64)
    column = np.arange(shape.num_sub_vectors)
    near, nearest = (((parts - ours.codebook[column, some]) ** 2).sum(axis=2) for some in (codes, ours.codes))
    np.testing.assert_allclose(near, nearest, rtol=rounding_bound(shape), atol=0)


@pytest.mark.parametrize("shape", [PqShape(12, 4, 16), PqShape(12, 3, 100), PqShape(8, 2, 1)], ids=str)
def test_faiss_reads_our_codes_of_fewer_bits(shape: PqShape) -> None:
    index = asked("faiss")
    rng = np.random.default_rng(1)
    codebook = rng.normal(size=(shape.num_sub_vectors, shape.num_centroids, shape.sub_vector_dim)).astype(np.float32)
    codes = rng.integers(shape.num_centroids, size=(50, shape.num_sub_vectors)).astype(np.uint8)
    vectors = rng.normal(size=(53, shape.dim)).astype(np.float32)
    ours = Example(shape, vectors[3:], codebook, codes, vectors[:3])
    _, distances = index.codes_and_distances(ours)
    assert Difference.between(ours.reference_distances(), distances).relative <= rounding_bound(shape)


@pytest.mark.parametrize(("name", "scale"), [("gaussian", -12), ("gaussian", 12), ("unit", 0), ("denormal", 0)])
def test_others_keep_the_second_tolerance_at_every_scale(other: str, name: str, scale: int) -> None:
    ours = at_scale(PqShape(32, 4), name, scale)
    _, distances = asked(other).codes_and_distances(ours)
    expected = ours.reference_distances().astype(np.float64)
    assert expected.max() > 0
    assert (np.abs(distances - expected).max(axis=1) <= 0.1 * MAX_SHARE * expected.max(axis=1)).all()
