"""What GitHub Actions is told: workflow commands that nothing in a message can break, and a summary in Markdown."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_lance_ar.report import github
from pytest_lance_ar.report.report import Report
from pytest_lance_ar.trial.evidence import Failure, FaultKind
from pytest_lance_ar.trial.kernel_source import Kernel
from tests.builders import WRONG, evidence_of, guard, guards_of, incorrect, speed_of, trial_of
from tests.kernels import PURE_PYTHON
from tests.report.test_report import KINDS, every_kind, report_of

COMMAND = re.compile(r"::(notice|warning|error) file=([^,:]+),line=(\d+),title=([^,:]+)::(.+)\n")
KERNEL = Kernel("kernel/pq_l2.py", PURE_PYTHON.encode())


def failing(sentence: str) -> Report:
    failure = Failure(FaultKind.RAISED, sentence)
    return report_of(trial_of(candidate=KERNEL), evidence_of(correctness=incorrect(failure), speed=None))


@pytest.mark.parametrize("kind", KINDS)
def test_each_verdict_is_one_command(kind: str) -> None:
    report = every_kind()[kind]
    parts = COMMAND.fullmatch(github.annotation(report, ""))
    assert parts
    level, path, _, title, text = parts.groups()
    levels = {"keep": "notice", "baseline": "notice", "discard": "warning", "inconclusive": "warning"}
    assert level == levels.get(report.verdict.name, "error")
    assert path == "kernel/pq_l2.py"
    assert title == f"pq_l2%3A {report.verdict.name}"
    if report.verdict.reason:
        assert text.startswith(report.verdict.reason.replace("%", "%25"))


def test_a_gain_is_told_with_its_interval() -> None:
    assert "::1.1111 [1.1056, 1.1167] times as fast as incumbent " in github.annotation(every_kind()["keep"], "")


@given(words=st.text())
def test_no_words_of_a_kernel_end_a_command_or_begin_another(words: str) -> None:
    text = github.annotation(failing(f"x{words}\r\n::error::forged"), "")
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert "\r" not in text
    assert COMMAND.fullmatch(text)


def test_what_has_a_meaning_in_a_command_is_escaped() -> None:
    trial = trial_of(kernel=Path("/project/a,b: 100%.py"))
    trial = replace(trial, candidate=Kernel("a,b: 100%.py", KERNEL.source))
    report = report_of(trial, evidence_of(correctness=incorrect(WRONG), speed=None))
    text = github.annotation(report, "/project")
    assert text.startswith("::error file=a%2Cb%3A 100%25.py,line=")
    assert text.endswith(f"{WRONG.sentence}%0A{WRONG.hint}\n")


def test_the_path_is_relative_to_the_workspace() -> None:
    assert "file=project/kernel/pq_l2.py," in github.annotation(every_kind()["keep"], "/")
    assert "file=kernel/pq_l2.py," in github.annotation(every_kind()["keep"], "/elsewhere")


@pytest.mark.parametrize(
    ("sentence", "line"),
    [
        ("a call raised ValueError: oh (line 14 of kernel/pq_l2.py)", 14),
        ("kernel/pq_l2.py, line 1: a kernel may not import os", 1),
        ("distance_table[0, 0]: expected 1, got 2", 11),
        ("probe_top_k ids[0]: expected 1, got 2", 19),
        ("pack_codes did not return within 60 s", 1),  # this kernel has none
        ("the kernel's process was killed by SIGSEGV", 1),
    ],
)
def test_the_line_is_the_one_that_the_failure_is_about(sentence: str, line: int) -> None:
    lines = PURE_PYTHON.splitlines()
    if line > 1 and "line" not in sentence:
        assert f"def {sentence.partition('[')[0].split()[0]}" in lines[line - 1]
    assert f",line={line}," in github.annotation(failing(sentence), "")


def test_a_source_that_does_not_parse_has_a_line_as_well() -> None:
    report = failing("distance_table[0, 0]: expected 1, got 2")
    report = replace(report, trial=replace(report.trial, candidate=Kernel("k.py", b"def (")))
    assert ",line=1," in github.annotation(report, "")


@pytest.mark.parametrize("kind", KINDS)
def test_the_summary_says_the_verdict_and_why(kind: str) -> None:
    report = every_kind()[kind]
    first, *rest = github.summary(report).splitlines()
    assert first == f"### `kernel/pq_l2.py`: {report.verdict.name}"
    if report.verdict.reason:
        assert report.verdict.reason in rest
    assert ("| combo | ns/query | of the incumbent's |" in rest) == (report.evidence.speed is not None)


def test_the_summary_of_a_gain() -> None:
    text = github.summary(every_kind()["keep"])
    assert "| (128,16,256) clustered | 9000 | 0.900 |" in text
    assert "| geomean | `16200 ns/query, 90% [16111, 16290]` |" in text
    assert "`1.1111 [1.1056, 1.1167] times as fast as incumbent 0123456789ab, kept" in text


def test_the_summary_of_a_gain_has_its_guards_the_worst_first() -> None:
    guards = guards_of(0.94, guard(0.9, 1.0, 1.1))
    lines = github.summary(
        replace(every_kind()["keep"], evidence=evidence_of(speed=speed_of(guards=guards)))
    ).splitlines()
    assert "Guard workloads: 0.940 [0.939, 0.941] of the incumbent's time" in lines
    start = lines.index("| guard workload | of the incumbent's | interval |")
    assert lines[start + 2] == "| `(96,12,256), clustered, N 700, k 100` | 1.000 | [0.900, 1.100] |"
    assert len([line for line in lines[start + 2 :] if line]) == 14
    assert "uard" not in github.summary(every_kind()["discard"])


def test_the_summary_of_a_baseline_compares_with_nothing() -> None:
    text = github.summary(every_kind()["baseline"])
    assert "| (128,16,256) clustered | 10000 | - |" in text
    assert "speed-up" not in text


def test_no_words_of_a_kernel_leave_their_block() -> None:
    text = github.summary(failing("boom\n```\n# forged\n| a | b |"))
    assert "\n# forged" not in text
    assert text.count("\n```") == 2


def test_a_summary_is_appended_until_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report, path = every_kind()["keep"], tmp_path / "summary.md"
    path.write_text("# before\n")
    github.write_summary(report, path)
    assert path.read_text() == "# before\n" + github.summary(report)
    monkeypatch.setattr(github, "SUMMARY_LIMIT", path.stat().st_size + 10)
    github.write_summary(report, path)
    assert path.read_text() == "# before\n" + github.summary(report)


def test_elsewhere_is_no_workflow() -> None:
    assert github.is_here({"GITHUB_ACTIONS": "true"})
    assert not github.is_here({"GITHUB_ACTIONS": "false"})
    assert not github.is_here({})


def test_a_report_without_a_reason_is_told_too() -> None:
    report = report_of(trial_of(incumbent=None), evidence_of(speed=speed_of(1.0), against_itself=True))
    assert github.annotation(report, "").endswith("::the first correct kernel\n")
