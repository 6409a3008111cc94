"""From evidence to a verdict: the keep rule and the exit codes of the contract. Pure functions."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from pytest_lance_ar.trial.evidence import (
    NO_KERNELS,
    AloneEvidence,
    ComboFigures,
    Evidence,
    Failure,
    FaultKind,
    GuardEvidence,
    SpeedEvidence,
)
from pytest_lance_ar.trial.trial import Trial

GUARD: Final = 1.05
"""How much slower than the incumbent's own figure a combo, or a guard workload, may be."""
NO_SLOWER: Final = 1.01
"""What a simplification must be shown to stay below, of the time of the fastest kernel kept."""
FUTILITY_ERROR: Final = 0.10
"""One-sided, of giving up a gain that is worth finding, over all looks of a stage."""
REAL_SHARE: Final = 0.8
"""Of what is claimed, as a logarithm, how much must show once more."""
LUCK: Final = 0.02
"""What luck adds to what all keeps claim together, at each keep."""
OTHERS: Final = 0.03
"""What another kernel's data in the caches, and the placement of arrays and code anew, may cost honestly: part of the
error of what is timed once more."""
WORTHWHILE: Final = 0.97
"""A candidate that may still be this much of the incumbent, or less, is not called no better: it was not resolved."""


class ExitCode(IntEnum):
    """What `pytest --lance-ar` exits with."""

    KEPT = 0
    DISCARD = 1
    INCORRECT = 2
    TIMEOUT = 3
    USAGE = 4
    NONE = 5
    TAMPERED = 10
    INCONCLUSIVE = 11
    INTERNAL = 70
    INTERRUPTED = 130


CODES: Final = {
    "keep": frozenset({ExitCode.KEPT}),
    "baseline": frozenset({ExitCode.KEPT}),
    "simpler": frozenset({ExitCode.KEPT}),
    "discard": frozenset({ExitCode.DISCARD}),
    "incorrect": frozenset({ExitCode.INCORRECT}),
    "timeout": frozenset({ExitCode.TIMEOUT}),
    "tampered": frozenset({ExitCode.TAMPERED}),
    "inconclusive": frozenset({ExitCode.INCONCLUSIVE}),
    "none": frozenset({ExitCode.USAGE, ExitCode.NONE, ExitCode.INTERNAL, ExitCode.INTERRUPTED}),
}
"""The exit codes that a verdict may go with. No other pair can be made."""


@dataclass(frozen=True)
class Verdict:
    """The word, the exit code that goes with it, and why."""

    name: str
    code: ExitCode
    reason: str = ""

    def __post_init__(self) -> None:
        if self.code not in CODES.get(self.name, ()):
            raise ValueError(f"no verdict {self.name!r} ends with {int(self.code)}")

    @property
    def kept(self) -> bool:
        return self.code is ExitCode.KEPT

    @property
    def recorded(self) -> bool:
        """Whether it leaves a row in the ledger: a run without a verdict was no trial."""
        return self.name != "none"


def decide(trial: Trial, evidence: Evidence) -> Verdict:
    """Judge the evidence. What is not complete, correct and faster is refused before 0 is reached."""
    correctness = evidence.correctness
    if evidence.internal_error:
        return Verdict("none", ExitCode.INTERNAL, evidence.internal_error)
    if evidence.interrupted:
        return Verdict("none", ExitCode.INTERRUPTED, "interrupted")
    if evidence.tampered:
        return Verdict("tampered", ExitCode.TAMPERED, _sealed_sentence(evidence.tampered))
    if _kept_waiting(trial, evidence):
        return Verdict("inconclusive", ExitCode.INCONCLUSIVE, _waited_sentence(trial, evidence))
    if correctness.failure:
        return _of_failure(correctness.failure)
    if correctness.failed:
        return Verdict("none", ExitCode.INTERNAL, "a test of the suite failed without examining the kernel")
    if evidence.total_seconds > trial.options.budget:
        return Verdict("timeout", ExitCode.TIMEOUT, f"over the budget of {trial.options.budget:g} s")
    if correctness.missing:
        return Verdict("none", ExitCode.NONE, _incomplete_sentence(correctness.missing, len(correctness.expected)))
    if trial.options.phase == "correctness":
        return Verdict("none", ExitCode.NONE, "correct; speed was not measured (--lance-ar-phase correctness)")
    if evidence.speed_failure:
        return _of_failure(evidence.speed_failure)
    if evidence.incumbent_failure:
        return Verdict("none", ExitCode.USAGE, _incumbent_sentence(trial, evidence.incumbent_failure))
    if evidence.speed is None:
        return Verdict("none", ExitCode.NONE, "speed was not measured")
    if not _sound(evidence.speed):
        return Verdict("none", ExitCode.INTERNAL, "a figure of the measurement is no positive number, or no interval")
    for combo in evidence.speed.combos:
        if combo.candidate_ns < combo.floor_ns:
            return Verdict("tampered", ExitCode.TAMPERED, _impossible_sentence(combo))
    if trial.incumbent is None:
        return Verdict("baseline", ExitCode.KEPT)
    return compare(trial, evidence.speed)


