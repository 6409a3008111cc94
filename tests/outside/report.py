"""Prints how far real Lance and faiss `IndexPQ` are from the references, case by case, where they are installed.

python tests/outside/report.py [dot | scales]
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from importlib.util import find_spec

import numpy as np

from pytest_lance_ar.targets.common.embeddings import word_embeddings
from pytest_lance_ar.targets.common.equivalence import MAX_ABS_ERR, MAX_SHARE
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.common.pq.target import SHAPES
from pytest_lance_ar.targets.pq_dot.metric import DOT
from tests.outside.examples import NAMES, REAL, Difference, at_scale, example, rounding_bound
from tests.outside.test_inner_products import answers, largest_share


def main() -> None:
    others = [name for name in ("lance", "faiss") if find_spec(name)]
    print(f"| case | bound |{''.join(f' {name}: codes equal | abs | rel |' for name in others)}")
    print("|---|---|" + "---|---|---|" * len(others))
    for shape, name in NAMES:
        if name == REAL and word_embeddings() is None:
            continue
        ours = example(shape, name)
        expected = ours.reference_distances()
        row = f"| {shape} {name} | {rounding_bound(shape):.1e} |"
        for other in others:
            codes, distances = importlib.import_module(f"tests.outside.{other}_index").codes_and_distances(ours)
            difference = Difference.between(expected, distances)
            equal = 100 * np.mean(codes == ours.codes)
            row += f" {equal:.4g}% | {difference.absolute:.1e} | {difference.relative:.1e} |"
        print(row, flush=True)


def of_products() -> None:
    """Of `pq_dot`: the largest difference, and how much of the bound it is."""
    others = [name for name in ("lance", "faiss") if find_spec(name)]
    print(f"| case |{''.join(f' {name}: codes equal | abs | of the bound |' for name in others)}")
    print("|---|" + "---|---|---|" * len(others))
    for shape, name in NAMES:
        if name == REAL and word_embeddings() is None:
            continue
        row = f"| {shape} {name} |"
        for other in others:
            ours, codes, distances = answers(other, shape, name, "dot")
            error = np.abs(distances - ours.reference_distances(DOT)).max()
            share = largest_share(ours, distances, other)
            row += f" {100 * np.mean(codes == ours.codes):.4g}% | {error:.1e} | {share:.3f} |"
        print(row, flush=True)


def at_scales() -> None:
    """The largest error of tables and of distances at every scale, as a share of each of the suite's two tolerances.

    An index of one sub-vector whose vectors are the centroids shows a table: its distances are the entries.
    """
    others = [name for name in ("lance", "faiss") if find_spec(name)]
    print(f"| vectors | of |{''.join(f' {name}: / 1e-5 of the largest | / 1e-4 |' for name in others)}")
    print("|---|---|" + "---|---|" * len(others))
    for name, scale in (*(("gaussian", scale) for scale in range(-12, 13, 3)), ("unit", 0), ("denormal", 0)):
        searched, entries = at_scale(SHAPES[0], name, scale), at_scale(PqShape(8, 1), name, scale)
        centroids = np.arange(entries.shape.num_centroids, dtype=np.uint8)[:, np.newaxis]
        entries = replace(entries, vectors=entries.codebook[0], codes=centroids)
        for what, ours in (("table", entries), ("distances", searched)):
            expected = ours.reference_distances().astype(np.float64)
            row = f"| {name}{f' x 1e{scale}' if scale else ''} | {what} |"
            for other in others:
                try:
                    index = importlib.import_module(f"tests.outside.{other}_index")
                    _, got = index.codes_and_distances(ours)
                except Exception as error:
                    row += f" {type(error).__name__}: {str(error)[:60]} | |"
                    continue
                off = np.abs(got - expected).max(axis=1)
                largest = (off / (MAX_SHARE * np.abs(expected).max(axis=1))).max()
                row += f" {largest:.1e} | {off.max() / MAX_ABS_ERR:.1e} |"
            print(row, flush=True)


WHAT = {"dot": of_products, "scales": at_scales}


if __name__ == "__main__":
    WHAT.get(" ".join(sys.argv[1:]), main)()
