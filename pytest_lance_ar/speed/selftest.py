"""What can the gate resolve on this host? It judges kernels whose difference is known: none, or so many percent."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from pytest_lance_ar.host import platform
from pytest_lance_ar.speed.duel import Progress
from pytest_lance_ar.speed.handicap import handicapped, twin
from pytest_lance_ar.speed.measurement import duel_in_turn, guarded
from pytest_lance_ar.trial.evidence import SpeedEvidence
from pytest_lance_ar.trial.kernel_source import Kernel
from pytest_lance_ar.trial.trial import Trial
from pytest_lance_ar.trial.verdict import compare

GAINS_PCT: Final = (0, 0, 1, 2, 3)
"""One cycle. 0 is the kernel against its own twin."""
CYCLES: Final = 4
RESOLVED_SHARE: Final = 0.95


@dataclass(frozen=True)
class Result:
    """One duel: the true gain, whether it would be kept, and what was measured."""

    gain_pct: int
    kept: bool
    ratio: float
    noise_floor_pct: float
    seconds: float


@dataclass(frozen=True)
class Selftest:
    """All duels of a selftest."""

    results: tuple[Result, ...]
    core: int | None

    def as_text(self) -> str:
        """The table, and the three figures it comes down to."""
        lines = ["---", f"{'true gain':<10} {'duels':>6} {'kept':>5} {'measured':>9} {'median seconds':>15}"]
        for gain in sorted({result.gain_pct for result in self.results}):
            some = self._of(gain)
            measured = statistics.median(100 * (1 / result.ratio - 1) for result in some)
            seconds = statistics.median(result.seconds for result in some)
            kept = sum(result.kept for result in some)
            lines.append(f"{gain:>8}% {len(some):>7} {kept:>5} {measured:>8.2f}% {seconds:>15.1f}")
        same = self._of(0)
        false = sum(result.kept for result in same)
        floor = statistics.median(result.noise_floor_pct for result in self.results)
        smallest = self.smallest_gain_pct
        lines += [
            f"host:                  {platform.cpu_name()}, "
            + ("not pinned" if self.core is None else f"core {self.core}"),
            f"false_keeps:           {false} of {len(same)}",
            f"noise_floor_pct:       {floor:.1f}",
            f"smallest_gain_pct:     {'none of the above' if smallest is None else smallest}",
        ]
        return "\n".join(lines) + "\n"

    @property
    def smallest_gain_pct(self) -> int | None:
        """The smallest gain that was kept, it and every larger one, in at least 95% of its duels."""
        smallest = None
        for gain in sorted({result.gain_pct for result in self.results if result.gain_pct}, reverse=True):
            some = self._of(gain)
            if sum(result.kept for result in some) < RESOLVED_SHARE * len(some):
                break
            smallest = gain
        return smallest

    def _of(self, gain_pct: int) -> list[Result]:
        return [result for result in self.results if result.gain_pct == gain_pct]


def selftest(trial: Trial, progress: Progress, measure: Callable[[Trial], SpeedEvidence] | None = None) -> Selftest:
    """Judge the trial's kernel against itself, made slower by known shares. Ends early when the budget does.

    Raises KernelFault and IncumbentFailed when the kernel does not run.
    """
    measure = measure or partial(_measure, progress)
    results: list[Result] = []
    plan = GAINS_PCT * CYCLES
    for number, gain in enumerate(plan):
        pair = _pair(trial, gain, number)
        begun = time.monotonic()
        one = replace(trial, candidate=pair[0], incumbent=pair[1])
        speed = measure(one)
        kept = compare(one, speed).kept
        seconds = time.monotonic() - begun
        results.append(Result(gain, kept, speed.ratio, speed.noise_floor_pct, seconds))
        progress(f"selftest {number + 1} of {len(plan)}: a gain of {gain}% is {'kept' if kept else 'not kept'}")
        if number + 1 >= len(GAINS_PCT) and trial.deadline.remaining() < 3 * seconds:
            break
    return Selftest(tuple(results), trial.core)


def _pair(trial: Trial, gain_pct: int, number: int) -> tuple[Kernel, Kernel]:
    kernel, target = trial.candidate, trial.target
    if not gain_pct:
        return twin(kernel, number), kernel
    return twin(handicapped(kernel, 0, target), number), handicapped(kernel, gain_pct / 100, target)


def _measure(progress: Progress, trial: Trial) -> SpeedEvidence:
    assert trial.incumbent is not None
    return duel_in_turn(
        trial.target,
        trial.candidate,
        trial.incumbent,
        core=trial.core,
        deadline=trial.deadline,
        min_gain_pct=trial.options.min_gain,
        guard=lambda speed, preparation: guarded(trial, speed, preparation, progress),
        progress=progress,
    )
