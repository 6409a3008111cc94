"""How long a mutant survives that is wrong in one cell of shapes only: `python -m tests.mutants.survival [--trials N]`.

A cell is one octave of dsub, one of M and three of K (1 to 7, 8 to 63, 64 to 256). No kernel is run: what is counted is
whether a trial draws a shape of the cell, where such a mutant is wrong.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import chain

from pytest_lance_ar.targets.common.pq import domain
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.common.pq.suite import EXAMPLES
from pytest_lance_ar.targets.common.pq.target import DOMAIN_PARTS, ODD_SHAPES, SHAPES
from pytest_lance_ar.targets.pq_l2.metric import L2


def shapes(seed: int) -> Iterator[PqShape]:
    """The shapes of one trial."""
    yield from SHAPES
    yield from ODD_SHAPES.values()
    count = EXAMPLES["test_domain"]
    drawn = chain.from_iterable(domain.draws(L2, seed, part, count) for part in range(DOMAIN_PARTS))
    for case in chain(
        drawn, domain.ends(L2, seed), domain.large_n(L2, seed), domain.blocks(L2, seed, EXAMPLES["test_blocks"])
    ):
        yield case.shape


def curve(trials: int, first_seed: int = 0) -> list[float]:
    """The share of all cells that 1, 2, ... trials have not met."""
    left, shares = set(domain.CELLS), []
    for trial in range(trials):
        left -= {domain.cell_of(shape) for shape in shapes(first_seed + trial)}
        shares.append(len(left) / len(domain.CELLS))
    return shares


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.survival", description=__doc__)
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args()
    runs = [curve(options.trials, 1_000_003 * run) for run in range(options.runs)]
    print(f"{len(domain.CELLS)} cells, mean of {options.runs} runs\ntrials  survives")
    at = 1
    while at <= options.trials:
        print(f"{at:6}  {sum(shares[at - 1] for shares in runs) / len(runs):8.3f}")
        at *= 2


if __name__ == "__main__":
    main()
