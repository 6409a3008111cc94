"""What the outside checks compare the reference on, and how far apart two correct float32 sums may lie."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray

from pytest_lance_ar.targets.common import inputs
from pytest_lance_ar.targets.common.embeddings import DIM, PACKAGE, word_embeddings
from pytest_lance_ar.targets.common.inputs import Float32, Stream
from pytest_lance_ar.targets.common.pq import cases, quantizer, reference
from pytest_lance_ar.targets.common.pq.metric import Metric
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.common.pq.target import BATTERY_DISTRIBUTIONS, SHAPES
from pytest_lance_ar.targets.pq_l2.metric import L2

SEED: Final = 20
VECTORS: Final = cases.FIXTURE_VECTORS
QUERIES: Final = 3
REAL: Final = "real embeddings"
NAMES: Final = (*((shape, name) for shape in SHAPES for name in BATTERY_DISTRIBUTIONS), (PqShape(DIM, 16), REAL))
"""The battery, shape by distribution, and one set of real embeddings."""


@dataclass(frozen=True)
class Example:
    """vectors: (N, dim) and their codes (N, M) under the codebook (M, 256, dsub); queries: (Q, dim). metric: what
    another implementation is asked for: "L2", "dot" or "cosine"."""

    shape: PqShape
    vectors: Float32
    codebook: Float32
    codes: NDArray[np.uint8]
    queries: Float32
    metric: str = "L2"

    def reference_distances(self, metric: Metric = L2) -> Float32:
        """The reference's distance of every query to every coded vector: (Q, N)."""
        tables = (reference.distance_table(metric, query, self.codebook) for query in self.queries)
        return np.stack([reference.distances(table, self.codes) for table in tables])

    def decoded(self) -> NDArray[np.float64]:
        """What the codes stand for: (N, dim)."""
        stored = self.codebook[np.arange(self.shape.num_sub_vectors), self.codes]
        return stored.reshape(len(self.codes), -1).astype(np.float64)

    def magnitudes(self) -> NDArray[np.float64]:
        """The sum of |q x| over all dimensions, of every query and coded vector: (Q, N)."""
        return np.asarray(np.abs(self.queries.astype(np.float64)) @ np.abs(self.decoded()).T)

    def of_length_one(self) -> Example:
        """The same vectors and queries, normalised and coded anew."""
        vectors, queries = (
            np.asarray(some / np.linalg.norm(some.astype(np.float64), axis=1, keepdims=True), np.float32)
            for some in (self.vectors, self.queries)
        )
        codebook = quantizer.trained_codebook(vectors, self.shape, Stream(SEED, "of length one"))
        return replace(
            self, vectors=vectors, queries=queries, codebook=codebook, codes=quantizer.encode(vectors, codebook)
        )


def example(shape: PqShape, name: str) -> Example:
    """Build one of NAMES. Skips the test where the real embeddings are not installed."""
    if name != REAL:
        codebook, codes = cases.fixture(shape, name, SEED, VECTORS)
        return Example(
            shape,
            inputs.vectors(name, VECTORS, shape.dim, seed=SEED, role="base"),
            codebook,
            codes,
            inputs.vectors(name, QUERIES, shape.dim, seed=SEED, role="query"),
        )
    words = word_embeddings()
    if words is None:
        pytest.skip(f"the package {PACKAGE}, which ships the embeddings, is not installed: the extra [embeddings]")
    words = words[Stream(SEED, name).distinct(len(words), VECTORS + QUERIES)]
    vectors = np.ascontiguousarray(words[QUERIES:])
    codebook = quantizer.trained_codebook(vectors, shape, Stream(SEED, name, "codebook"))
    return Example(shape, vectors, codebook, quantizer.encode(vectors, codebook), words[:QUERIES])


def at_scale(shape: PqShape, name: str, scale: int = 0) -> Example:
    """Vectors of a distribution times 10^scale, and a codebook trained on them."""
    factor = np.float32(f"1e{scale}")
    vectors, queries = (
        inputs.vectors(name, count, shape.dim, seed=SEED, role=role) * factor
        for count, role in ((VECTORS, "base"), (QUERIES, "query"))
    )
    codebook = quantizer.trained_codebook(vectors, shape, Stream(SEED, name, scale))
    return Example(shape, vectors, codebook, quantizer.encode(vectors, codebook), queries)


def rounding_bound(shape: PqShape) -> float:
    """How far apart, relatively, two float32 evaluations of one ADC distance may lie, whatever their order.

    A distance is a sum of dim terms (q - c)^2, none negative. On its way into the sum a term is rounded by the
    subtraction (which the square doubles), by the square, by at most dsub - 1 additions in the table and by at most
    M - 1 in the scan: n = dsub + M + 1 factors (1 + d) with |d| <= u = 2^-24, in any order of summation; FMA leaves
    some out. As no term is negative, nothing cancels: the sum is off by at most n u / (1 - n u) of itself (Higham,
    "Accuracy and Stability of Numerical Algorithms", section 3.1), and two such sums differ by at most twice that, to
    first order n eps with eps = 2^-23. A table in float16 (u = 2^-11) or a wrong code lies far outside.
    """
    n = shape.sub_vector_dim + shape.num_sub_vectors + 1
    u = 2.0**-24
    return 2 * n * u / (1 - 2 * n * u)


@dataclass(frozen=True)
class Difference:
    """The largest differences of two arrays of distances, absolute and relative to the first."""

    absolute: float
    relative: float

    @classmethod
    def between(cls, expected: Float32, got: Float32) -> Difference:
        """NaN, a distance that is missing, makes both infinite; so does any difference from zero the relative one."""
        assert got.shape == expected.shape
        exact = expected.astype(np.float64)
        error = np.abs(got.astype(np.float64) - exact)
        error[np.isnan(error)] = np.inf
        relative = np.divide(error, exact, out=np.where(error > 0, np.inf, 0.0), where=exact > 0)
        return cls(float(error.max()), float(relative.max()))


def one_centroid_changed(example: Example) -> Example:
    """One of the codebook's floats, of a centroid in use, 1% larger."""
    codebook = example.codebook.copy()
    used = codebook[0, example.codes[0, 0]]
    used[np.argmax(np.abs(used))] *= np.float32(1.01)
    return replace(example, codebook=codebook)


def codes_of_the_next_vector(example: Example) -> Example:
    return replace(example, codes=np.roll(example.codes, 1, axis=0))


def half_precision(example: Example) -> Example:
    return replace(example, codebook=example.codebook.astype(np.float16).astype(np.float32))


SABOTAGES: Final = (one_centroid_changed, codes_of_the_next_vector, half_precision)
"""Negative controls: with such an example the reference must not agree with anybody."""
