"""What does an epoch of a duel spend outside timed calls? A kernel against its twin, on this machine.

    python tests/benchmark_epochs.py [KERNEL]

Prints the seconds of preparing, timing and checking, and of timing those in calls that are timed (the first of each
block, which does not count, among them), in new processes, until they have packed, and in all the rest.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from pytest_lance_ar.host.platform import timing_core
from pytest_lance_ar.speed import duel as duels
from pytest_lance_ar.speed.handicap import twin
from pytest_lance_ar.speed.preparation import Preparation
from pytest_lance_ar.speed.sides import Side
from pytest_lance_ar.targets.registry import target_of
from pytest_lance_ar.trial.deadline import Deadline, begun
from pytest_lance_ar.trial.kernel_source import Kernel

PLAIN: Final = Path(__file__).parents[1] / "pytest_lance_ar" / "targets" / "pq_l2" / "baseline.py"
SECONDS: Final = 600.0


class Spent(defaultdict[str, float]):
    """Seconds by what they went to."""

    def on(self, place: Any, name: str, what: str) -> None:
        """Count the seconds of a function from now on."""
        function: Callable[..., Any] = getattr(place, name)

        def counted(*arguments: Any, **named: Any) -> Any:
            begun = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                self[what] += time.perf_counter() - begun

        setattr(place, name, counted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kernel", nargs="?", type=Path, default=PLAIN)
    path = parser.parse_args().kernel
    kernel, deadline, core = Kernel.read(path, path.name), Deadline(begun() + SECONDS), timing_core()
    spent = Spent(float)
    spent.on(duels, "_fight", "timing")
    spent.on(duels, "check_answers", "checking")
    spent.on(Side, "block", "blocks")
    spent.on(Preparation, "_load_pair", "processes")
    spent.on(Preparation, "_pack", "processes")
    start = time.perf_counter()
    preparation = Preparation(
        target_of(kernel.source), twin(kernel, 1), kernel, queries=duels.QUERIES, core=core, deadline=deadline
    )
    preparation.hurry()
    try:
        preparation.wait()
        spent["preparing"] += time.perf_counter() - start
        spent["processes"] = 0.0
        speed = duels.duel(preparation, core=core, deadline=deadline)
    finally:
        preparation.close()
    timing = spent["timing"]
    print(f"{kernel.name}: {speed.rounds} rounds, {speed.timed_queries} answers checked")
    for what in ("preparing", "timing", "checking"):
        print(f"  {what:<10} {spent[what]:6.2f} s")
    for what, seconds in (
        ("timed blocks", spent["blocks"]),
        ("new processes, packed", spent["processes"]),
        ("the rest", timing - spent["blocks"] - spent["processes"]),
    ):
        print(f"    of timing, {what:<32} {100 * seconds / timing:5.1f}%")


if __name__ == "__main__":
    sys.path.insert(0, str(PLAIN.parents[3]))
    main()
