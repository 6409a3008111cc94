"""`python -m tests.mutants [--seed N] [--workers N] [WORD ...]`: judge the mutants whose family or name has a word."""

from __future__ import annotations

import argparse
import sys

from tests.mutants.corpus import EQUIVALENT, MUTANTS
from tests.mutants.dot_product import DOT, HONEST_DOT
from tests.mutants.harness import WORKERS, judge_all, table

CORPORA = {"pq_l2": (MUTANTS, EQUIVALENT), "pq_dot": (DOT, HONEST_DOT)}
"""Kernels that are wrong, and kernels that are no bugs."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--equivalent", action="store_true", help="judge those that are no bugs: they must pass")
    parser.add_argument("--target", choices=CORPORA, default="pq_l2")
    options = parser.parse_args()
    wrong, right = CORPORA[options.target]
    chosen = [
        mutant
        for mutant in (right if options.equivalent else wrong)
        if not options.words or any(word in f"{mutant.family}: {mutant.name}" for word in options.words)
    ]
    outcomes = []
    for outcome in judge_all(chosen, options.seed, options.workers):
        print(
            f"{'killed' if outcome.killed else 'PASSED' if outcome.passed else outcome.status}\t"
            f"{outcome.seconds:.1f}\t{outcome.mutant.family}: {outcome.mutant.name}\t{outcome.first_failure[:150]}",
            flush=True,
        )
        outcomes.append(outcome)
    print(table(outcomes))
    return not all(outcome.passed if options.equivalent else outcome.killed for outcome in outcomes)


if __name__ == "__main__":
    sys.exit(main())
