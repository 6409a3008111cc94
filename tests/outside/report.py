"""Prints how far real Lance and faiss `IndexPQ` are from the references, case by case, where they are installed.

python tests/outside/report.py [dot]
"""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec

import numpy as np

from pytest_lance_ar.targets.common.embeddings import word_embeddings
from pytest_lance_ar.targets.pq_dot.metric import DOT
from tests.outside.examples import NAMES, REAL, Difference, example, rounding_bound
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


if __name__ == "__main__":
    of_products() if sys.argv[1:] == ["dot"] else main()
