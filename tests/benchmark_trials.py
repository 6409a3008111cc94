"""How often is the gate right, and how long does it take? Real trials, one after the other, on this machine.

    python tests/benchmark_trials.py equal:60 layout:30 gain:2:30 gain:3:30 loss:10 incorrect:10 shipped:10 first:10
    python tests/benchmark_trials.py equal:10 incorrect:10 --against-tree ../before
    python tests/benchmark_trials.py --simulate 1000
    python tests/benchmark_trials.py --together 8

Each trial is a `pytest --lance-ar` of its own, as in a night of trials: on the state that a trial of the incumbent has
left behind, the same one for all trials of a kind; a gain is against a rival of its own. KIND:N or KIND:PERCENT:N:
  equal      the plain kernel against itself with another comment
  layout     the plain kernel behind 0 to 13 compiled functions that nobody calls, against itself
  gain       against itself made so many percent slower, by `--lance-ar-against`; with what that itself costs
  loss       with its table made twice, about 10% slower, against itself
  incorrect  with distances that are 0.1% too large
  shipped    the shipped kernel against itself with another comment
  first      the shipped kernel without an incumbent, as in a fresh clone
--against-tree times every trial once more with another checkout, in turns, and prints the ratio of the medians; that
checkout is installed in its own .venv, as its README says. --simulate: error rates and power of the statistics alone,
in the synthetic worlds of the tests. --together: so many `evaluate` at once, one of them of an endless loop.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from pytest_lance_ar.speed.handicap import handicapped, twin
from pytest_lance_ar.speed.statistics import Outcome as StageOutcome
from pytest_lance_ar.targets.registry import target_of
from pytest_lance_ar.trial.kernel_source import Kernel

ROOT: Final = Path(__file__).parents[1]
PLAIN: Final = ROOT / "pytest_lance_ar" / "targets" / "pq_l2" / "baseline.py"
SHIPPED: Final = ROOT / "kernel" / "pq_l2.py"
WITH_PERCENT: Final = ("gain",)
WRONG: Final = b"""

class _Wrong(PqKernel):
    def probe_top_k(self, table, codes, k):
        ids, distances = super().probe_top_k(table, codes, k)
        return ids, distances * distances.dtype.type(1.001)


PqKernel = _Wrong
"""
SLOWER: Final = b"""

class _Slower(PqKernel):
    def distance_table(self, query, out):
        super().distance_table(query, out)
        super().distance_table(query, out)


PqKernel = _Slower
"""
ENDLESS: Final = b"""

class _Endless(PqKernel):
    def distance_table(self, query, out):
        while True:
            pass


PqKernel = _Endless
"""
DEAD: Final = """

@njit("float64(float64)")
def _dead_{number}(x):
    return x * {number}.5 + {number}.25


{rest}"""
MOST_DEAD: Final = 13
SIMULATED_PCT: Final = (-5.0, -1.0, 0.0, 0.5, 1.0, 2.0, 3.0)


@dataclass(frozen=True)
class Trial:
    """What is judged: a candidate, against an incumbent, or against none. rival: an incumbent for this run alone."""

    kind: str
    candidate: Kernel
    incumbent: Kernel | None
    rival: Kernel | None = None


@dataclass(frozen=True)
class Outcome:
    verdict: str
    seconds: float
    geomean_ns: float | None
    speedup: float | None
    noise_floor_pct: float | None
    rounds: int | None
    phases: dict[str, float]
    reason: str


class Gate:
    """The gate that a Python has installed, in a directory of its own."""

    def __init__(self, python: str, place: Path) -> None:
        self._command = [python, "-m", "pytest", "--lance-ar", "--lance-ar-kernel=candidate.py"]
        self._place = place / "project"
        self._states = place / "states"

    def run(self, trial: Trial) -> Outcome:
        """The seconds are the process's, from start to exit."""
        shutil.rmtree(self._place, ignore_errors=True)
        self._place.mkdir(parents=True)
        if trial.incumbent is not None:
            state = self._states / trial.incumbent.sha256
            if not state.exists():
                self._judge(trial.incumbent).check_returncode()  # one that is not kept is nobody's incumbent
                shutil.copytree(self._place, state, symlinks=True)
            else:
                shutil.copytree(state, self._place, symlinks=True, dirs_exist_ok=True)
        options = ["--lance-ar-json=.report.json"]
        if trial.rival is not None:
            self._place.joinpath("rival.py").write_bytes(trial.rival.source)
            options.append("--lance-ar-against=rival.py")
        begun = time.monotonic()
        self._judge(trial.candidate, *options)
        seconds = time.monotonic() - begun
        return outcome_of(json.loads(self._place.joinpath(".report.json").read_text()), seconds)

    def _judge(self, kernel: Kernel, *options: str) -> subprocess.CompletedProcess[bytes]:
        self._place.joinpath("candidate.py").write_bytes(kernel.source)
        command = [*self._command, "--rootdir", str(self._place), *options]
        return subprocess.run(command, cwd=self._place, stdout=subprocess.DEVNULL, check=False)


