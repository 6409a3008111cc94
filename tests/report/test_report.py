"""The report: one set of facts in the terminal's block, the JSON, the ledger's row and the JUnit properties."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_lance_ar import __version__
from pytest_lance_ar.report import report as report_module
from pytest_lance_ar.report.report import SCHEMA_VERSION, Report, header
from pytest_lance_ar.store import ledger
from pytest_lance_ar.trial.evidence import ComboFigures, Evidence, Failure, FaultKind, Interval, SpeedEvidence
from pytest_lance_ar.trial.trial import Trial
from pytest_lance_ar.trial.verdict import ExitCode, decide
from tests.builders import (
    CANDIDATE,
    INCUMBENT,
    WRONG,
    all_passed,
    correctness_of,
    evidence_of,
    guard,
    guards_of,
    incorrect,
    speed_of,
    trial_of,
)

TESTED = """\
shapes_tested:         (128,16,256) (256,16,256) (768,96,256)
distributions_tested:  clustered uniform sparse
"""
KEEP = f"""\
---
verdict:               keep
correctness:           pass
{TESTED}\
geomean_ns_per_query:  16200
geomean_ns_ci_90pct:   [16111, 16290]
worst_ns_per_query:    16200 ((768,96,256), sparse)
best_ns_per_query:     9000 ((128,16,256), clustered)
per_combo_geomean_ns:
  (128,16,256) clustered -> 9000 ns
  (128,16,256) uniform -> 9900 ns
  (128,16,256) sparse -> 10800 ns
  (256,16,256) clustered -> 11700 ns
  (256,16,256) uniform -> 12600 ns
  (256,16,256) sparse -> 13500 ns
  (768,96,256) clustered -> 14400 ns
  (768,96,256) uniform -> 15300 ns
  (768,96,256) sparse -> 16200 ns
