"""How often is the gate right, and how long does it take? Real trials, one after the other, on this machine.

    python tests/benchmark_trials.py --same 60 --gain 2:30 --gain 3:30

Each trial is a `pytest --lance-ar --lance-ar-against ...` of its own on the shipped kernel. `same`: against itself with
another comment. `gain X:N`: N trials against itself made X% slower. `slower X:N`: N trials of a kernel made X% slower.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pytest_lance_ar.speed.handicap import handicapped, twin
from pytest_lance_ar.trial.kernel_source import Kernel

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Outcome:
    verdict: str
    seconds: float
    geomean_ns: float | None
    speedup: float | None
    noise_floor_pct: float | None


def trial(candidate: Kernel, incumbent: Kernel) -> Outcome:
    """Run the gate once."""
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        place.joinpath("candidate.py").write_bytes(candidate.source)
        place.joinpath("incumbent.py").write_bytes(incumbent.source)
        subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "--lance-ar", "--rootdir", str(place)),
                *("--lance-ar-kernel=candidate.py", "--lance-ar-against=incumbent.py", "--lance-ar-json=report.json"),
            ],
            cwd=place,
            stdout=subprocess.DEVNULL,
            check=False,
        )
        report = json.loads(place.joinpath("report.json").read_text())
    return Outcome(
        report["verdict"],
        report["total_seconds"],
        report["geomean_ns_per_query"],
        report["speedup_vs_incumbent"],
        report["noise_floor_pct"],
    )


def summary(name: str, outcomes: list[Outcome]) -> str:
    verdicts = [outcome.verdict for outcome in outcomes]
    seconds = sorted(outcome.seconds for outcome in outcomes)
    speedups = [outcome.speedup for outcome in outcomes if outcome.speedup]
    floors = [outcome.noise_floor_pct for outcome in outcomes if outcome.noise_floor_pct is not None]
    kept = verdicts.count("keep")
    others = sorted(set(verdicts) - {"keep", "discard"})
    return (
        f"{name:<12} {len(outcomes):>6} {kept:>5} {100 * kept / len(outcomes):>6.1f}%"
        f" {statistics.median(speedups) if speedups else float('nan'):>9.4f}"
        f" {statistics.median(floors) if floors else float('nan'):>8.2f}%"
        f" {statistics.median(seconds):>8.1f} {seconds[int(0.9 * (len(seconds) - 1))]:>8.1f}"
        f"  {' '.join(f'{verdicts.count(other)} {other}' for other in others)}"
    )


def stored_number(outcomes: list[Outcome]) -> str:
    """What a comparison with a number measured earlier would have made of the same kernel, over all ordered pairs."""
    geomeans = [outcome.geomean_ns for outcome in outcomes if outcome.geomean_ns]
    ratios = [later / earlier for later, earlier in itertools.permutations(geomeans, 2)]
    lines = [f"the same kernel against a stored number of its own, {len(ratios)} pairs; kept if"]
    for text, limit in (("strictly better", 1.0), ("more than 1% better", 0.99), ("more than 3% better", 0.97)):
        kept = sum(ratio < limit for ratio in ratios)
        lines.append(f"  {text:<22} {kept:>6} {100 * kept / len(ratios):>6.1f}%")
    return "\n".join(lines)


def share_and_count(text: str) -> tuple[float, int]:
    share, count = text.split(":")
    return float(share) / 100, int(count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernel", type=Path, default=ROOT / "kernel" / "pq_l2.py")
    parser.add_argument("--same", type=int, default=0, metavar="N")
    parser.add_argument("--gain", type=share_and_count, action="append", default=[], metavar="PERCENT:N")
    parser.add_argument("--slower", type=share_and_count, action="append", default=[], metavar="PERCENT:N")
    options = parser.parse_args()
    kernel = Kernel.read(options.kernel, options.kernel.name)

    trials = [("same", twin(kernel, i), kernel) for i in range(options.same)]
    for share, count in options.gain:
        trials += [(f"gain {100 * share:g}%", kernel, handicapped(kernel, share))] * count
    for share, count in options.slower:
        trials += [(f"slower {100 * share:g}%", handicapped(kernel, share), kernel)] * count

    outcomes: dict[str, list[Outcome]] = {}
    for name, candidate, incumbent in trials:
        outcome = trial(candidate, incumbent)
        outcomes.setdefault(name, []).append(outcome)
        print(f"{name}: {outcome}", file=sys.stderr, flush=True)
    print(
        f"{'trials of':<12} {'number':>6} {'kept':>5} {'':>7} {'speed-up':>9} {'floor':>9} {'median s':>8} {'p90 s':>8}"
    )
    for name, results in outcomes.items():
        print(summary(name, results))
    if options.same > 1:
        print(stored_number(outcomes["same"]))


if __name__ == "__main__":
    main()