def outcome_of(report: dict[str, Any], seconds: float) -> Outcome:
    return Outcome(
        report["verdict"],
        seconds,
        report["geomean_ns_per_query"],
        report["speedup_vs_incumbent"],
        report["noise_floor_pct"],
        report["rounds"],
        report["phases"],
        report["reason"],
    )


def behind_dead_code(kernel: Kernel, number: int) -> Kernel:
    """The kernel with so many functions before its own, compiled when it is imported and never called: its code lies
    elsewhere."""
    imports, mark, rest = kernel.source.decode().partition("\n\n\n")
    for i in range(number):
        rest = DEAD.format(number=i, rest=rest)
    return Kernel(f"{kernel.name} behind {number}", f"{imports}{mark}{rest}".encode())


def trials_of(wanted: Sequence[tuple[str, float, int]], plain: Kernel, shipped: Kernel) -> Iterator[Trial]:
    target = target_of(plain.source)
    makers: dict[str, Callable[[float, int], tuple[Kernel, Kernel | None, Kernel | None]]] = {
        "equal": lambda _, i: (twin(plain, i), plain, None),
        "layout": lambda _, i: (behind_dead_code(plain, i % (MOST_DEAD + 1)), plain, None),
        # That one waits, so it imports what no kernel may: it is nobody's incumbent.
        "gain": lambda share, _: (handicapped(plain, 0, target), None, handicapped(plain, share, target)),
        "loss": lambda *_: (Kernel(plain.name, plain.source + SLOWER), plain, None),
        "incorrect": lambda *_: (Kernel(plain.name, plain.source + WRONG), plain, None),
        "shipped": lambda _, i: (twin(shipped, i), shipped, None),
        "first": lambda *_: (shipped, None, None),
    }
    for kind, percent, count in wanted:
        name = f"{kind} {percent:g}%" if kind in WITH_PERCENT else kind
        for number in range(count):
            yield Trial(name, *makers[kind](percent / 100, number))