def compare(trial: Trial, speed: SpeedEvidence) -> Verdict:
    """The keep rule's second half: is a correct candidate faster than the incumbent, and nowhere much slower?"""
    verdict = gains(trial, speed)  # or no loss, of a simplification
    if not verdict.kept:
        return verdict
    refused = guards_refuse(trial, speed.guards)
    if refused:
        return Verdict("discard", ExitCode.DISCARD, refused)
    alone = speed.alone
    if alone is not None and not (alone.slowdown <= alone.explained and shows_again(1 / speed.ratio, alone)):
        return Verdict("inconclusive", ExitCode.INCONCLUSIVE, _not_alone_sentence(alone, 1 / speed.ratio))
    unreal = claim_refuses(trial, speed)
    if unreal:
        return Verdict("discard", ExitCode.DISCARD, unreal)
    return verdict


def guards_refuse(trial: Trial, guards: GuardEvidence | None) -> str:
    """Why the guard workloads forbid to keep a candidate, "" when they do not."""
    if guards is None:
        return "the guard workloads were not timed" if trial.target.guards(0) else ""
    worst, geomean = guards.worst, guards.interval
    if not worst.interval.low <= GUARD:
        slower = sum(not guard.interval.low <= GUARD for guard in guards.workloads)
        return (
            f"slower elsewhere: the guard workload ({worst.name}) takes {worst.ratio:.3f} [{worst.interval.low:.3f}, "
            f"{worst.interval.high:.3f}] x the incumbent's time, and none may be shown above {GUARD}"
            + (f"; so are {slower - 1} others" if slower > 2 else "; so is another one" if slower == 2 else "")
            + f"; see it again: python -m pytest_lance_ar bench --workload '{worst.spec}' --against "
            + (shlex.quote(trial.options.against) if trial.options.against else "incumbent")
        )
    if not geomean.low <= 1.0:
        return (
            f"slower elsewhere: all {len(guards.workloads)} guard workloads together take {guards.ratio:.3f} "
            f"[{geomean.low:.3f}, {geomean.high:.3f}] x the incumbent's time, ({worst.name}) the most"
        )
    return ""


def shows_again(gain: float, alone: AloneEvidence) -> bool:
    """Whether the gain of a duel shows in the rounds after it. How large one is depends on the pace of the host, of its
    memory above all: of a large one, the share that need not be real may be more than OTHERS explains."""
    pace = max(0.0, (1 - REAL_SHARE) * math.log(gain) - OTHERS)
    return math.log(alone.gain * alone.error) >= math.log(gain) - pace


def claim_refuses(trial: Trial, speed: SpeedEvidence) -> str:
    """Why what all keeps claim together is not real, "" when it is, as far as was asked."""
    if trial.origin is None or speed.origin is None:
        return ""
    claimed = trial.origin.claimed / speed.ratio
    gain, error = speed.origin.gain, speed.origin.error
    luck = min(LUCK * (trial.origin.keeps + 1), (1 - REAL_SHARE) * math.log(claimed))
    if math.log(gain * error) >= math.log(claimed) - luck:
        return ""
    return (
        f"the gains kept since the first baseline and this one claim {claimed:.3f} x together; timed against that "
        f"baseline, with no incumbent about, it is {gain:.3f} [{gain / error:.3f}, {gain * error:.3f}] x as fast: a "
        "gain that shows beside an older edition alone is none"
    )


def gains(trial: Trial, speed: SpeedEvidence) -> Verdict:
    """What the combos alone say."""

    def discard(reason: str) -> Verdict:
        return Verdict("discard", ExitCode.DISCARD, reason)

    ratio, interval = speed.ratio, speed.ratio_interval
    figures = f"candidate / incumbent {ratio:.4f} [{interval.low:.4f}, {interval.high:.4f}]"
    if trial.incumbent is not None and trial.candidate.sha256 == trial.incumbent.sha256:
        return discard("the very file that is the incumbent")
    if trial.simplify:
        if not interval.high < NO_SLOWER:
            if interval.low < WORTHWHILE:
                return _too_noisy(figures)
            return discard(f"smaller, and not shown to be as fast: {figures}; it must be below {NO_SLOWER}")
    elif speed.largest_gain is not None:
        return discard(f"not strictly better: {_unconfirmed(speed)}{_futile_sentence(trial, speed)}; {figures}")
    elif not interval.high < 1.0:
        if interval.low < min(WORTHWHILE, 1 / (1 + trial.options.min_gain / 100)):
            return _too_noisy(figures)
        return discard(f"not strictly better: {_unconfirmed(speed)}{figures}")
    if not speed.worst.candidate_ns <= GUARD * speed.incumbent_worst_ns:
        return discard(
            f"the worst combo, {speed.worst.name}, takes {speed.worst.candidate_ns:.0f} ns; the guard allows {GUARD} x "
            f"the incumbent's worst of {speed.incumbent_worst_ns:.0f} ns"
        )
    for combo in speed.combos:
        if not combo.ratio <= GUARD:
            return discard(f"{combo.name} takes {combo.ratio:.3f} x its incumbent figure; the guard allows {GUARD}")
    if trial.simplify:
        return Verdict("simpler", ExitCode.KEPT)
    if not speed.confirmed:
        return discard(f"not confirmed on other processes and other data: {figures}")
    return Verdict("keep", ExitCode.KEPT)


