"""The verdict: the keep rule and every exit code, from evidence made by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_lance_ar.targets.pq_l2.target import PqL2
from pytest_lance_ar.trial.evidence import (
    AloneEvidence,
    ComboFigures,
    CorrectnessEvidence,
    Evidence,
    Examination,
    Failure,
    FaultKind,
    Interval,
    OriginEvidence,
    SpeedEvidence,
)
from pytest_lance_ar.trial.trial import Origin, Trial
from pytest_lance_ar.trial.verdict import ExitCode, Verdict, decide, gains
from tests.builders import (
    CANDIDATE,
    INCUMBENT,
    WRONG,
    all_passed,
    combos_of,
    correctness_of,
    evidence_of,
    guard,
    guards_of,
    incorrect,
    speed_of,
    trial_of,
)

TRIAL = trial_of()
FIRST_TRIAL = trial_of(incumbent=None)
SECOND_TRIAL = replace(TRIAL, origin=Origin(INCUMBENT, 1.5))
FAR_TRIAL = replace(TRIAL, origin=Origin(INCUMBENT, 4.0))
LONG_TRIAL = replace(TRIAL, origin=Origin(INCUMBENT, 4.0, keeps=9))
"""The incumbent claims to be one and a half times as fast as the first baseline, or four times by one keep or nine."""
CORRECTNESS_TRIAL = trial_of(phase="correctness")
TIMEOUT = Failure(FaultKind.TIMEOUT, "a call did not return within 10 s")
RAN_UNASKED = Failure(FaultKind.TAMPERED, "it ran for 5000 us while it was stopped")
LATE_AFTER_WAITING = evidence_of(speed=None, speed_failure=TIMEOUT, total_seconds=10.5, waited_seconds=5.0)
SKIPPED = correctness_of(*all_passed()[1:])
NO_EXAMPLES = correctness_of(replace(all_passed()[0], examples=0), *all_passed()[1:])
FAILED_UNSEEN = correctness_of(Examination("test_drawn_arrays", passed=False, examples=0))


def judged(speed: SpeedEvidence, trial: Trial = TRIAL) -> Verdict:
    return decide(trial, evidence_of(speed=speed))


def with_combo(place: int, **figures: Any) -> tuple[ComboFigures, ...]:
    """The combos of a clear gain, one of them with other figures."""
    combos = list(combos_of(0.9))
    combos[place] = replace(combos[place], **figures)
    return tuple(combos)


@pytest.mark.parametrize(
    ("trial", "evidence", "name", "code"),
    [
        (TRIAL, evidence_of(), "keep", 0),
        (FIRST_TRIAL, evidence_of(speed=speed_of(1.0), against_itself=True), "baseline", 0),
        (TRIAL, evidence_of(speed=speed_of(1.02)), "discard", 1),
        (trial_of(candidate=INCUMBENT), evidence_of(), "discard", 1),
        (TRIAL, evidence_of(correctness=incorrect()), "incorrect", 2),
        (TRIAL, evidence_of(speed=None, speed_failure=WRONG), "incorrect", 2),
        (FIRST_TRIAL, evidence_of(correctness=incorrect()), "incorrect", 2),
        (CORRECTNESS_TRIAL, evidence_of(correctness=incorrect(), speed=None), "incorrect", 2),
        (TRIAL, evidence_of(correctness=incorrect(TIMEOUT)), "timeout", 3),
        (TRIAL, evidence_of(speed=None, speed_failure=TIMEOUT), "timeout", 3),
        (TRIAL, evidence_of(total_seconds=600.001), "timeout", 3),
        (FIRST_TRIAL, evidence_of(total_seconds=600.001), "timeout", 3),
        (trial_of(budget=10.0), evidence_of(total_seconds=10.5), "timeout", 3),
        (trial_of(budget=10.0), evidence_of(total_seconds=10.5, waited_seconds=0.4), "timeout", 3),
        (trial_of(budget=10.0), evidence_of(total_seconds=10.5, waited_seconds=0.5), "inconclusive", 11),
        (trial_of(budget=10.0), LATE_AFTER_WAITING, "inconclusive", 11),
        (trial_of(budget=10.0), replace(LATE_AFTER_WAITING, correctness=incorrect()), "incorrect", 2),
        (trial_of(budget=10.0), replace(LATE_AFTER_WAITING, total_seconds=9.0), "timeout", 3),
        (TRIAL, evidence_of(speed=None, incumbent_failure=WRONG), "none", 4),
        (TRIAL, evidence_of(correctness=SKIPPED), "none", 5),
        (TRIAL, evidence_of(correctness=NO_EXAMPLES), "none", 5),
        (TRIAL, evidence_of(correctness=CorrectnessEvidence(frozenset({"test_battery"}))), "none", 5),
        (TRIAL, evidence_of(speed=None), "none", 5),
        (FIRST_TRIAL, evidence_of(speed=None), "none", 5),
        (CORRECTNESS_TRIAL, evidence_of(speed=None), "none", 5),
        (CORRECTNESS_TRIAL, evidence_of(), "none", 5),
        (TRIAL, evidence_of(speed=speed_of(alone=AloneEvidence(1.02, 1.03))), "keep", 0),
        (SECOND_TRIAL, evidence_of(speed=speed_of(0.9, origin=OriginEvidence(1.65, 1.03))), "keep", 0),
        (SECOND_TRIAL, evidence_of(speed=speed_of(0.9, origin=OriginEvidence(1.58, 1.04))), "keep", 0),
        (SECOND_TRIAL, evidence_of(speed=speed_of(0.9, origin=OriginEvidence(1.45, 1.03))), "discard", 1),
        (SECOND_TRIAL, evidence_of(speed=speed_of(0.9, origin=OriginEvidence(1.0, 1.03))), "discard", 1),
        # A large gain that is real hides no smaller one that is none.
        (FAR_TRIAL, evidence_of(speed=speed_of(0.8, origin=OriginEvidence(4.9, 1.03))), "keep", 0),
        (FAR_TRIAL, evidence_of(speed=speed_of(0.8, origin=OriginEvidence(4.0, 1.03))), "discard", 1),
        (
            LONG_TRIAL,
            evidence_of(speed=speed_of(0.9, origin=OriginEvidence(4.0, 1.03))),
            "keep",
            0,
        ),
        (TRIAL, evidence_of(speed=speed_of(alone=AloneEvidence(1.04, 1.03))), "inconclusive", 11),
        (TRIAL, evidence_of(speed=speed_of(0.8, alone=AloneEvidence(1.02, 1.03, 1.22, 1.04))), "keep", 0),
        (TRIAL, evidence_of(speed=speed_of(0.8, alone=AloneEvidence(1.02, 1.03, 1.02, 1.04))), "inconclusive", 11),
        # How large a large gain is depends on the pace of the host.
        (TRIAL, evidence_of(speed=speed_of(0.7576, alone=AloneEvidence(1.02, 1.03, 1.236, 1.051))), "keep", 0),
        (TRIAL, evidence_of(speed=speed_of(0.7576, alone=AloneEvidence(1.02, 1.03, 1.15, 1.04))), "inconclusive", 11),
        (TRIAL, evidence_of(speed=speed_of(alone=AloneEvidence(math.nan, 1.03))), "inconclusive", 11),
        (TRIAL, evidence_of(tampered=("tests/test_x.py",)), "tampered", 10),
        (TRIAL, evidence_of(correctness=incorrect(RAN_UNASKED)), "tampered", 10),
        (TRIAL, evidence_of(speed=None, speed_failure=RAN_UNASKED), "tampered", 10),
        (FIRST_TRIAL, evidence_of(tampered=("tests/test_x.py",)), "tampered", 10),
        (TRIAL, evidence_of(speed=speed_of(0.98, 0.9, 1.1)), "inconclusive", 11),
        (TRIAL, evidence_of(speed=speed_of(1.0, 0.9699, 1.03)), "inconclusive", 11),
        (TRIAL, evidence_of(speed=speed_of(1.0, 0.97, 1.03)), "discard", 1),
        (trial_of(min_gain=5.0), evidence_of(speed=speed_of(1.0, 0.96, 1.03)), "discard", 1),
        (trial_of(min_gain=5.0), evidence_of(speed=speed_of(1.0, 0.95, 1.03)), "inconclusive", 11),
        (trial_of(min_gain=0.1), evidence_of(speed=speed_of(1.0, 0.98, 1.03)), "discard", 1),
        (TRIAL, evidence_of(speed=speed_of(1.0, 0.95, 1.05, largest_gain=0.008)), "discard", 1),
        (TRIAL, evidence_of(speed=speed_of(0.995, 0.991, 0.999, largest_gain=0.008)), "discard", 1),
        (TRIAL, evidence_of(speed=speed_of(guards=guards_of(0.94, guard(1.06, 1.1, 1.2)))), "discard", 1),
        (TRIAL, evidence_of(speed=speed_of(guards=guards_of(1.02, low=1.001))), "discard", 1),
        (TRIAL, evidence_of(speed=speed_of(guards=None)), "discard", 1),
        (TRIAL, evidence_of(speed=speed_of(guards=guards_of(math.nan))), "none", 70),
        (TRIAL, evidence_of(speed=speed_of(1.05, 0.99, 1.11)), "discard", 1),  # wide, yet no gain to speak of
        (TRIAL, evidence_of(correctness=FAILED_UNSEEN), "none", 70),
        (TRIAL, evidence_of(internal_error="boom"), "none", 70),
        (TRIAL, evidence_of(speed=speed_of(0.9, 0.95, 0.85)), "none", 70),
        (TRIAL, evidence_of(interrupted=True), "none", 130),
    ],
)
def test_every_exit_code(trial: Trial, evidence: Evidence, name: str, code: int) -> None:
    verdict = decide(trial, evidence)
    assert (verdict.name, int(verdict.code)) == (name, code)
    assert verdict.kept == (code == 0)
    # A kept kernel needs no reason; everything else says why, in one line.
    assert bool(verdict.reason) == (code != 0)
    assert "\n" not in verdict.reason


@pytest.mark.parametrize(
    ("name", "code"),
    [("none", 0), ("none", 1), ("keep", 1), ("discard", 0), ("incorrect", 1), ("tampered", 0), ("another", 5)],
)
def test_no_word_goes_with_another_words_exit_code(name: str, code: int) -> None:
    with pytest.raises(ValueError, match="no verdict"):
        Verdict(name, ExitCode(code))


@pytest.mark.parametrize(
    ("trial", "figures", "confirmed", "reason"),
    [
        (
            TRIAL,
            (1.0012, 0.9931, 1.0094, 0.0062),
            False,
            "not strictly better: a gain of 1% or more has become unlikely (0.62% at the most, at an error of 10%); "
            "candidate / incumbent 1.0012 [0.9931, 1.0094]",
        ),
        (
            trial_of(min_gain=2.5),
            (0.99, 0.98, 1.0, 0.0151),
            True,
            "not strictly better: a first gain was not confirmed; a gain of 2.5% or more has become unlikely (1.51% at "
            "the most, at an error of 10%); candidate / incumbent 0.9900 [0.9800, 1.0000]",
        ),
        (
            TRIAL,
            (1.25, 1.23, 1.27, -0.2),
            False,
            "not strictly better: it is slower (by 25.0% at the least, at an error of 10%); candidate / incumbent "
            "1.2500 [1.2300, 1.2700]",
        ),
    ],
    ids=["equal", "unconfirmed", "slower"],
)
def test_the_reason_says_what_was_given_up(
    trial: Trial, figures: tuple[float, float, float, float], confirmed: bool, reason: str
) -> None:
    ratio, low, high, largest = figures
    assert judged(speed_of(ratio, low, high, largest_gain=largest, confirmed=confirmed), trial).reason == reason


# Each finding decides alone, and beside all that stand below it.
PRECEDENCE: list[tuple[int, dict[str, Any]]] = [
    (70, {"internal_error": "boom"}),
    (130, {"interrupted": True}),
    (10, {"tampered": ("tests/test_x.py",)}),
    (2, {"correctness": incorrect()}),
    (3, {"total_seconds": 601.0}),
    (2, {"speed_failure": WRONG}),
    (4, {"incumbent_failure": WRONG}),
    (1, {"speed": speed_of(1.02)}),
]


@pytest.mark.parametrize(("code", "finding"), PRECEDENCE)
def test_a_finding_decides_alone(code: int, finding: dict[str, Any]) -> None:
    assert decide(TRIAL, evidence_of(**finding)).code == code


@pytest.mark.parametrize("first", range(len(PRECEDENCE)))
def test_the_graver_finding_decides(first: int) -> None:
    findings = {name: value for _, finding in PRECEDENCE[first:] for name, value in finding.items()}
    assert decide(TRIAL, evidence_of(**findings)).code == PRECEDENCE[first][0]


def test_a_wrong_answer_counts_more_than_tests_that_did_not_run_or_time_that_ran_out() -> None:
    correctness = incorrect()
    assert correctness.missing
    assert decide(TRIAL, evidence_of(correctness=correctness, total_seconds=601.0)).code == ExitCode.INCORRECT


def test_the_first_failure_is_the_reason() -> None:
    later = Examination("test_drawn_arrays", passed=False, examples=1, failure=TIMEOUT)
    correctness = correctness_of(*incorrect().examinations, later)
    assert decide(TRIAL, evidence_of(correctness=correctness)).reason == f"{WRONG.where}: {WRONG.sentence}"


def test_the_budget_itself_is_within_the_budget() -> None:
    assert decide(TRIAL, evidence_of(total_seconds=600.0)).code == ExitCode.KEPT


def test_the_sentence_on_missing_tests_names_one_and_counts_them() -> None:
    expected = len(all_passed())
    assert decide(TRIAL, evidence_of(correctness=SKIPPED)).reason == (
        f"the gate did not run in full: 1 of {expected} tests did not pass, {all_passed()[0].test} among them"
    )


def test_the_sentence_on_sealed_files_names_three() -> None:
    names = ("a.py", "b.py", "c.py", "d.py", "e.py")
    assert decide(TRIAL, evidence_of(tampered=names)).reason == (
        "sealed since the baseline, yet changed: a.py, b.py, c.py and 2 more; restore it, or let a person seal the "
        "new state with --lance-ar-rebaseline"
    )


@pytest.mark.parametrize(("against", "way_out"), [(None, "--lance-ar-rebaseline"), ("main", "name another one")])
def test_an_incumbent_that_fails_is_the_users_to_mend(against: str | None, way_out: str) -> None:
    verdict = decide(trial_of(against=against), evidence_of(speed=None, incumbent_failure=WRONG))
    assert way_out in verdict.reason


@pytest.mark.parametrize(
    ("low", "high", "code"),
    [
        (0.5, math.nextafter(1.0, 0.0), ExitCode.KEPT),  # all of it below 1: its width does not matter
        (0.98, 1.0, ExitCode.DISCARD),
        (0.971, 1.029, ExitCode.DISCARD),
        (0.969, 1.01, ExitCode.INCONCLUSIVE),  # a gain of 3% is not excluded
        (0.99, 1.2, ExitCode.DISCARD),  # wide, but to the other side
        (1.0, 2.0, ExitCode.DISCARD),  # wide, but nowhere below 1
    ],
)
def test_the_whole_interval_lies_below_one(low: float, high: float, code: ExitCode) -> None:
    assert judged(speed_of(1.0, low, high)).code is code


def test_noise_does_not_excuse_the_incumbents_own_file() -> None:
    assert judged(speed_of(0.98, 0.9, 1.1), trial_of(candidate=INCUMBENT)).code is ExitCode.DISCARD


def test_the_worst_combo_may_take_105_percent_of_the_incumbents_worst() -> None:
    worst = combos_of(0.9)[-1].incumbent_ns
    at_the_guard = with_combo(0, candidate_ns=1.05 * worst)
    beyond = with_combo(0, candidate_ns=math.nextafter(1.05 * worst, math.inf))
    assert judged(speed_of(combos=at_the_guard)).code is ExitCode.KEPT
    verdict = judged(speed_of(combos=beyond))
    assert verdict.code is ExitCode.DISCARD
    assert verdict.reason.startswith(f"the worst combo, {beyond[0].name}, takes ")


@pytest.mark.parametrize("place", range(len(combos_of(1.0))))
def test_every_combo_may_take_105_percent_of_its_own_figure(place: int) -> None:
    assert judged(speed_of(combos=with_combo(place, ratio=1.05))).code is ExitCode.KEPT
    verdict = judged(speed_of(combos=with_combo(place, ratio=math.nextafter(1.05, 2))))
    assert verdict.code is ExitCode.DISCARD
    assert verdict.reason.startswith(f"{combos_of(1.0)[place].name} takes 1.050 x")


@pytest.mark.parametrize(
    ("low", "ratio", "code"),
    [
        (1.05, 1.2, ExitCode.KEPT),  # not shown to be above 1.05
        (math.nextafter(1.05, 2), 1.06, ExitCode.DISCARD),
        (0.6, 3.0, ExitCode.KEPT),  # looks slow, and may be fast
    ],
)
def test_no_guard_workload_may_be_shown_to_be_above_105_percent(low: float, ratio: float, code: ExitCode) -> None:
    assert judged(speed_of(guards=guards_of(0.94, guard(low, ratio, 4.0)))).code is code


def test_a_guard_that_fails_is_named_with_the_command_that_times_it_again() -> None:
    worse = guard(1.08, 1.12, 1.17, "(96,12,256), clustered, N 900, k 1")
    noisy = guard(0.5, 1.5, 4.0, "(96,12,256), sparse, N 200, k 1")
    speed = speed_of(guards=guards_of(0.94, noisy, worse, guard(1.06, 1.3, 1.5)))
    assert judged(speed).reason == (
        "slower elsewhere: the guard workload ((96,12,256), clustered, N 900, k 1) takes 1.120 [1.080, 1.170] x the "
        "incumbent's time, and none may be shown above 1.05; so is another one; see it again: python -m "
        "pytest_lance_ar bench --workload 'shape=96,12,256 distribution=clustered seed=3 n=700 k=100' "
        "--against incumbent"
    )
    in_ci = judged(speed, trial_of(against="origin/main")).reason
    assert in_ci.endswith("--against origin/main")


def test_the_guards_together_may_not_be_shown_to_be_slower() -> None:
    assert judged(speed_of(guards=guards_of(1.02, low=1.0))).code is ExitCode.KEPT
    verdict = judged(speed_of(guards=guards_of(1.02, low=math.nextafter(1.0, 2))))
    assert verdict.code is ExitCode.DISCARD
    assert verdict.reason.startswith("slower elsewhere: all 14 guard workloads together take 1.020 [1.000, ")


def test_what_is_no_gain_is_not_held_against_the_guards() -> None:
    speed = speed_of(1.02, guards=guards_of(0.94, guard(1.06, 1.1, 1.2)))
    assert judged(speed).reason.startswith("not strictly better")
    assert gains(TRIAL, speed_of(guards=None)).kept


def test_a_target_without_guard_workloads_needs_none() -> None:
    class Without(PqL2):
        def guards(self, seed: int) -> tuple[()]:
            return ()

    assert judged(speed_of(guards=None), replace(TRIAL, target=Without())).kept


NOT_FINITE = (math.nan, math.inf, -math.inf)
FIGURES = ("ratio", "low", "high", *(f"{name} of a combo" for name in ("candidate_ns", "incumbent_ns", "ratio")))


def with_figure(speed: SpeedEvidence, figure: str, place: int, value: float) -> SpeedEvidence:
    if figure == "ratio":
        return replace(speed, ratio=value)
    if figure in ("low", "high"):
        return replace(speed, ratio_interval=replace(speed.ratio_interval, **{figure: value}))
    combos = list(speed.combos)
    changes: dict[str, Any] = {figure.removesuffix(" of a combo"): value}
    combos[place] = replace(combos[place], **changes)
    return replace(speed, combos=tuple(combos))


@pytest.mark.parametrize("trial", [TRIAL, FIRST_TRIAL], ids=["incumbent", "baseline"])
@pytest.mark.parametrize("figure", FIGURES)
@given(value=st.sampled_from(NOT_FINITE), place=st.integers(0, 8))
def test_a_figure_that_is_no_number_is_never_kept(trial: Trial, figure: str, value: float, place: int) -> None:
    assert judged(with_figure(speed_of(0.9), figure, place, value), trial).code != ExitCode.KEPT


ratios = st.floats(0.5, 1.5)


@st.composite
def speeds(draw: st.DrawFn) -> SpeedEvidence:
    """Figures around 1 that need not agree with each other."""
    low, high = draw(ratios), draw(ratios)
    combos = tuple(
        replace(combo, ratio=ratio, candidate_ns=combo.incumbent_ns * ratio)
        for combo, ratio in zip(combos_of(1.0), draw(st.tuples(*[ratios] * 9)), strict=True)
    )
    return speed_of(draw(ratios), low, high, combos=combos)


@st.composite
def evidences(draw: st.DrawFn) -> Evidence:
    """Anything that a run might find out: mostly in order, each finding wrong now and then."""
    rarely = st.integers(0, 5).map(lambda number: number == 0)
    examinations = tuple(
        replace(
            e, passed=not draw(rarely), examples=draw(st.integers(0, 3)), failure=draw(st.sampled_from([None, WRONG]))
        )
        if draw(rarely)
        else e
        for e in all_passed()[: -1 if draw(rarely) else None]
    )
    return Evidence(
        CorrectnessEvidence(frozenset(e.test for e in all_passed()), examinations),
        speed=None if draw(rarely) else draw(speeds()),
        speed_failure=draw(st.sampled_from([WRONG, TIMEOUT])) if draw(rarely) else None,
        incumbent_failure=WRONG if draw(rarely) else None,
        tampered=("pyproject.toml",) if draw(rarely) else (),
        interrupted=draw(rarely),
        internal_error="boom" if draw(rarely) else "",
        total_seconds=draw(st.sampled_from([10.0, 601.0])) if draw(rarely) else 10.0,
    )


@settings(max_examples=150)
@given(evidence=evidences(), first=st.booleans(), phase=st.sampled_from(["all", "all", "correctness"]))
def test_zero_needs_a_complete_correct_run_that_measured(evidence: Evidence, first: bool, phase: str) -> None:
    trial = trial_of(incumbent=None if first else INCUMBENT, phase=phase)
    if decide(trial, evidence).code != ExitCode.KEPT:
        return
    assert not evidence.correctness.missing
    assert not evidence.correctness.failed
    assert not evidence.correctness.failure
    assert not evidence.tampered
    assert not evidence.interrupted
    assert not evidence.internal_error
    assert not evidence.speed_failure
    assert not evidence.incumbent_failure
    assert evidence.total_seconds <= trial.options.budget
    assert phase == "all"
    assert evidence.speed is not None
    if trial.incumbent is not None:
        assert 0 < evidence.speed.ratio_interval.low <= evidence.speed.ratio_interval.high < 1
        assert all(combo.candidate_ns <= 1.05 * combo.incumbent_ns for combo in evidence.speed.combos)


@settings(max_examples=150)
@given(speed=speeds())
def test_a_complete_run_is_kept_exactly_when_the_rule_says_so(speed: SpeedEvidence) -> None:
    interval, combos = speed.ratio_interval, speed.combos
    rule = (
        interval.low <= interval.high < 1
        and max(c.candidate_ns for c in combos) <= 1.05 * max(c.incumbent_ns for c in combos)
        and all(combo.ratio <= 1.05 for combo in combos)
    )
    assert judged(speed).kept == rule


def test_the_verdict_does_not_depend_on_where_the_project_lies() -> None:
    assert decide(trial_of(root=Path("/elsewhere")), evidence_of()) == decide(TRIAL, evidence_of())


def test_the_builders_two_kernels_differ() -> None:
    # Else every verdict above would be on a file that duels with itself.
    assert CANDIDATE.sha256 != INCUMBENT.sha256
    assert speed_of(0.9).ratio_interval == Interval(0.9 * 0.995, 0.9 * 1.005)


@pytest.mark.parametrize("trial", [TRIAL, FIRST_TRIAL])
def test_a_combo_that_no_core_could_do_in_that_time_is_tampered(trial: Trial) -> None:
    """One combo driven to nothing would carry the geomean, whatever the others take."""
    at_the_floor = with_combo(3, floor_ns=900.0, candidate_ns=900.0)
    assert judged(speed_of(combos=at_the_floor), trial).code is ExitCode.KEPT
    below = with_combo(3, floor_ns=900.0, candidate_ns=899.0)
    verdict = judged(speed_of(combos=below), trial)
    assert verdict.code is ExitCode.TAMPERED
    assert f"{below[3].name} took 899 ns a query" in verdict.reason
    assert "900 ns" in verdict.reason