incumbent_geomean_ns_per_query: 18000
speedup_vs_incumbent:  1.1111 [1.1056, 1.1167]
noise_floor_pct:       0.3
guard_worst:           1.012 [0.991, 1.034] ((96,12,256), clustered, N 700, k 100)
guard_geomean:         0.94 [0.94, 0.94] over 14 workloads
pack_seconds:          0.02
peak_mem_mb:           28.4
total_seconds:         12.3
"""
INCORRECT = f"""\
---
verdict:               incorrect
correctness:           fail
first_failure:         {WRONG.where}: {WRONG.sentence}
hint:                  {WRONG.hint}
replay:                python -m pytest_lance_ar replay 'shape=1,1,1'
{TESTED}\
total_seconds:         3.0
"""
GUARDS = guards_of(0.94, guard(0.991, 1.012, 1.034))
INCUMBENT_LINES = re.compile(r"^(incumbent_geomean_ns_per_query|speedup_vs_incumbent):.*\n", re.MULTILINE)


def report_of(trial: Trial, evidence: Evidence, replay: str = "") -> Report:
    return Report(trial, evidence, decide(trial, evidence), replay)


def keep(**options: Any) -> Report:
    return report_of(trial_of(**options), evidence_of(speed=speed_of(guards=GUARDS)))


def failing(failure: Failure = WRONG) -> Report:
    return report_of(
        trial_of(),
        evidence_of(correctness=incorrect(failure), speed=None, total_seconds=3.0),
        "python -m pytest_lance_ar replay 'shape=1,1,1'",
    )


def every_kind() -> dict[str, Report]:
    first = trial_of(incumbent=None)
    return {
        "keep": keep(),
        "baseline": report_of(first, evidence_of(speed=speed_of(1.0), against_itself=True)),
        "discard": report_of(trial_of(), evidence_of(speed=speed_of(1.02))),
        "given up": report_of(trial_of(), evidence_of(speed=speed_of(1.0, largest_gain=0.004))),
        "incorrect": failing(),
        "timed call": report_of(trial_of(), evidence_of(speed=None, speed_failure=WRONG)),
        "timeout": report_of(trial_of(), evidence_of(total_seconds=601.0)),
        "tampered": report_of(trial_of(), evidence_of(speed=None, tampered=("tests/a.py",))),
        "incomplete": report_of(trial_of(), evidence_of(correctness=correctness_of(all_passed()[0]), speed=None)),
        "inconclusive": report_of(trial_of(), evidence_of(speed=speed_of(0.98, 0.9, 1.1))),
    }


KINDS = sorted(every_kind())


def values_of(block: str) -> dict[str, str]:
    """The keys at column 0 and their values."""
    return dict(re.findall(r"^([a-z_0-9]+):[ ]*(.*)$", block, re.MULTILINE))


def test_the_block_of_a_kept_kernel() -> None:
    assert keep().as_text() == KEEP


def test_the_block_of_a_first_kernel_compares_with_nothing() -> None:
    report = report_of(trial_of(incumbent=None), evidence_of(against_itself=True, speed=speed_of(guards=None)))
    expected = KEEP.replace("verdict:               keep", "verdict:               baseline")
    expected = INCUMBENT_LINES.sub(lambda match: f"{match[1] + ':':<22} -\n", expected)
    assert report.as_text() == re.sub(r"guard_.*\n", "", expected)


def test_the_block_of_a_discarded_kernel_says_why() -> None:
    first, *others = speed_of(0.9).combos
    report = report_of(
        trial_of(), evidence_of(speed=speed_of(combos=(replace(first, ratio=1.2), *others), guards=GUARDS))
    )
    assert report.as_text() == KEEP.replace("verdict:               keep", "verdict:               discard").replace(
        "correctness:           pass\n",
        "correctness:           pass\n"
        "reason:                (128,16,256) clustered takes 1.200 x its incumbent figure; the guard allows 1.05\n",
    )


def test_the_block_of_an_incorrect_kernel_has_the_failure_and_no_speed() -> None:
    assert failing().as_text() == INCORRECT


def test_a_failure_of_a_timed_call_is_shown_as_the_first_failure() -> None:
    text = every_kind()["timed call"].as_text()
    assert f"correctness:           fail\nfirst_failure:         {WRONG}\n" in text


@pytest.mark.parametrize("kind", ["discard", "timeout", "tampered", "incomplete", "inconclusive"])
def test_what_is_not_kept_has_its_reason_behind_the_correctness(kind: str) -> None:
    report = every_kind()[kind]
    lines = report.as_text().splitlines()
    assert lines[3] == f"reason:                {report.verdict.reason}"


@pytest.mark.parametrize(
    ("kind", "correctness"),
    [
        ("keep", "pass"),
        ("baseline", "pass"),
        ("discard", "pass"),
        ("incorrect", "fail"),
        ("timed call", "fail"),
        ("incomplete", "incomplete"),
        ("inconclusive", "pass"),
    ],
)
def test_the_word_for_correctness(kind: str, correctness: str) -> None:
    assert every_kind()[kind].correctness == correctness


def test_an_rtol_is_said_in_the_block_and_in_the_ledger() -> None:
    report = keep(rtol=1e-6, note="two lanes")
    assert "\nrtol:                  1e-06 (rounding-level differences allowed)\n" in report.as_text()
    assert report.as_row()["description"] == "two lanes [rtol 1e-06]"
    assert keep(rtol=1e-6).as_row()["description"] == "[rtol 1e-06]"
    assert keep(note="two lanes").as_row()["description"] == "two lanes"
    assert "rtol" not in keep().as_text()


@pytest.mark.parametrize("kind", KINDS)
def test_the_keys_stand_at_column_0_and_the_values_at_column_23(kind: str) -> None:
    first, *lines = every_kind()[kind].as_text().splitlines()
    assert first == "---"
    for line in lines:
        key = line.partition(":")[0]
        if line.startswith("  "):
            assert re.fullmatch(r"  \([0-9,]+\) [a-z]+ -> [0-9]+ ns", line)
        elif line != "per_combo_geomean_ns:":
            assert re.fullmatch(r"[a-z_0-9]+: +[^ ].*", line)
            value_at = len(line) - len(line.partition(":")[2].lstrip())
            assert value_at == max(23, len(key) + 2)


@pytest.mark.parametrize("kind", KINDS)
def test_the_keys_always_come_in_the_same_order(kind: str) -> None:
    order = list(values_of(KEEP))
    order[2:2] = ["first_failure", "reason", "hint", "replay"]
    keys = list(values_of(every_kind()[kind].as_text()))
    assert keys == [key for key in order if key in keys]
    assert {"verdict", "correctness", "shapes_tested", "distributions_tested", "total_seconds"} <= set(keys)


def test_the_guards_are_the_same_in_every_view() -> None:
    report = keep()
    r, row, properties = report.as_dict(), report.as_row(), report.as_properties()
    assert (r["guard_worst"], r["guard_worst_interval"]) == (1.012, [0.991, 1.034])
    assert (r["guard_geomean"], r["guard_seed"], r["guard_seconds"]) == (0.94, 5, 4.5)
    assert len(r["guards"]) == 14
    worst = r["guards"][-1]
    assert (worst["name"], worst["spec"]) == (r["guard_worst_workload"], r["guard_worst_spec"])
    assert (worst["ratio"], worst["interval"]) == (1.012, [0.991, 1.034])
    assert row["guard_worst_spec"] == worst["spec"]
    assert (row["guard_worst"], row["guard_worst_lo"], row["guard_worst_hi"]) == ("1.0120", "0.9910", "1.0340")
    assert (row["guard_geomean"], row["guard_geomean_lo"], row["guard_geomean_hi"]) == ("0.9400", "0.9391", "0.9409")
    assert properties["guard_worst"] == "1.012"
    assert properties["guard_worst_workload"] == worst["name"]


def test_where_no_guard_was_timed_none_is_told() -> None:
    report = every_kind()["discard"]
    assert "guard" not in report.as_text()
    assert report.as_dict()["guards"] == []
    assert not any(report.as_row().get(name) for name in ("guard_worst", "guard_geomean", "guard_worst_spec"))


positive = st.floats(0.001, 1e9)


@st.composite
def measured(draw: st.DrawFn) -> SpeedEvidence:
    speed = speed_of(draw(st.floats(0.01, 100)))
    return replace(
        speed,
        combos=tuple(
            ComboFigures(combo.shape, combo.distribution, draw(positive), draw(positive), draw(positive))
            for combo in speed.combos
        ),
        geomean_ns=draw(positive),
        geomean_interval=Interval(draw(positive), draw(positive)),
        incumbent_geomean_ns=draw(positive),
        noise_floor_pct=draw(positive),
        pack_seconds=draw(positive),
        peak_mem_mb=draw(st.one_of(positive, st.just(math.nan))),
    )


@given(speed=measured(), against_itself=st.booleans(), seconds=st.floats(0, 600))
def test_every_printed_figure_is_the_jsons_rounded(speed: SpeedEvidence, against_itself: bool, seconds: float) -> None:
    evidence = evidence_of(speed=speed, against_itself=against_itself, total_seconds=seconds)
    trial = trial_of(incumbent=None if against_itself else INCUMBENT)
    report = report_of(trial, evidence)
    facts, printed, text = json.loads(report.as_json()), values_of(report.as_text()), report.as_text()

    def extreme(name: str) -> str:
        shape, distribution = facts[name]["combo"]
        return f"{facts[name]['ns']:.0f} ({shape}, {distribution})"

    low, high = facts["geomean_ns_ci_90pct"]
    assert printed["verdict"] == facts["verdict"]
    assert printed["correctness"] == facts["correctness"]
    assert printed.get("reason") == facts["reason"]
    assert printed["shapes_tested"].split() == facts["shapes_tested"]
    assert printed["distributions_tested"].split() == facts["distributions_tested"]
    assert printed["geomean_ns_per_query"] == f"{facts['geomean_ns_per_query']:.0f}"
    assert printed["geomean_ns_ci_90pct"] == f"[{low:.0f}, {high:.0f}]"
    assert printed["worst_ns_per_query"] == extreme("worst")
    assert printed["best_ns_per_query"] == extreme("best")
    assert re.findall(r"^  (\S+) (\S+) -> (\d+) ns$", text, re.MULTILINE) == [
        (combo["shape"], combo["distribution"], f"{combo['candidate_ns']:.0f}") for combo in facts["per_combo"]
    ]
    assert printed["noise_floor_pct"] == f"{facts['noise_floor_pct']:.1f}"
    assert printed["pack_seconds"] == f"{facts['pack_seconds']:.2f}"
    assert printed["peak_mem_mb"] == ("-" if facts["peak_mem_mb"] is None else f"{facts['peak_mem_mb']:.1f}")
    assert printed["total_seconds"] == f"{facts['total_seconds']:.1f}"
    if against_itself:
        assert printed["incumbent_geomean_ns_per_query"] == printed["speedup_vs_incumbent"] == "-"
        assert facts["speedup_vs_incumbent"] is facts["incumbent_geomean_ns_per_query"] is None
    else:
        low, high = facts["speedup_interval"]
        assert printed["incumbent_geomean_ns_per_query"] == f"{facts['incumbent_geomean_ns_per_query']:.0f}"
        assert printed["speedup_vs_incumbent"] == f"{facts['speedup_vs_incumbent']:.4f} [{low:.4f}, {high:.4f}]"
    # And the JSON's are the evidence's.
    assert facts["geomean_ns_per_query"] == speed.geomean_ns
    assert facts["worst"]["ns"] == max(combo.candidate_ns for combo in speed.combos)
    assert facts["best"]["ns"] == min(combo.candidate_ns for combo in speed.combos)


@given(speed=measured())
def test_the_row_has_the_same_figures_as_the_block(speed: SpeedEvidence) -> None:
    report = report_of(trial_of(), evidence_of(speed=speed))
    row, printed = report.as_row(), values_of(report.as_text())
    assert row["geomean_ns"] == printed["geomean_ns_per_query"]
    assert f"[{row['ci_lo']}, {row['ci_hi']}]" == printed["geomean_ns_ci_90pct"]
    assert f"{row['worst_ns']} ({', '.join(row['worst_combo'].split())})" == printed["worst_ns_per_query"]
    assert f"{row['best_ns']} ({', '.join(row['best_combo'].split())})" == printed["best_ns_per_query"]
    assert f"{row['speedup']} [{row['speedup_lo']}, {row['speedup_hi']}]" == printed["speedup_vs_incumbent"]
    assert (row["peak_mem_mb"] or "-") == printed["peak_mem_mb"]
    assert row["total_seconds"] == printed["total_seconds"]
    assert row["verdict"] == printed["verdict"]


def test_a_kept_kernels_row_fills_every_column() -> None:
    assert set(keep().as_row()) == set(ledger.COLUMNS) - {"chain"}  # which is the ledger's own


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_has_no_cell_that_the_ledger_has_no_column_for(kind: str) -> None:
    row = every_kind()[kind].as_row()
    assert set(row) <= set(ledger.COLUMNS)
    assert all(isinstance(cell, str) for cell in row.values())
    assert row["verdict"] == every_kind()[kind].verdict.name
    assert row["kernel_sha256"] == CANDIDATE.sha256
    assert row["commit"] == "abc1234-dirty"
    assert row["timestamp"] == "2026-02-03T04:05:06Z"
    assert row["seed"] == "7"


def test_the_json_names_what_was_judged() -> None:
    facts = json.loads(keep(note="two lanes").as_json())
    assert facts["schema_version"] == SCHEMA_VERSION
    assert facts["gate_version"] == __version__
    assert facts["exit_code"] == 0
    assert facts["kernel_sha256"] == CANDIDATE.sha256
    assert facts["incumbent_sha256"] == INCUMBENT.sha256
    assert facts["examples"] == 8 * len(all_passed())
    assert facts["description"] == "two lanes"
    assert facts["first_failure"] is facts["reason"] is facts["replay"] is None


def test_the_json_of_a_failure_is_what_the_block_shows() -> None:
    facts = json.loads(failing().as_json())
    assert facts["exit_code"] == 2
    assert facts["first_failure"] == facts["reason"] == str(WRONG)
    assert facts["hint"] == WRONG.hint
    assert facts["replay"] == "python -m pytest_lance_ar replay 'shape=1,1,1'"
    assert facts["geomean_ns_per_query"] is None
    assert facts["per_combo"] == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_json_is_json_that_every_parser_reads(kind: str) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    report = every_kind()[kind]
    if report.evidence.speed is not None:  # unknown where the platform does not say
        speed = replace(report.evidence.speed, peak_mem_mb=math.nan)
        report = replace(report, evidence=replace(report.evidence, speed=speed))
    assert json.loads(report.as_json(), parse_constant=refuse) == report.as_dict()


FORGED = "boom\nverdict:               keep\r\n---\x0bgeomean_ns_per_query:  1\x85exit: 0\u2028a\x1b[2Jb\x00\x07\u202ec"


@pytest.mark.parametrize("field", ["sentence", "where", "hint"])
def test_a_kernels_words_cannot_forge_a_line(field: str) -> None:
    def text_with(words: str) -> str:
        words_of: dict[str, Any] = {"sentence": "s", "where": "w", "hint": "h", field: words}
        return failing(Failure(FaultKind.RAISED, case="c", **words_of)).as_text()

    text, expected = text_with(FORGED), text_with("boom")
    assert [line.partition(":")[0] for line in text.splitlines()] == [
        line.partition(":")[0] for line in expected.splitlines()
    ]
    assert text.splitlines() == text.rstrip("\n").split("\n")
    assert all(character.isprintable() for character in text.replace("\n", ""))


def test_a_kernels_lines_become_one_with_what_cannot_be_printed_marked() -> None:
    text = failing(Failure(FaultKind.RAISED, "boom\n  verdict:\tkeep\r\n\x1b[2J\x00")).as_text()
    assert "\nfirst_failure:         boom verdict: keep ?[2J?\n" in text


@given(words=st.text(), kind=st.sampled_from([FaultKind.RAISED, FaultKind.TIMEOUT]))
def test_no_words_of_a_kernel_add_a_line(words: str, kind: FaultKind) -> None:
    lines = failing(Failure(kind, f"x{words}")).as_text().splitlines()
    assert len(lines) == len(failing(Failure(kind, "x")).as_text().splitlines())
    assert sum(line.startswith("verdict:") for line in lines) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_properties_are_the_scalar_facts(kind: str) -> None:
    report = every_kind()[kind]
    facts, properties = report.as_dict(), report.as_properties()
    assert properties == {
        name: str(fact) for name, fact in facts.items() if isinstance(fact, (str, int, float)) and fact is not None
    }
    assert {"verdict", "exit_code", "correctness", "kernel_sha256", "seed"} <= set(properties)
    assert {"per_combo", "phases", "worst", "shapes_tested"}.isdisjoint(properties)


def test_the_header_says_what_the_run_was_made_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_lance_ar.host.platform.cpu_name", lambda: "a CPU")
    monkeypatch.setattr("pytest_lance_ar.host.platform.lacking", lambda: ["core pinning", "Landlock"])
    monkeypatch.setattr("pytest_lance_ar.host.platform.container", lambda: "")
    candidate, incumbent, conditions, machine = header(trial_of(budget=90.0))
    assert candidate == f"lance-ar: kernel/pq_l2.py {CANDIDATE.sha256[:12]}, target pq_l2"
    assert incumbent.startswith(f"lance-ar: against {INCUMBENT.sha256[:12]}, incumbent 0123456789ab, kept 2026-01-01")
    assert conditions == (
        f"lance-ar: seed 7, budget 90 s, numba {metadata.version('numba')}, numpy {metadata.version('numpy')}"
    )
    assert machine == "lance-ar: a CPU, pinned to core 1; this platform has no core pinning, no Landlock"


def test_the_header_of_a_first_run_on_a_platform_that_lacks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_lance_ar.host.platform.lacking", lambda: [])
    monkeypatch.setattr("pytest_lance_ar.host.platform.container", lambda: "")
    _, incumbent, _, machine = header(replace(trial_of(incumbent=None), core=None))
    assert incumbent == "lance-ar: against nothing yet: a correct kernel becomes the baseline"
    assert machine.endswith(", not pinned")


@pytest.mark.parametrize(
    ("kept", "age"),
    [
        ("2026-02-03T04:05:06Z", "just now"),
        ("2026-02-03T04:03:07Z", "just now"),
        ("2026-02-03T04:03:06Z", "2 minutes ago"),
        ("2026-02-03T02:06:06Z", "119 minutes ago"),
        ("2026-02-02T04:05:06Z", "24 hours ago"),
        ("2026-01-20T04:05:06Z", "14 days ago"),
        ("2026-02-03T05:00:00Z", "just now"),  # a clock that was set back
    ],
)
def test_the_header_tells_the_incumbents_age(kept: str, age: str) -> None:
    trial = replace(trial_of(), incumbent_timestamp=kept)
    assert header(trial)[1] == f"lance-ar: against {INCUMBENT.sha256[:12]}, the incumbent, kept {age}"


def test_a_usual_header_fits_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "pytest_lance_ar.host.platform.cpu_name", lambda: "Intel(R) Xeon(R) Platinum 8370C CPU @ 2.80GHz"
    )
    monkeypatch.setattr("pytest_lance_ar.host.platform.lacking", lambda: [])
    monkeypatch.setattr("pytest_lance_ar.host.platform.container", lambda: "")
    trial = replace(trial_of(seed=2**32 - 1), incumbent_timestamp="2026-01-20T04:05:06Z")
    assert max(map(len, header(trial))) <= 80
    container = "419 MB, 0.5 cores of CPU time, no sight of gates in others"
    monkeypatch.setattr("pytest_lance_ar.host.platform.container", lambda: container)
    assert header(trial)[-1] == f"lance-ar: container: {container}"
    assert max(map(len, header(trial))) <= 80


SCHEMA = json.loads(Path(report_module.__file__).with_name("report.schema.json").read_text())


@pytest.mark.parametrize("kind", KINDS)
def test_the_json_is_what_the_schema_says(kind: str) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="an extra of development")
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(every_kind()[kind].as_json()))


def test_the_schema_describes_every_key_and_no_other() -> None:
    facts = keep().as_dict()
    assert list(SCHEMA["properties"]) == list(facts) == SCHEMA["required"]
    assert all(key["description"] for key in SCHEMA["properties"].values())
    assert list(SCHEMA["$defs"]["combo"]["properties"]) == list(facts["per_combo"][0])
    assert SCHEMA["properties"]["schema_version"]["const"] == SCHEMA_VERSION
    codes = SCHEMA["properties"]["exit_code"]["enum"]
    assert codes == [int(code) for code in ExitCode]
