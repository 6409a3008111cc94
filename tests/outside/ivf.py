"""Whole IVF_PQ queries: the reference of `ivf_pq_l2` beside real Lance and faiss, with one codebook and one set of
centroids. `python -m tests.outside.ivf` prints how far apart they are."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.targets.common import inputs
from pytest_lance_ar.targets.common.inputs import Float32, Stream
from pytest_lance_ar.targets.common.pq import quantizer
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.common.pq.target import BATTERY_DISTRIBUTIONS, SHAPES
from pytest_lance_ar.targets.ivf_pq_l2.cases import SPREAD
from pytest_lance_ar.targets.ivf_pq_l2.reference import Index
from tests.outside.examples import Difference, rounding_bound

SEED: Final = 20
VECTORS: Final = 3_000
PARTITIONS: Final = 12
EMPTY: Final = 3
VISITS: Final = (1, 4, PARTITIONS)
QUERIES: Final = 2
NAMES: Final = tuple((shape, name) for shape in SHAPES for name in BATTERY_DISTRIBUTIONS)


@dataclass(frozen=True)
class Example:
    """vectors: (N, dim), each in the partition of its nearest centroid; queries: (Q, dim)."""

    shape: PqShape
    vectors: Float32
    index: Index
    queries: Float32

    def nearest_partitions(self, query: Float32) -> NDArray[np.int64]:
        """All partitions, the nearest first."""
        return np.argsort(_squares(query[np.newaxis], self.index.centroids)[0], kind="stable").astype(np.int64)


def example(shape: PqShape, name: str) -> Example:
    """Vectors about some of the centroids; to others none is near, so that their partitions are empty. Row ids are the
    rows' numbers."""
    centroids = inputs.vectors(name, PARTITIONS, shape.dim, seed=SEED, role="partitions") * SPREAD
    centroids[-EMPTY:] += np.float32(1e4)
    near = Stream(SEED, "near").below(PARTITIONS - EMPTY, VECTORS)
    drawn = inputs.vectors(name, VECTORS, shape.dim, seed=SEED, role="base")
    vectors = np.ascontiguousarray(centroids[near] + drawn)
    partition = _squares(vectors, centroids).argmin(axis=1)
    codebook = quantizer.trained_codebook(vectors - centroids[partition], shape, Stream(SEED, "codebook"))
    order = np.argsort(partition, kind="stable").astype(np.int64)
    codes = quantizer.encode(np.ascontiguousarray((vectors - centroids[partition])[order]), codebook)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(partition, minlength=PARTITIONS))]).astype(np.int64)
    queries = inputs.vectors(name, QUERIES, shape.dim, seed=SEED, role="query") + centroids[:QUERIES]
    return Example(shape, vectors, Index(codebook, centroids, codes, order, offsets), queries)


def _squares(vectors: Float32, centroids: Float32) -> NDArray[np.float64]:
    """Squared distances in float64: (N, P)."""
    return np.stack([((vectors.astype(np.float64) - one) ** 2).sum(axis=1) for one in centroids], axis=1)


def compare(ours: Example, other: str) -> dict[int, tuple[int, Difference]]:
    """By the number of partitions visited: how many vectors that were, and how far apart the distances are.

    Raises AssertionError where not the same rows are found.
    """
    answers = importlib.import_module(f"tests.outside.ivf_{other}").answers(ours, VISITS)
    found = {}
    for visits in VISITS:
        count, expected, got = 0, [np.zeros(1, np.float32)], [np.zeros(1, np.float32)]
        for query, (ids, distances) in zip(ours.queries, answers[visits], strict=True):
            own_ids, own = ours.index.answers(query, ours.nearest_partitions(query)[:visits])
            assert sorted(ids.tolist()) == sorted(own_ids.tolist())
            assert (np.diff(distances) >= 0).all()
            expected.append(own[np.argsort(own_ids)])
            got.append(distances[np.argsort(ids)])
            count += len(ids)
        found[visits] = count, Difference.between(np.concatenate(expected), np.concatenate(got))
    return found


def main() -> None:
    others = [name for name in ("lance", "faiss") if find_spec(name)]
    print(f"| case | bound | visits: vectors |{''.join(f' {name}: abs | rel |' for name in others)}")
    print("|---|---|---|" + "---|---|" * len(others))
    for shape, name in NAMES:
        ours = example(shape, name)
        of_all = [compare(ours, other) for other in others]
        for visits in VISITS:
            row = f"| {shape} {name} | {rounding_bound(shape):.1e} | {visits}: {of_all[0][visits][0]} |"
            for of_one in of_all:
                row += f" {of_one[visits][1].absolute:.1e} | {of_one[visits][1].relative:.1e} |"
            print(row, flush=True)


if __name__ == "__main__":
    main()
