"""The memory of trials: what is stored of each, and what brief and show make of it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_lance_ar.__main__ import main
from pytest_lance_ar.memory.brief import LINES, WIDTH
from pytest_lance_ar.store.record import name_of
from pytest_lance_ar.store.state import StateDirectory
from pytest_lance_ar.trial.evidence import ComboFigures
from pytest_lance_ar.trial.options import OptionError, Options
from tests.builders import combos_of, incorrect, speed_of
from tests.test_gate import conclude, gate_of, trial, write_kernel

pytestmark = pytest.mark.usefixtures("no_look_behind")

KERNEL = '"""A kernel."""\n\n\nclass PqKernel:\n    def f(self, a):\n        b = a + 1\n        return b\n'
RENAMED = "# words\nclass PqKernel:\n    def f(self, x):\n        y = x + 1\n\n        return y\n"
NAMES = ("kernel/pq_l2.py", "conftest.py")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a baseline, trial 1."""
    root = tmp_path / "project"
    for name in NAMES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    write_kernel(root, KERNEL)
    monkeypatch.chdir(root)
    assert trial(root, speed_of(1.0), note="baseline").verdict.name == "baseline"
    return root


def variant(
    root: Path, words: str, ratio: float = 1.02, combos: tuple[ComboFigures, ...] | None = None, **values: Any
) -> str:
    """A trial of the kernel with another constant; its verdict."""
    write_kernel(root, KERNEL.replace("+ 1", f"+ {words}"))
    return trial(root, speed_of(ratio, combos=combos), **values).verdict.name


def out_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def brief(capsys: pytest.CaptureFixture[str]) -> list[str]:
    lines = out_of(capsys, "brief").splitlines()
    assert len(lines) <= LINES
    assert all(len(line) <= WIDTH for line in lines)
    return lines


def test_every_source_and_report_is_stored_whatever_the_verdict(root: Path) -> None:
    assert variant(root, "2") == "discard"
    write_kernel(root, "wrong")
    with_gate = gate_of(root)
    conclude(with_gate, None, incorrect().examinations)
    with_gate.close()
    tried = list(with_gate._store.memory.trials())
    assert [one.row["verdict"] for one in tried] == ["baseline", "discard", "incorrect"]
    for one, source in zip(tried, (KERNEL, KERNEL.replace("+ 1", "+ 2"), "wrong"), strict=True):
        assert with_gate._store.memory.source_of(one.row["kernel_sha256"]) == source.encode()
        assert one.record is not None
        assert one.record.report["verdict"] == one.row["verdict"]
        assert one.record.place == str(root / "kernel/pq_l2.py")
    assert tried[1].record is not None
    assert tried[1].record.incumbent_sha256 == tried[0].row["kernel_sha256"]


