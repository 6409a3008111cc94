"""The reference of `pq_dot` against others with the same codebook: the same codes, and products equal up to rounding.

Lance's "dot" distance is one more than ours, faiss's METRIC_INNER_PRODUCT is ours with the other sign. Lance's "cosine"
distance of a quantized vector is the squared L2 distance of what it normalised before; it has the product in it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.common.pq.target import SHAPES
from pytest_lance_ar.targets.pq_dot.metric import DOT
from tests.outside.examples import NAMES, SABOTAGES, Example, example, rounding_bound

pytestmark = pytest.mark.slow

of_each_example = pytest.mark.parametrize(("shape", "name"), NAMES, ids=str)
of_dense_examples = pytest.mark.parametrize(
    ("shape", "name"), [(shape, name) for shape in SHAPES for name in ("gaussian", "uniform")], ids=str
)


@cache
def answers(
    other: str, shape: PqShape, name: str, metric: str
) -> tuple[Example, NDArray[np.uint8], NDArray[np.float64]]:
    """An example, and the codes and distances that another implementation gives it: as negative inner products, up to a
    constant."""
    pytest.importorskip(other, reason=f"{other} is not installed: the extra [{other}]")
    index = importlib.import_module(f"tests.outside.{other}_index")
    ours = replace(example(shape, name), metric=metric)
    ours = ours.of_length_one() if metric == "cosine" else ours
    codes, distances = index.codes_and_distances(ours)
    exact = distances.astype(np.float64)
    return ours, codes, -exact if other == "faiss" else exact - 1 if metric == "dot" else exact


def largest_share(ours: Example, theirs: NDArray[np.float64], other: str) -> float:
    """The largest difference, as a share of how far apart two float32 sums of these terms may lie.

    As for squared distances, but terms of either sign cancel: the bound goes with their magnitudes. Lance adds one in
    each sub-vector, and takes them out again.
    """
    terms = ours.magnitudes() + (ours.shape.num_sub_vectors if other == "lance" else 0)
    error = np.abs(theirs - ours.reference_distances(DOT))
    assert np.isfinite(error).all()
    return float((error[terms > 0] / (rounding_bound(ours.shape) * terms[terms > 0])).max())


@pytest.mark.parametrize("other", ["lance", "faiss"])
@of_each_example
def test_the_references_products_are_theirs(other: str, shape: PqShape, name: str) -> None:
    ours, codes, distances = answers(other, shape, name, "dot")
    assert largest_share(ours, distances, other) <= 1
    if other == "lance":  # coded by the nearest centroid, whatever the metric
        np.testing.assert_array_equal(codes, ours.codes)


@pytest.mark.parametrize("sabotage", SABOTAGES)
@pytest.mark.parametrize("other", ["lance", "faiss"])
def test_a_wrong_reference_would_be_noticed(other: str, sabotage: Callable[[Example], Example]) -> None:
    ours, _, distances = answers(other, SHAPES[0], "gaussian", "dot")
    assert largest_share(sabotage(ours), distances, other) > 1


def test_the_sign_and_the_one_would_be_noticed() -> None:
    ours, _, distances = answers("lance", SHAPES[0], "gaussian", "dot")
    for wrong in (-distances, distances + 1, distances / 2):
        assert largest_share(ours, wrong, "lance") > 1


@of_dense_examples
def test_lances_cosine_has_the_references_product_in_it(shape: PqShape, name: str) -> None:
    ours, codes, distances = answers("lance", shape, name, "cosine")
    assert (codes == ours.codes).mean() > 0.999  # it normalises once more, which may change a last bit
    ours = replace(ours, codes=codes)
    norms = (ours.decoded() ** 2).sum(axis=1) + (ours.queries.astype(np.float64) ** 2).sum(axis=1)[:, np.newaxis]
    error = np.abs(distances - (norms + 2 * ours.reference_distances(DOT).astype(np.float64)))
    # A query that is normalised once more is off by some last bits.
    assert (error <= (rounding_bound(shape) + 2.0**-21) * (norms + 2 * ours.magnitudes())).all()