def summary(name: str, outcomes: list[Outcome]) -> str:
    verdicts = [outcome.verdict for outcome in outcomes]
    seconds = sorted(outcome.seconds for outcome in outcomes)
    speedups = [outcome.speedup for outcome in outcomes if outcome.speedup]
    rounds = [outcome.rounds for outcome in outcomes if outcome.rounds]
    phases = {
        phase: statistics.median(outcome.phases.get(phase, 0.0) for outcome in outcomes)
        for phase in dict.fromkeys(phase for outcome in outcomes for phase in outcome.phases)
    }
    return (
        f"{name:<20} {len(outcomes):>6} {verdicts.count('keep'):>5}"
        f" {statistics.median(speedups) if speedups else float('nan'):>9.4f}"
        f" {statistics.median(rounds) if rounds else float('nan'):>7.0f}"
        f" {statistics.median(seconds):>8.1f} {seconds[int(0.9 * (len(seconds) - 1))]:>8.1f}"
        f"  {', '.join(f'{phase} {value:.1f}' for phase, value in phases.items())};"
        f" {' '.join(f'{verdicts.count(verdict)} {verdict}' for verdict in sorted(set(verdicts)))}"
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


def measure(trials: Iterator[Trial], gates: dict[str, Gate]) -> None:
    """Run all trials, with every gate in turns, and print a table."""
    outcomes: dict[tuple[str, str], list[Outcome]] = {}
    for number, trial in enumerate(trials):
        trees = list(gates)
        for tree in trees if number % 2 else trees[::-1]:
            outcome = gates[tree].run(trial)
            outcomes.setdefault((trial.kind, tree), []).append(outcome)
            print(f"{trial.kind}, {tree}: {outcome}", file=sys.stderr, flush=True)
    print(
        f"{'trials of':<20} {'number':>6} {'kept':>5} {'speed-up':>9} {'rounds':>7} {'median s':>8} {'p90 s':>8}"
        "  median seconds of each phase; verdicts"
    )
    for (kind, tree), results in sorted(outcomes.items()):
        print(summary(f"{kind}, {tree}" if len(gates) > 1 else kind, results))
    for kind in dict.fromkeys(kind for kind, _ in outcomes):
        if len(gates) > 1:
            here, there = (statistics.median(o.seconds for o in outcomes[kind, tree]) for tree in gates)
            print(f"{kind}: {here / there:.2f} of the seconds of the other tree")
        if kind == "equal" and len(outcomes[kind, "here"]) > 1:
            print(stored_number(outcomes[kind, "here"]))


def simulate(number: int) -> None:
    """Error rates and power of both stages: synthetic timings of known gains, in worlds with all kinds of luck."""
    from tests.speed.worlds import WORLDS, gain  # here, where the checkout is sure to be on the path

    print(f"{'world':<15} {'true gain':>9} {'better':>7} {'kept':>7} {'given up':>8} {'epochs: median':>15} {'90%':>4}")
    for name, world in WORLDS.items():
        for percent in SIMULATED_PCT:
            rng = np.random.default_rng(int(1000 + 10 * percent))
            stages = [world.stage(rng, gain(percent)) for _ in range(2 * number)]
            better = [outcome is StageOutcome.BETTER for _, outcome in stages]
            kept = sum(first and second for first, second in zip(better[::2], better[1::2], strict=True))
            futile = sum(outcome is StageOutcome.FUTILE for _, outcome in stages)
            epochs = sorted(stage.epochs for stage, _ in stages)
            print(
                f"{name:<15} {percent:>8g}% {100 * sum(better) / len(better):>6.1f}% {100 * kept / number:>6.1f}%"
                f" {100 * futile / len(stages):>7.1f}% {epochs[number]:>15} {epochs[int(1.8 * number)]:>4}",
                flush=True,
            )


def together(number: int, plain: Kernel) -> list[tuple[str, float, dict[str, float]]]:
    """So many evaluations at once, each in a process of its own as a search starts them; the first one never ends.

    Returns their names, seconds and numbers.
    """
    code = "import sys, json; from pytest_lance_ar import evaluate; print(json.dumps(evaluate(sys.argv[1])))"

    def one(path: Path) -> tuple[str, float, dict[str, float]]:
        begun = time.monotonic()
        done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
        seconds = time.monotonic() - begun
        print(f"{path.stem}: {seconds:.1f} s, {done.stdout.strip()}", flush=True)
        return path.stem, seconds, json.loads(done.stdout)

    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(number) as pool:
        paths = [Path(directory, f"{'program' if i else 'endless'}{i}.py") for i in range(number)]
        for i, path in enumerate(paths):
            path.write_bytes(twin(plain, i).source + (b"" if i else ENDLESS))
        return list(pool.map(one, paths))


def wish(text: str) -> tuple[str, float, int]:
    kind, *rest = text.split(":")
    percent, count = (rest[0], rest[1]) if kind in WITH_PERCENT else ("0", *rest)
    if kind not in (*WITH_PERCENT, "loss", "equal", "layout", "incorrect", "shipped", "first"):
        raise argparse.ArgumentTypeError(f"no kind of trial: {kind}")
    return kind, float(percent), int(count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trials", nargs="*", type=wish, metavar="KIND:N")
    parser.add_argument("--kernel", type=Path, default=PLAIN, help="the plain kernel (default: the scalar baseline)")
    parser.add_argument("--against-tree", type=Path, metavar="DIR")
    parser.add_argument("--simulate", type=int, metavar="N", default=0)
    parser.add_argument("--together", type=int, metavar="N", default=0)
    options = parser.parse_args()
    plain, shipped = (Kernel.read(path, path.name) for path in (options.kernel, SHIPPED))
    pythons = {"here": sys.executable}
    if options.against_tree is not None:
        pythons["there"] = str(options.against_tree.absolute() / ".venv" / "bin" / "python")
        if not os.access(pythons["there"], os.X_OK):
            parser.error(f"{pythons['there']} does not run; install that checkout in its own .venv")
    if options.trials:
        with tempfile.TemporaryDirectory() as directory:
            gates = {tree: Gate(python, Path(directory, tree)) for tree, python in pythons.items()}
            measure(trials_of(options.trials, plain, shipped), gates)
    if options.simulate:
        simulate(options.simulate)
    if options.together:
        together(options.together, plain)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