def _kept_waiting(trial: Trial, evidence: Evidence) -> bool:
    """Whether the budget is used up, and would not be but for other gates: no kernel is to blame for that."""
    failure = evidence.correctness.failure or evidence.speed_failure
    out_of_time = failure.kind is FaultKind.TIMEOUT if failure else not evidence.correctness.failed
    budget = trial.options.budget
    return out_of_time and evidence.total_seconds > budget >= evidence.total_seconds - evidence.waited_seconds


def _waited_sentence(trial: Trial, evidence: Evidence) -> str:
    return (
        f"{evidence.waited_seconds:.0f} s of the budget of {trial.options.budget:g} s went by waiting for other gates "
        "on this machine, and the rest was too short; run it again"
    )


def _not_alone_sentence(alone: AloneEvidence, gain: float) -> str:
    if alone.slowdown <= alone.explained:
        return (
            f"the candidate was {gain:.3f} x as fast as the incumbent in the duel, and {alone.gain:.3f} "
            f"[{alone.gain / alone.error:.3f}, {alone.gain * alone.error:.3f}] x when they were timed once more: run "
            "it again"
        )
    return (
        f"the incumbent took {alone.slowdown:.3f} x as long beside the candidate as without it, and this host explains "
        f"{alone.explained:.3f} at the most; the gain may be the candidate's presence: run it again"
    )


def _unconfirmed(speed: SpeedEvidence) -> str:
    return "a first gain was not confirmed; " if speed.confirmed else ""


def _futile_sentence(trial: Trial, speed: SpeedEvidence) -> str:
    """Why the duel gave up, with the bound that the rule of futility goes by."""
    assert speed.largest_gain is not None
    error = f"at an error of {FUTILITY_ERROR:.0%}"
    if speed.largest_gain < 0:
        return f"it is slower (by {100 * (1 / (1 + speed.largest_gain) - 1):.1f}% at the least, {error})"
    return (
        f"a gain of {trial.options.min_gain:g}% or more has become unlikely "
        f"({100 * speed.largest_gain:.2f}% at the most, {error})"
    )


def _too_noisy(figures: str) -> Verdict:
    sentence = f"the host is too noisy to decide: {figures}; run it again on a quieter machine"
    return Verdict("inconclusive", ExitCode.INCONCLUSIVE, sentence)


def _sound(speed: SpeedEvidence) -> bool:
    combos = [figure for combo in speed.combos for figure in (combo.candidate_ns, combo.incumbent_ns, combo.ratio)]
    intervals = [speed.geomean_interval, speed.ratio_interval]
    figures = [speed.geomean_ns, speed.incumbent_geomean_ns, speed.ratio, *combos]
    if speed.guards:
        guards = speed.guards
        intervals += [guards.interval, *(guard.interval for guard in guards.workloads)]
        figures += [guards.ratio, *(guard.ratio for guard in guards.workloads)]
    figures += [end for interval in intervals for end in (interval.low, interval.high)]
    return all(math.isfinite(figure) and figure > 0 for figure in figures) and all(i.low <= i.high for i in intervals)


def _of_failure(failure: Failure) -> Verdict:
    if failure.kind is FaultKind.TIMEOUT:
        return Verdict("timeout", ExitCode.TIMEOUT, str(failure))
    if failure.kind in NO_KERNELS:
        return Verdict("inconclusive", ExitCode.INCONCLUSIVE, str(failure))
    if failure.kind is FaultKind.TAMPERED:
        return Verdict("tampered", ExitCode.TAMPERED, str(failure))
    return Verdict("incorrect", ExitCode.INCORRECT, str(failure))


def _sealed_sentence(changes: tuple[str, ...]) -> str:
    more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
    return (
        f"sealed since the baseline, yet changed: {', '.join(changes[:3])}{more}; restore it, or let a person seal the "
        "new state with --lance-ar-rebaseline"
    )


def _impossible_sentence(combo: ComboFigures) -> str:
    return (
        f"{combo.name} took {combo.candidate_ns:.0f} ns a query; no core can do what it takes in less than "
        f"{combo.floor_ns:.0f} ns, so the kernel did not do the work while it was timed"
    )


def _incumbent_sentence(trial: Trial, failure: Failure) -> str:
    way_out = "name another one" if trial.options.against else "run once with --lance-ar-rebaseline"
    return f"{trial.incumbent_origin} is no working kernel here ({failure}); {way_out}"


def _incomplete_sentence(missing: frozenset[str], expected: int) -> str:
    first = sorted(missing)[0]
    return f"the gate did not run in full: {len(missing)} of {expected} tests did not pass, {first} among them"
