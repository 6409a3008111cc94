"""Prints how far real Lance and faiss `IndexPQ` are from the reference, case by case, where they are installed.

python tests/outside/report.py
"""

from __future__ import annotations

import importlib
from importlib.util import find_spec

import numpy as np

from pytest_lance_ar.targets.common.embeddings import word_embeddings
from tests.outside.examples import NAMES, REAL, Difference, example, rounding_bound


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


if __name__ == "__main__":
    main()
