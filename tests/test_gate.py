"""The gate from options to report, with evidence fed by hand in place of kernels."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_lance_ar.gate import Gate
from pytest_lance_ar.host.parent import KernelFault
from pytest_lance_ar.report.report import Report
from pytest_lance_ar.speed.sides import IncumbentFailed
from pytest_lance_ar.store.ledger import HEADER
from pytest_lance_ar.store.state import State, StateDirectory
from pytest_lance_ar.store.store import StoreError
from pytest_lance_ar.trial.deadline import BEGUN_VARIABLE
from pytest_lance_ar.trial.evidence import Examination, Failure, FaultKind, SpeedEvidence
from pytest_lance_ar.trial.kernel_source import Kernel
from pytest_lance_ar.trial.options import OptionError, Options
from pytest_lance_ar.trial.verdict import ExitCode, decide
from tests.builders import WRONG, all_passed, incorrect, speed_of

pytestmark = pytest.mark.usefixtures("no_look_behind")

FIRST = "class PqKernel: ...  # first\n"
SECOND = "class PqKernel: ...  # second\n"
GAIN = speed_of(0.9)
LOSS = speed_of(1.02)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for name in ("kernel/pq_l2.py", "tests/test_a.py", "conftest.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(FIRST if name.startswith("kernel") else "")
    return root


@pytest.fixture
def kept(root: Path) -> Path:
    """A project with a first kernel kept and a second one in its place."""
    assert trial(root).verdict.name == "baseline"
    write_kernel(root, SECOND)
    return root


def write_kernel(root: Path, source: str) -> None:
    (root / "kernel" / "pq_l2.py").write_text(source)


def gate_of(root: Path, *, rebaseline: bool = False, **values: str) -> Gate:
    options = Options.from_strings({"seed": "7", **values}, root=root, here=root, rebaseline=rebaseline)
    return Gate(options, here=root)


def conclude(
    gate: Gate, speed: SpeedEvidence | None = GAIN, examinations: Iterable[Examination] = all_passed()
) -> Report:
    """Go through a run as the plugin does."""
    for examination in examinations:
        gate.examined(examination)
    if speed is not None and gate.ready_to_measure:
        gate.measured(speed)
    return gate.conclude(decide(gate.trial, gate.close_evidence()))


def trial(root: Path, speed: SpeedEvidence | None = GAIN, *, rebaseline: bool = False, **values: str) -> Report:
    with closing(gate_of(root, rebaseline=rebaseline, **values)) as gate:
        return conclude(gate, speed)


def state_of(root: Path) -> State | None:
    return StateDirectory(root / ".lance_ar").load()


def incumbent_of(root: Path) -> str:
    state = state_of(root)
    assert state is not None
    return state.incumbent.kernel.source.decode()


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def verdicts(root: Path) -> list[str]:
    return [row["verdict"] for row in rows_of(root / "results.tsv")]


def test_the_first_correct_kernel_becomes_the_incumbent(root: Path) -> None:
    report = trial(root, speed_of(1.0), note="the first")
    assert (report.verdict.name, report.verdict.code) == ("baseline", 0)
    assert report.evidence.against_itself
    assert report.trial.incumbent is None
    state = state_of(root)
    assert state is not None
    assert state.incumbent.kernel == Kernel("kernel/pq_l2.py", FIRST.encode())
    assert state.incumbent.target == "pq_l2"
    assert state.incumbent.timestamp == report.trial.timestamp
    assert state.incumbent.geomean_ns == speed_of(1.0).geomean_ns
    assert state.incumbent.seed == 7
    assert {"conftest.py", "tests/test_a.py", "pytest_lance_ar/trial/verdict.py"} <= set(state.seal)
    assert "kernel/pq_l2.py" not in state.seal
    (row,) = rows_of(root / "results.tsv")
    assert row["description"] == "the first"
    assert row["kernel_sha256"] == state.incumbent.kernel.sha256


def test_a_faster_kernel_takes_the_incumbents_place(kept: Path) -> None:
    before = state_of(kept)
    report = trial(kept)
    assert report.trial.incumbent == Kernel("kernel/pq_l2.py", FIRST.encode())
    assert not report.evidence.against_itself
    assert report.verdict.name == "keep"
    assert incumbent_of(kept) == SECOND
    after = state_of(kept)
    assert before is not None
    assert after is not None
    assert after.seal == before.seal
    assert verdicts(kept) == ["baseline", "keep"]


def test_a_slower_kernel_leaves_the_incumbent_and_a_row(kept: Path) -> None:
    assert trial(kept, LOSS).verdict.code == ExitCode.DISCARD
    assert incumbent_of(kept) == FIRST
    assert verdicts(kept) == ["baseline", "discard"]


def test_a_failure_leaves_the_incumbent_a_row_and_its_case_for_the_next_run(kept: Path) -> None:
    with closing(gate_of(kept)) as gate:
        report = conclude(gate, examinations=incorrect().examinations)
        assert not gate.ready_to_measure
    assert report.verdict.code == ExitCode.INCORRECT
    assert report.replay == f"python -m pytest_lance_ar replay --kernel=kernel/pq_l2.py '{WRONG.case}'"
    assert incumbent_of(kept) == FIRST
    assert verdicts(kept) == ["baseline", "incorrect"]
    with closing(gate_of(kept)) as gate:
        assert gate.earlier_examples() == [WRONG.case]


def test_a_failure_without_inputs_has_no_case_to_store_or_replay(kept: Path) -> None:
    broken = Failure(FaultKind.CONTRACT, "kernel/pq_l2.py defines no PqKernel")
    with closing(gate_of(kept)) as gate:
        report = conclude(gate, examinations=[replace(incorrect().examinations[0], failure=broken)])
        assert gate.earlier_examples() == []
    assert report.replay == ""


def test_a_run_without_a_verdict_leaves_no_trace(kept: Path) -> None:
    with closing(gate_of(kept)) as gate:
        report = conclude(gate, examinations=all_passed()[1:])
        assert not gate.ready_to_measure
    assert report.verdict.code == ExitCode.NONE
    assert incumbent_of(kept) == FIRST
    assert verdicts(kept) == ["baseline"]


def test_an_interrupted_run_leaves_no_trace(kept: Path) -> None:
    with closing(gate_of(kept)) as gate:
        gate.interrupted()
        assert conclude(gate).verdict.code == ExitCode.INTERRUPTED
    assert incumbent_of(kept) == FIRST
    assert verdicts(kept) == ["baseline"]


def test_the_first_internal_error_is_the_reason(kept: Path) -> None:
    with closing(gate_of(kept)) as gate:
        gate.broke("the first")
        gate.broke("what came of it")
        verdict = conclude(gate).verdict
    assert (verdict.code, verdict.reason) == (ExitCode.INTERNAL, "the first")
    assert incumbent_of(kept) == FIRST


def test_a_candidate_that_fails_while_it_is_timed_is_incorrect(kept: Path) -> None:
    with closing(gate_of(kept)) as gate:
        gate.measuring_failed(KernelFault(WRONG))
        assert conclude(gate, None).verdict.code == ExitCode.INCORRECT


def test_an_incumbent_that_fails_is_not_the_candidates_fault(kept: Path) -> None:
    with closing(gate_of(kept)) as gate:
        gate.measuring_failed(IncumbentFailed(WRONG))
        assert conclude(gate, None).verdict.code == ExitCode.USAGE


def test_a_first_kernel_is_to_blame_for_its_twin(root: Path) -> None:
    with closing(gate_of(root)) as gate:
        gate.measuring_failed(IncumbentFailed(WRONG))
        assert conclude(gate, None).verdict.code == ExitCode.INCORRECT


def test_what_is_judged_is_what_was_read_at_the_start(kept: Path) -> None:
    with closing(gate_of(kept)) as gate:
        write_kernel(kept, "# edited while the gate ran\n")
        assert conclude(gate).verdict.name == "keep"
    assert incumbent_of(kept) == SECOND


def test_against_a_file_stores_nothing(root: Path) -> None:
    (root / "other.py").write_text(SECOND)
    with closing(gate_of(root)):  # nor does it wait for a run that does
        report = trial(root, against="other.py")
        assert report.verdict.name == "keep"
        assert report.trial.incumbent == Kernel("other.py", SECOND.encode())
        assert report.trial.incumbent_origin == "other.py"
    assert state_of(root) is None
    assert not (root / "results.tsv").exists()


def test_against_leaves_an_incumbent_alone(kept: Path) -> None:
    (kept / "other.py").write_text("class PqKernel: ...  # another\n")
    assert trial(kept, against="other.py").verdict.name == "keep"
    assert incumbent_of(kept) == FIRST
    assert verdicts(kept) == ["baseline"]


def fail_with(root: Path, option: str, value: str) -> None:
    (root / "other.py").write_text(SECOND)
    values = {"against": value} if option == "against" else {"phase": value}
    options = Options.from_strings(values, root=root, here=root)
    with closing(Gate(options, here=root)) as gate:
        conclude(gate, examinations=incorrect().examinations)


def test_a_failure_against_a_file_makes_no_state_directory(root: Path) -> None:
    fail_with(root, "against", "other.py")
    assert not (root / ".lance_ar").exists()


@pytest.mark.parametrize(("option", "value"), [("against", "other.py"), ("phase", "correctness")])
def test_where_there_is_a_state_directory_the_next_run_gains_from_a_failure(
    kept: Path, option: str, value: str
) -> None:
    fail_with(kept, option, value)
    with closing(gate_of(kept)) as gate:
        assert gate.earlier_examples() == [WRONG.case]
    assert incumbent_of(kept) == FIRST
    assert verdicts(kept) == ["baseline"]


def test_an_edited_ledger_is_noticed_and_is_no_verdict(kept: Path) -> None:
    trial(kept, LOSS)
    path = kept / "results.tsv"
    path.write_text(path.read_text().replace("discard", "keep"))
    with closing(gate_of(kept)) as gate:
        (notice,) = gate.notices
        assert notice.startswith("results.tsv does not verify, line 3: this row was edited")
        assert conclude(gate).verdict.name == "keep"


def test_a_damaged_head_is_noticed_and_marks_the_ledger(kept: Path) -> None:
    (kept / ".lance_ar" / "ledger.json").write_text("{")
    with closing(gate_of(kept)) as gate:
        assert "ledger.json is damaged" in gate.notices[0]
        assert conclude(gate).verdict.name == "keep"
    with closing(gate_of(kept)) as gate:
        assert "line 3: the chain starts anew here" in gate.notices[0]


def test_a_users_directory_gets_no_gitignore(root: Path) -> None:
    (root / "mine").mkdir()
    (root / "mine" / "notes.txt").touch()
    trial(root, state="mine")
    assert not (root / "mine" / ".gitignore").exists()


def test_a_json_report_says_what_the_exit_status_says(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(gate_of(kept, json="report.json")) as gate:
        monkeypatch.setattr("pytest_lance_ar.store.ledger.put", refuse_row)
        report = conclude(gate)
    assert report.verdict.code == ExitCode.INTERNAL
    assert json.loads((kept / "report.json").read_text())["exit_code"] == ExitCode.INTERNAL


def refuse_row(path: Path, line: bytes) -> None:
    raise OSError(28, "No space left on device")


def test_against_needs_no_state_directory(root: Path) -> None:
    (root / "other.py").write_text(SECOND)
    trial(root, against="other.py")
    assert not (root / ".lance_ar").exists()


@pytest.mark.parametrize("against", ["none", "--help", "kernel", "a\0b"])
def test_against_what_is_neither_a_file_nor_a_ref(root: Path, against: str) -> None:
    with pytest.raises(OptionError) as error:
        gate_of(root, against=against)
    assert str(error.value) == (
        f"--lance-ar-against {against!r} is neither a kernel file nor a git commit, branch or tag that has "
        f"kernel/pq_l2.py; {root / 'kernel'} is in no git repository"
    )


def test_the_phase_of_correctness_stores_nothing(kept: Path) -> None:
    with closing(gate_of(kept)):
        report = trial(kept, phase="correctness")
    assert report.verdict.code == ExitCode.NONE
    assert report.evidence.speed is None
    assert incumbent_of(kept) == FIRST
    assert verdicts(kept) == ["baseline"]


@pytest.mark.parametrize("name", ["conftest.py", "tests/test_a.py", "tests/conftest.py", "pytest.ini"])
def test_a_sealed_file_that_changes_during_the_run(kept: Path, name: str) -> None:
    with closing(gate_of(kept)) as gate:
        (kept / name).write_text("# changed\n")
        report = conclude(gate)
    assert report.verdict.code == ExitCode.TAMPERED
    assert name in report.verdict.reason
    assert incumbent_of(kept) == FIRST
    assert verdicts(kept) == ["baseline", "tampered"]


def test_a_sealed_file_that_changed_since_the_baseline_is_known_at_once(kept: Path) -> None:
    (kept / "conftest.py").write_text("# changed\n")
    with closing(gate_of(kept)) as gate:
        assert gate.evidence.tampered == ("conftest.py",)
        report = conclude(gate)
        assert not gate.ready_to_measure
    assert report.verdict.code == ExitCode.TAMPERED
    assert incumbent_of(kept) == FIRST


def test_keeping_a_kernel_does_not_seal_anew(kept: Path) -> None:
    original = (kept / "conftest.py").read_text()
    trial(kept)
    (kept / "conftest.py").write_text("# changed\n")
    assert trial(kept).verdict.code == ExitCode.TAMPERED
    (kept / "conftest.py").write_text(original)
    assert trial(kept).verdict.code == ExitCode.DISCARD  # the very file that is the incumbent


def test_a_rebaseline_seals_anew_and_takes_a_slower_kernel(kept: Path) -> None:
    (kept / "conftest.py").write_text("# changed by a person\n")
    assert trial(kept, LOSS, rebaseline=True).verdict.name == "baseline"
    assert incumbent_of(kept) == SECOND
    assert trial(kept).verdict.code == ExitCode.DISCARD
    assert verdicts(kept) == ["baseline", "baseline", "discard"]


def test_a_kernel_among_the_tests_may_change(root: Path) -> None:
    kernel = root / "tests" / "pq_l2.py"
    kernel.write_text(FIRST)
    assert trial(root, kernel="tests/pq_l2.py").verdict.name == "baseline"
    kernel.write_text(SECOND)
    assert trial(root, kernel="tests/pq_l2.py").verdict.name == "keep"


def damage(root: Path) -> None:
    path = root / ".lance_ar" / "incumbent.json"
    path.write_text(path.read_text().replace("first", "worst"))


def test_a_damaged_state_is_refused_and_the_way_out_named(kept: Path) -> None:
    damage(kept)
    with pytest.raises(StoreError, match=r"incumbent\.json is damaged .*--lance-ar-rebaseline"):
        gate_of(kept)


def test_a_rebaseline_replaces_a_damaged_state(kept: Path) -> None:
    damage(kept)
    assert trial(kept, rebaseline=True).verdict.name == "baseline"
    assert incumbent_of(kept) == SECOND


def make_foreign(root: Path) -> None:
    (root / "results.tsv").write_text("another\theader\n")


@pytest.mark.parametrize("spoil", [damage, make_foreign])
def test_a_gate_that_did_not_open_is_in_nobodys_way(kept: Path, spoil: Callable[[Path], None]) -> None:
    spoil(kept)
    with pytest.raises(StoreError):
        gate_of(kept)
    (kept / "results.tsv").unlink()
    assert trial(kept, rebaseline=True).verdict.name == "baseline"


def test_a_foreign_ledger_is_found_before_anything_runs(root: Path) -> None:
    make_foreign(root)
    with pytest.raises(StoreError, match="move the file away"):
        gate_of(root)
    assert (root / "results.tsv").read_text() == "another\theader\n"


def test_a_state_directory_that_cannot_be_made_is_found_before_anything_runs(root: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot be written .*--lance-ar-state DIR"):
        gate_of(root, state="kernel/pq_l2.py/state")


def test_a_directory_in_the_ledgers_place_is_found_before_anything_runs(root: Path) -> None:
    (root / "results.tsv").mkdir()
    with pytest.raises(StoreError, match=r"results\.tsv cannot be written"):
        gate_of(root)


def test_an_incumbent_of_another_target_is_refused(kept: Path) -> None:
    state = state_of(kept)
    assert state is not None
    other = replace(state, incumbent=replace(state.incumbent, target="pq_dot"))
    StateDirectory(kept / ".lance_ar").save(other)
    with pytest.raises(OptionError, match=r"pq_dot kernel .*--lance-ar-state DIR"):
        gate_of(kept)


def test_a_second_gate_on_the_same_state_has_no_time_to_wait_for_the_first(root: Path) -> None:
    with closing(gate_of(root)):
        with pytest.raises(StoreError, match="another gate is running"):
            gate_of(root, budget="10")
        gate_of(root, state="elsewhere").close()
    gate_of(root).close()


def test_a_second_gate_is_judged_against_the_incumbent_of_its_own_turn(root: Path) -> None:
    first = gate_of(root)
    told: list[str] = []

    def tell(text: str) -> None:
        told.append(text)
        conclude(first)
        first.close()

    write_kernel(root, SECOND)
    options = Options.from_strings({}, root=root, here=root)
    with closing(Gate(options, here=root, tell=tell)) as second:
        assert second.trial.incumbent == first.trial.candidate
        assert second.waited > 0
    assert told == [f"another gate is running on {root / '.lance_ar'}; waiting for it"]


def test_a_chosen_state_directory_holds_everything(root: Path) -> None:
    assert trial(root, state="mine").verdict.name == "baseline"
    assert StateDirectory(root / "mine").load() is not None
    assert verdicts(root / "mine") == ["baseline"]
    assert not (root / "results.tsv").exists()
    assert not (root / ".lance_ar").exists()


@pytest.mark.parametrize("source", ["-" * 100_000 + "1", "x" + ".x" * 100_000, "class PqKernel(:", "\0"])
def test_a_kernel_that_cannot_be_parsed_is_for_the_suite_to_judge(root: Path, source: str) -> None:
    write_kernel(root, source)
    with closing(gate_of(root)) as gate:
        assert gate.trial.target.name == "pq_l2"


@pytest.mark.parametrize("against", ["", "old/other.py"])
def test_the_json_is_the_report(kept: Path, against: str) -> None:
    (kept / "old").mkdir()
    (kept / "old" / "other.py").write_text("class PqKernel: ...  # another\n")
    report = trial(kept, json="report.json", against=against)
    assert (kept / "report.json").read_text() == report.as_json()
    assert json.loads((kept / "report.json").read_text())["verdict"] == "keep"


def test_the_json_of_a_run_without_a_verdict(kept: Path) -> None:
    trial(kept, phase="correctness", json="report.json")
    assert json.loads((kept / "report.json").read_text())["exit_code"] == ExitCode.NONE


def test_the_phases_add_up_to_the_total(kept: Path) -> None:
    evidence = trial(kept).evidence
    assert {"correctness", "speed", "waiting", "other"} <= set(evidence.phases)
    assert sum(evidence.phases.values()) == pytest.approx(evidence.total_seconds)


def lose_ledger(root: Path) -> None:
    (root / "results.tsv").unlink()
    (root / "results.tsv").mkdir()


def swap_ledger(root: Path) -> None:
    (root / "results.tsv").write_text(HEADER.upper())


def lose_json(root: Path) -> None:
    shutil.rmtree(root / "out")
    (root / "out").touch()


@pytest.mark.parametrize("spoil", [lose_ledger, swap_ledger, lose_json])
def test_what_cannot_be_stored_is_not_kept(kept: Path, spoil: Callable[[Path], None]) -> None:
    (kept / "out").mkdir()
    with closing(gate_of(kept, json="out/report.json")) as gate:
        spoil(kept)
        report = conclude(gate)
    assert (report.verdict.name, report.verdict.code) == ("none", ExitCode.INTERNAL)
    assert report.verdict.reason.startswith("the outcome could not be stored: ")
    assert incumbent_of(kept) == FIRST


def test_a_state_that_cannot_be_written_is_not_kept(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    with closing(gate_of(kept)) as gate, monkeypatch.context() as full:
        full.setattr(Path, "replace", refuse)
        report = conclude(gate)
    assert report.verdict.code == ExitCode.INTERNAL
    assert report.verdict.reason.endswith("No space left on device")
    assert incumbent_of(kept) == FIRST
    assert "keep" not in verdicts(kept)


def test_a_note_in_the_terminals_own_bytes_is_no_reason_to_fail(kept: Path) -> None:
    # What is not UTF-8 on the command line reaches Python as a lone surrogate.
    report = trial(kept, note=b"caf\xe9".decode("utf-8", errors="surrogateescape"))
    assert report.verdict.name == "keep"
    assert verdicts(kept) == ["baseline", "keep"]


def test_rows_without_an_incumbent_are_no_new_project(kept: Path) -> None:
    shutil.rmtree(kept / ".lance_ar")
    with pytest.raises(StoreError, match=r"results\.tsv has rows.* restore .*--lance-ar-rebaseline"):
        gate_of(kept)
    assert trial(kept, rebaseline=True).verdict.name == "baseline"
    assert incumbent_of(kept) == SECOND


def test_a_ledger_and_an_incumbent_that_are_both_gone_are_missed(kept: Path) -> None:
    (kept / "results.tsv").unlink()
    (kept / ".lance_ar" / "incumbent.json").unlink()
    with pytest.raises(StoreError, match=r"results\.tsv is gone, which had 1 rows"):
        gate_of(kept)


def test_rows_of_kernels_that_were_never_right_are_no_history(root: Path) -> None:
    with closing(gate_of(root)) as gate:
        assert conclude(gate, examinations=incorrect().examinations).verdict.name == "incorrect"
    assert trial(root).verdict.name == "baseline"


def in_git(directory: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    done = subprocess.run(["git", "-C", str(directory), *identity, *arguments], check=True, capture_output=True)
    return done.stdout.decode().strip()


@pytest.fixture
def repository(root: Path) -> Path:
    in_git(root, "init", "--quiet", "--initial-branch=trunk")
    (root / ".gitignore").write_text(".lance_ar/\nresults.tsv\n")
    in_git(root, "add", ".")
    in_git(root, "commit", "--quiet", "-m", "first")
    assert trial(root).verdict.name == "baseline"
    return root


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_all_that_git_ignores_can_be_removed_and_the_incumbent_is_missed(repository: Path) -> None:
    in_git(repository, "clean", "-fdxq")
    assert not (repository / ".lance_ar").exists()
    write_kernel(repository, SECOND)
    with pytest.raises(StoreError, match=r"this repository had an incumbent, .*--lance-ar-rebaseline"):
        gate_of(repository)
    assert trial(repository, rebaseline=True).verdict.name == "baseline"
    assert trial(repository, LOSS).verdict.name == "discard"


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_second_worktree_is_judged_against_the_same_incumbent(repository: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    in_git(repository, "worktree", "add", "--quiet", "-b", "other", str(other))
    write_kernel(other, SECOND)
    in_git(other, "commit", "--quiet", "-am", "second")
    assert trial(other, LOSS).verdict.name == "discard"
    assert trial(other).verdict.name == "keep"
    assert verdicts(repository) == ["baseline", "discard", "keep"]
    assert not (other / ".lance_ar").exists()
    assert not (other / "results.tsv").exists()
    commit = in_git(other, "rev-parse", "--short", "HEAD")
    with closing(gate_of(repository)) as gate:
        (notice,) = gate.notices
    assert f"kept at commit {commit}, which is not in HEAD's history" in notice
    assert f"git checkout {commit} -- kernel/pq_l2.py" in notice
    in_git(repository, "checkout", "--quiet", commit, "--", "kernel/pq_l2.py")
    in_git(repository, "commit", "--quiet", "-m", "taken over")
    with closing(gate_of(repository)) as gate:
        assert gate.notices == []


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_an_incumbent_that_was_never_committed_is_copied_from_the_state(repository: Path) -> None:
    write_kernel(repository, SECOND)
    in_git(repository, "commit", "--quiet", "--allow-empty", "-m", "aside")
    assert trial(repository).verdict.name == "keep"
    in_git(repository, "reset", "--quiet", "--hard", "HEAD~")
    with closing(gate_of(repository)) as gate:
        (notice,) = gate.notices
    assert re.search(r"cp .*/kept/[0-9a-f]{64}\.py kernel/pq_l2\.py", notice)


@pytest.mark.parametrize(("said", "older"), [("-100", True), ("100", False), ("nonsense", False), ("", False)])
def test_a_run_counts_from_when_its_caller_says(
    root: Path, monkeypatch: pytest.MonkeyPatch, said: str, older: bool
) -> None:
    monkeypatch.setenv(BEGUN_VARIABLE, str(time.time() + float(said)) if said.lstrip("-").isdigit() else said)
    with closing(gate_of(root)) as gate:
        assert (gate.seconds > 90) == older
        assert (gate.trial.deadline.remaining() < 510) == older
        assert BEGUN_VARIABLE not in os.environ
