"""`python -m tests.mutants [--seed N] [--workers N] [--slice I/N] [--quick] [--together] [WORD ...]`: judge the mutants
whose family or name has a word, or of these every N-th from the I-th on."""

from __future__ import annotations

import argparse
import sys

from tests.mutants.corpus import EQUIVALENT, MUTANTS
from tests.mutants.dot_product import DOT, HONEST_DOT
from tests.mutants.harness import WORKERS, judge_all, table
from tests.mutants.together import judge_together

CORPORA = {"pq_l2": (MUTANTS, EQUIVALENT), "pq_dot": (DOT, HONEST_DOT)}
"""Kernels that are wrong, and kernels that are no bugs."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--slice", default="0/1", metavar="I/N", help="every N-th of them, from number I on")
    parser.add_argument("--quick", action="store_true", help="the first failure will do: look for no smaller one")
    parser.add_argument("--together", action="store_true", help="in one process without walls: see `together.py`")
    parser.add_argument("--equivalent", action="store_true", help="judge those that are no bugs: they must pass")
    parser.add_argument("--target", choices=CORPORA, default="pq_l2")
    options = parser.parse_args()
    wrong, right = CORPORA[options.target]
    chosen = [
        mutant
        for mutant in (right if options.equivalent else wrong)
        if not options.words or any(word in f"{mutant.family}: {mutant.name}" for word in options.words)
    ]
    first, step = map(int, options.slice.split("/"))
    outcomes = []
    judged = judge_all(chosen[first::step], options.seed, options.workers, quick=options.quick)
    for outcome in judge_together(chosen[first::step], options.seed) if options.together else judged:
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
