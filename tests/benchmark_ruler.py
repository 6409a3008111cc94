"""What are the known gains, that the gate is measured with, by themselves? No rule of stopping, and no verdict.

    python tests/benchmark_ruler.py 0 0.5 1 2 3 [--times 8] [--kernel FILE]

For each percentage, the two kernels that `tests/benchmark_trials.py` and `--lance-ar-selftest` take for it, in four new
pairs of processes each time; prints the mean gain over the combos, in percent, and its standard error, from the spread
among pairs of processes.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path
from typing import Final

import numpy as np

from pytest_lance_ar.host.platform import pinned, timing_core
from pytest_lance_ar.speed.duel import no_garbage_collection, round_trip_ns
from pytest_lance_ar.speed.handicap import handicapped, twin
from pytest_lance_ar.speed.preparation import Preparation
from pytest_lance_ar.speed.sides import Queries, time_round
from pytest_lance_ar.targets.registry import target_of
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.kernel_source import Kernel

PLAIN: Final = Path(__file__).parents[1] / "pytest_lance_ar" / "targets" / "pq_l2" / "baseline.py"
PAIRS: Final = 4
ROUNDS: Final = 8
CALLS: Final = 5
WARMUPS: Final = 2
QUERIES: Final = PAIRS * (WARMUPS + 2 * CALLS * ROUNDS)


def gains(kernel: Kernel, share: float) -> list[float]:
    """What the gain is in each pair of processes: the median round's mean log ratio over the combos."""
    target, core, deadline, rng = target_of(kernel.source), timing_core(), Deadline.after(3600.0), random.Random()
    candidate, rival = twin(handicapped(kernel, 0, target), 1), handicapped(kernel, share, target)
    preparation = Preparation(target, candidate, rival, queries=QUERIES, core=core, deadline=deadline)
    preparation.hurry()
    found = []
    try:
        preparation.wait()
        with pinned(core), no_garbage_collection():
            transport_ns = round_trip_ns(core, deadline)
            queries = [Queries(QUERIES) for _ in preparation.workloads]
            for _ in range(PAIRS):
                warmups = [dealer.take(WARMUPS) for dealer in queries]
                with preparation.pair() as pair:
                    for side in rng.sample(pair, 2):
                        side.warm_up(warmups)
                    rounds = [
                        time_round(pair, queries, [CALLS] * len(queries), transport_ns, rng)[:2] for _ in range(ROUNDS)
                    ]
                found.append(float(np.median([rival.mean() - candidate.mean() for candidate, rival in rounds])))
    finally:
        preparation.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("percent", type=float, nargs="+")
    parser.add_argument("--times", type=int, default=8)
    parser.add_argument("--kernel", type=Path, default=PLAIN)
    options = parser.parse_args()
    kernel = Kernel.read(options.kernel, options.kernel.name)
    found: dict[float, list[float]] = {percent: [] for percent in options.percent}
    for _ in range(options.times):
        for percent, logs in found.items():
            logs += gains(kernel, percent / 100)
    for percent, logs in found.items():
        measured = 100 * np.expm1(logs)
        error = measured.std(ddof=1) / len(logs) ** 0.5
        print(f"{percent:>5g}%: {measured.mean():6.2f}% +- {error:.2f}, {len(logs)} pairs of processes")


if __name__ == "__main__":
    sys.path.insert(0, str(PLAIN.parents[3]))
    main()