def test_a_lesson_goes_to_the_trial_before_and_told_twice_is_one(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = (root / "results.tsv").read_bytes()
    assert variant(root, "2", learned=" the first\nlesson ") == "discard"
    assert (root / "results.tsv").read_bytes().startswith(ledger)
    assert variant(root, "3", learned="the second") == "discard"
    assert variant(root, "3", learned="the second") == "discard"
    lessons = [json.loads(out_of(capsys, "show", str(number), "--json"))["lessons"] for number in range(1, 5)]
    assert lessons == [["the first lesson"], ["the second"], [], []]
    assert "lesson: the second\n" in out_of(capsys, "show", "2")
    assert [line[2:] for line in brief(capsys)[-2:]] == ["   2  the second", "   1  the first lesson"]
    assert main(["audit"]) == 0


def test_a_lesson_goes_to_the_last_trial_of_the_same_kernel_file(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "pq_l2.py"
    other.parent.mkdir()
    other.write_text(KERNEL.replace("+ 1", "+ 7"))
    with_gate = gate_of(root, kernel=str(other), learned="nothing yet")
    assert with_gate.notices == ["no trial of this kernel file came before this one: the lesson was not stored"]
    conclude(with_gate, speed_of(1.02))
    with_gate.close()
    variant(root, "2", learned="mine")
    tried = list(with_gate._store.memory.trials())
    assert [one.record.lessons for one in tried if one.record] == [("mine",), (), ()]


@pytest.mark.parametrize("values", [{"against": "kernel/pq_l2.py"}, {"phase": "correctness"}])
def test_a_run_that_stores_nothing_takes_no_lesson(root: Path, values: dict[str, str]) -> None:
    with pytest.raises(OptionError, match="give it to a trial"):
        Options.from_strings({"learned": "x", **values}, root=root, here=root)


def test_what_was_tried_before_is_told_and_judged_all_the_same(root: Path) -> None:
    variant(root, "2")
    write_kernel(root, RENAMED)
    report = trial(root, speed_of(1.02))
    assert report.as_dict()["already_tried"] == {"trial": 1, "verdict": "baseline", "speedup": None, "interval": None}
    assert report.verdict.name == "discard"
    write_kernel(root, RENAMED.replace("+ 1", "+ 2"))
    report = trial(root, speed_of(1.02))
    assert "already_tried:         trial 2, discard, 0.9804 [0.9755, 0.9853]\n" in report.as_text()
    write_kernel(root, RENAMED.replace("+ 1", "- 2"))
    assert trial(root, speed_of(1.02)).as_dict()["already_tried"] is None
    assert trial(root, speed_of(1.02), against=str(root / "kernel/pq_l2.py")).as_dict()["already_tried"] is None


def test_trials_since_the_last_keep_are_counted_from_the_ledger(root: Path) -> None:
    counts = []
    for number, ratio in enumerate((1.02, 1.02, 0.9, 1.02), start=2):
        write_kernel(root, KERNEL.replace("+ 1", f"+ {number}"))
        report = trial(root, speed_of(ratio))
        counts.append(report.as_dict()["trials_since_keep"])
        assert f"trials_since_keep:     {counts[-1]}\n" in report.as_text()
    assert counts == [1, 2, 0, 1]
    against = trial(root, speed_of(1.02), against=str(root / "kernel/pq_l2.py"))
    assert against.as_dict()["trials_since_keep"] is None
    assert "trials_since_keep" not in against.as_text()


def test_the_brief_of_a_long_night_fits_and_says_what_matters(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(2, 30):
        ratio = 0.95 if number in (5, 9) else 0.998 if number % 7 == 0 else 1.03
        variant(root, str(number), ratio, note=f"idea {number % 11}", learned=f"lesson {number} " + "long " * 40)
    variant(root, "9", 0.9985, note="idea 9", learned="the last lesson")
    lines = brief(capsys)
    text = "\n".join(lines)
    assert len(lines) == LINES
    assert lines[0] == ("kernel/pq_l2.py: 30 trials (1 baseline, 2 keep, 27 discard); 21 since the last keep")
    assert lines[1].startswith("  that many in vain: read what others did; then stop, and tell (program.md, ")
    assert lines[2].startswith("incumbent: trial 9, ")
    assert "1.108x [" in lines[2]
    assert "where the incumbent's time went when it was kept, slowest first" in text
    first = lines.index(next(line for line in lines if line.startswith("where the incumbent's time went")))
    assert lines[first + 1] == "  (768,96,256) sparse             17.1 us: table 10%, scan 88%, call 2%"
    assert "in vain:" in text
    assert "shown to be slower (" in text
    assert "\n    29  the last lesson\n" in text
    near = lines.index(next(line for line in lines if line.startswith("near misses")))
    assert "1.0020 [0.9970, 1.0070]" in lines[near + 1]
    data = json.loads(out_of(capsys, "brief", "--json"))
    assert data["trials"] == 30
    assert data["trials_since_keep"] == 21
    assert len(data["lessons"]) == 29
    assert [told["trial"] for told in data["kept"]] == [9, 5, 1]
    assert data["incumbent"]["is_here"] is True


def test_an_incumbent_that_is_not_here_is_told_with_the_command_that_takes_it_over(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    variant(root, "2", 0.9)
    write_kernel(root, KERNEL)
    (line,) = [line for line in brief(capsys) if "to take it over" in line]
    assert line.endswith("python -m pytest_lance_ar show 2 --source > kernel/pq_l2.py")
    capsys.readouterr()


def test_the_source_of_a_trial_is_printed_as_it_is(root: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["show", "1", "--source"]) == 0
    assert capfdbinary.readouterr().out == KERNEL.encode()


def test_show_has_the_report_the_lesson_and_the_diff(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_kernel(root, KERNEL.replace("+ 1", "+ 2  # \x1b[2J"))
    trial(root, speed_of(1.02), note="two")
    text = out_of(capsys, "show", "2")
    assert text.startswith("trial 2, ")
    assert "\n---\nverdict:               discard\n" in text
    assert "\nagainst trial 1:\n--- trial 1\n+++ trial 2\n" in text
    assert "\n-        b = a + 1\n+        b = a + 2  # ?[2J\n" in text
    data = json.loads(out_of(capsys, "show", "2", "--json"))
    assert (data["trial"], data["parent"], data["report"]["verdict"]) == (2, 1, "discard")
    assert "\n  1.020 (128,16,256) clustered\n" in text
    first = out_of(capsys, "show", "1")
    assert "nothing to compare with" in first
    assert "per combo, " not in first


def test_the_brief_says_why_what_was_faster_was_not_kept_and_cuts_nothing_that_has_room(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slow_at_one = (replace(combos_of(0.9)[0], ratio=1.2, candidate_ns=12_000), *combos_of(0.9)[1:])
    variant(root, "2", 0.9, combos=slow_at_one, note="abandon", learned="long " * 30 + "and told")
    variant(root, "3", 1.3, note="a note " * 20 + "to its end")
    text = "\n".join(brief(capsys))
    refused = "but (128,16,256) clustered takes 1.200 x its incumbent figure"
    assert f"\n     2  1.1111 [1.1056, 1.1167]  abandon\n        {refused}\n" in text
    assert "to its end 0.769" in text
    assert "and told" in text


def test_a_trial_without_record_or_source_is_shown_as_far_as_it_goes(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    variant(root, "2", note="two")
    variant(root, "3", note="three")
    shutil.rmtree(root / ".lance_ar" / "tried")
    assert "is not stored any more" in out_of(capsys, "show", "2")
    for path in (root / ".lance_ar" / "trials").iterdir():
        path.write_text("{")
    assert "verdict: discard\n" in out_of(capsys, "show", "3")
    assert "3 trials" in brief(capsys)[0]
    assert variant(root, "4", 0.9) == "keep"


def test_what_cannot_be_shown_is_told_in_a_sentence(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "2"]) == 4
    assert capsys.readouterr().err == "show: no trial 2; there are trials 1 to 1\n"
    assert main(["show", "1", "--state", "elsewhere"]) == 4
    assert capsys.readouterr().err == "show: no trial 1; there are no trials yet\n"
    shutil.rmtree(root / ".lance_ar" / "kept")
    assert main(["show", "1", "--source"]) == 4
    assert capsys.readouterr().err == "show: the source of trial 1 is not stored any more\n"


def test_the_brief_without_trials_and_with_a_damaged_state(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no trials yet" in out_of(capsys, "brief", "--state", "elsewhere")
    assert not (root / "elsewhere").exists()
    (root / "results.tsv").write_bytes((root / "results.tsv").read_bytes().replace(b"baseline", b"keep"))
    assert any(line.startswith("PROBLEM: line 2: ") for line in brief(capsys))
    (root / ".lance_ar" / "incumbent.json").write_text("{")
    assert any(line.startswith("PROBLEM: ") for line in brief(capsys))


def test_the_brief_while_a_run_has_the_state(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = StateDirectory(root / ".lance_ar")
    directory.lock()
    try:
        assert "a run has the state at this moment: what it stores is not in here" in brief(capsys)
    finally:
        directory.unlock()
    assert json.loads(out_of(capsys, "brief", "--json"))["running"] is False


@pytest.mark.parametrize("chain", ["", "x", "1:", "../../etc:passwd", "1:../x", "\u0661:ab", "9" * 40 + ":ab"])
def test_the_name_of_a_record_is_a_name_whatever_the_cell_says(chain: str) -> None:
    assert name_of(chain).replace("-", "").isalnum()
    assert name_of("37:0123456789abcdef0123") == "000037-0123456789abcdef"
