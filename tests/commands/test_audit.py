"""The audit: what was edited is named, and a claimed gain is measured once more."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_lance_ar.__main__ import main
from pytest_lance_ar.commands import audit
from pytest_lance_ar.commands.audit import Gain, claim, judge
from pytest_lance_ar.files import write_record
from pytest_lance_ar.host.parent import KernelFault
from pytest_lance_ar.store import journal, ledger
from pytest_lance_ar.store.journal import Outcome
from pytest_lance_ar.store.ledger import Head
from pytest_lance_ar.store.state import State, StateDirectory
from pytest_lance_ar.store.store import KEPT
from pytest_lance_ar.targets.pq_l2.target import TARGET
from pytest_lance_ar.trial.evidence import Failure, FaultKind, Interval, SpeedEvidence
from pytest_lance_ar.trial.kernel_source import Kernel
from pytest_lance_ar.trial.places import witness_of
from pytest_lance_ar.trial.trial import Incumbent
from pytest_lance_ar.trial.verdict import ExitCode
from tests import kernels
from tests.builders import WRONG, guard, guards_of, speed_of

Capture = pytest.CaptureFixture[str]


def kernel(name: str) -> Kernel:
    return Kernel("kernel/pq_l2.py", f"class PqKernel: ...  # {name}\n".encode())


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A baseline, a kernel kept at 1.1, a discarded one, and one kept at 1.2."""
    monkeypatch.chdir(tmp_path)
    store(tmp_path, "baseline", "first")
    store(tmp_path, "keep", "second", 1.1)
    store(tmp_path, "discard", "worse", 0.9)
    store(tmp_path, "keep", "third", 1.2)
    (tmp_path / ".lance_ar" / "lock").touch()
    return tmp_path


def store(
    root: Path, verdict: str, name: str, speedup: float | None = None, source: str = "", commit: str = "-"
) -> None:
    directory, path = StateDirectory(root / ".lance_ar"), root / "results.tsv"
    directory.prepare()
    candidate = Kernel("kernel/pq_l2.py", source.encode()) if source else kernel(name)
    row = {"verdict": verdict, "kernel_sha256": candidate.sha256, "description": name, "commit": commit}
    if speedup:
        row |= {"speedup": f"{speedup}", "speedup_lo": f"{speedup * 0.99}", "speedup_hi": f"{speedup * 1.01}"}
    state = State(Incumbent(candidate, "pq_l2", "-", "now", 1.0, 7), {}) if verdict in KEPT else None
    outcome = Outcome(*ledger.compose(path, row, directory.load_head()), state)
    outcome.write(directory)
    outcome.apply(directory, path)


def test_rows_that_nobody_touched_verify(project: Path, capsys: Capture) -> None:
    assert main(["audit"]) == 0
    assert capsys.readouterr().out == f"verified: 4 rows of {project / 'results.tsv'}\n"


def edit_row(root: Path) -> None:
    path = root / "results.tsv"
    path.write_text(path.read_text().replace("worse", "better"))


def lose_last_row(root: Path) -> None:
    path = root / "results.tsv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def remove_ledger(root: Path) -> None:
    (root / "results.tsv").unlink()


def remove_head(root: Path) -> None:
    (root / ".lance_ar" / "ledger.json").unlink()


def damage_head(root: Path) -> None:
    path = root / ".lance_ar" / "ledger.json"
    path.write_text(path.read_text().replace('"rows": 4', '"rows": 3'))


def damage_incumbent(root: Path) -> None:
    path = root / ".lance_ar" / "incumbent.json"
    path.write_text(path.read_text().replace("third", "fourth"))


def swap_incumbent(root: Path) -> None:
    StateDirectory(root / ".lance_ar").save(State(Incumbent(kernel("mine"), "pq_l2", "-", "now", 1.0, 7), {}))


def remove_incumbent(root: Path) -> None:
    (root / ".lance_ar" / "incumbent.json").unlink()


def change_kept(root: Path) -> None:
    (root / ".lance_ar" / "kept" / f"{kernel('second').sha256}.py").write_text("class PqKernel: ...\n")


def remove_kept(root: Path) -> None:
    shutil.rmtree(root / ".lance_ar" / "kept")


def make_foreign(root: Path) -> None:
    (root / "results.tsv").write_text("commit\tval_bpb\n")


def make_directory(root: Path) -> None:
    remove_ledger(root)
    (root / "results.tsv").mkdir()


def damage_journal(root: Path) -> None:
    (root / ".lance_ar" / "journal.json").write_text("{}")


PROBLEMS = {
    edit_row: "line 4: this row was edited",
    lose_last_row: "line 5: row 4 is missing at the end",
    remove_ledger: "the file is gone; it had 4 rows",
    remove_head: "line 2: nothing in the state directory vouches for this row",
    damage_head: "ledger.json is damaged",
    damage_incumbent: "incumbent.json is damaged",
    swap_incumbent: "line 5: the kernel that was kept last is not the incumbent",
    remove_incumbent: "line 5: a kernel was kept here, and there is no incumbent",
    change_kept: "line 3: the kernel that was kept here is not in",
    remove_kept: "line 2: the kernel that was kept here is not in",
    make_foreign: "line 1: another header than this gate writes",
    make_directory: "Is a directory",
    damage_journal: "journal.json is damaged",
}


@pytest.mark.parametrize(("spoil", "sentence"), PROBLEMS.items(), ids=lambda one: getattr(one, "__name__", ""))
@pytest.mark.parametrize("arguments", [["audit"], ["audit", "--replay"]], ids=" ".join)
def test_what_does_not_verify_is_named(
    project: Path, capsys: Capture, arguments: list[str], spoil: Callable[[Path], None], sentence: str
) -> None:
    spoil(project)
    assert main(arguments) == 1
    line, *more = capsys.readouterr().out.splitlines()
    assert all("restorable: " in one for one in more)
    assert line.startswith("not verified: results.tsv: ")
    assert sentence in line


def test_a_ledger_started_anew_is_said(project: Path, capsys: Capture) -> None:
    remove_ledger(project)
    store(project, "keep", "fourth", 1.1)
    assert main(["audit"]) == 0
    assert "started anew; 4 rows written before are not in it\nverified: 1 rows" in capsys.readouterr().out


def test_a_journal_that_was_left_is_applied(project: Path, capsys: Capture) -> None:
    directory, path = StateDirectory(project / ".lance_ar"), project / "results.tsv"
    Outcome(*ledger.compose(path, {"verdict": "discard"}, directory.load_head()), None).write(directory)
    assert main(["audit"]) == 0
    assert "which is complete now\nverified: 5 rows" in capsys.readouterr().out
    assert journal.read(directory) is None


def test_a_state_directory_of_the_users_choice(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "state"
    shutil.copytree(project / ".lance_ar", elsewhere)
    shutil.copy(project / "results.tsv", elsewhere)
    assert main(["audit", "--state", str(elsewhere)]) == 0
    assert main(["audit", "--state", ".lance_ar"]) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["--state", "nowhere"],
        ["--state", "."],
        ["--state", "results.tsv"],
        ["--budget", "nan"],
        ["--budget", "-1"],
        ["--budget", "x"],
        ["--nonsense"],
        ["--state", "a\0b"],
    ],
    ids=repr,
)
def test_a_users_mistake_is_one_sentence(project: Path, capsys: Capture, arguments: list[str]) -> None:
    before = sorted(project.rglob("*"))
    try:
        status: object = main(["audit", *arguments])
    except SystemExit as end:  # argparse ends the process, the command does not
        status = end.code
    assert status == 4
    assert "audit: " in (error := capsys.readouterr().err) or "error: " in error
    assert sorted(project.rglob("*")) == before


def test_while_a_gate_runs_there_is_no_audit(project: Path, capsys: Capture) -> None:
    directory = StateDirectory(project / ".lance_ar")
    directory.lock()
    assert main(["audit"]) == 4
    assert "another gate is running" in capsys.readouterr().err
    directory.unlock()
    assert main(["audit"]) == 0


def replayed(
    project: Path, monkeypatch: pytest.MonkeyPatch, speed: SpeedEvidence | Exception
) -> tuple[int, list[tuple[Kernel, Kernel, float]]]:
    pairs = []

    def measure(_deadline: object, candidate: Kernel, incumbent: Kernel, rtol: float) -> SpeedEvidence:
        pairs.append((candidate, incumbent, rtol))
        if isinstance(speed, Exception):
            raise speed
        return speed

    monkeypatch.setattr(audit, "duel_again", measure)
    return main(["audit", "--replay"]), pairs


def test_a_replay_times_the_baseline_against_the_incumbent(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    status, ((candidate, incumbent, rtol),) = replayed(project, monkeypatch, speed_of(1 / 1.31, guards=None))
    assert status == 0
    assert (candidate.source, incumbent.source) == (kernel("third").source, kernel("first").source)
    assert rtol == 0
    output = capsys.readouterr().out
    assert "claimed:  1.3200 [1.3015, 1.3388], the product of 2 kept kernels since line 2\n" in output
    assert "measured: 1.3100 [1.3035, 1.3166], keep " in output
    assert output.endswith("real: the replay confirms a gain, and does not exclude the one that is claimed\n")


def test_a_replay_shows_the_guards_the_losses_first(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    looks_slow = guard(1.04, 1.09, 1.2, "(64,8,16), uniform, N 500, k 1")
    guards = guards_of(0.6, looks_slow, guard(0.9, 1.01, 1.1, "(1536,192,256), sparse, N 900, k 1000"))
    assert replayed(project, monkeypatch, speed_of(1 / 1.31, guards=guards))[0] == 0
    lines = capsys.readouterr().out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("incumbent / baseline "))
    table = lines[start + 1 : start + 15]
    assert table[0] == " 1.090 [1.040, 1.200]                1.0           1.1  ((64,8,16), uniform, N 500, k 1)"
    assert table[1].endswith("((1536,192,256), sparse, N 900, k 1000)")
    assert all(line.startswith(" 0.600 [") for line in table[2:])
    assert lines[-1] == (
        "guards: geomean 0.600 [0.599, 0.601] over 14 workloads; 2 look slower than the baseline, 0 are shown to be "
        "slower than 1.05 x its time"
    )


def test_a_replay_that_shows_a_loss_elsewhere_fails(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    lost = guard(1.051, 1.09, 1.2)
    assert replayed(project, monkeypatch, speed_of(1 / 1.31, guards=guards_of(0.6, lost)))[0] == 1
    output = capsys.readouterr().out
    assert "real: the replay confirms a gain" in output
    assert "1 are shown to be slower than 1.05 x its time\n" in output
    assert output.endswith(f"  python -m pytest_lance_ar bench --workload '{lost.spec}'\n")


def test_a_replay_looks_at_sixty_workloads_and_more() -> None:
    assert audit.DRAWS * len(TARGET.guards(1)) >= 60


def test_a_gain_that_is_not_there_is_not_real(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    assert replayed(project, monkeypatch, speed_of(1.0))[0] == 1
    assert "not real: the replay excludes even 80% of the gain that is claimed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("kind", "status"), [(FaultKind.WRONG_ANSWER, 1), (FaultKind.TIMEOUT, 11), (FaultKind.BUSY, 11)]
)
def test_a_replay_that_fails(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, kind: FaultKind, status: int
) -> None:
    failure: Failure = replace(WRONG, kind=kind)
    assert replayed(project, monkeypatch, KernelFault(failure))[0] == status
    assert f"not replayed: {failure}" in capsys.readouterr().out


def lose(root: Path, *names: str) -> None:
    for name in names:
        shutil.rmtree(root / ".lance_ar" / name, ignore_errors=True)
        (root / ".lance_ar" / name).unlink(missing_ok=True)


def restored(root: Path, monkeypatch: pytest.MonkeyPatch, outcome: SpeedEvidence | Exception) -> int:
    def duel_again(*_: object) -> SpeedEvidence:
        return outcome if isinstance(outcome, SpeedEvidence) else _raise(outcome)

    monkeypatch.setattr(audit, "duel_again", duel_again)
    return main(["audit", "--restore"])


def _raise(error: Exception) -> SpeedEvidence:
    raise error


@pytest.mark.parametrize("lost", [("incumbent.json",), ("ledger.json",), ("incumbent.json", "ledger.json", "lock")])
def test_a_lost_incumbent_is_restored_when_its_gain_is_real(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, lost: tuple[str, ...]
) -> None:
    before = StateDirectory(project / ".lance_ar").load()
    assert before is not None
    lose(project, *lost)
    assert main(["audit"]) == 1
    said = capsys.readouterr().out
    assert f"restorable: the incumbent {kernel('third').sha256[:12]}, kept in line 5, and the head of 4 rows" in said
    assert restored(project, monkeypatch, speed_of(1 / 1.31)) == 0
    capsys.readouterr()
    after = StateDirectory(project / ".lance_ar").load()
    assert after is not None
    assert after.incumbent.kernel.source == before.incumbent.kernel.source
    assert main(["audit"]) == 0
    assert capsys.readouterr().out == f"verified: 4 rows of {project / 'results.tsv'}\n"


def test_a_damaged_incumbent_is_restored(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / ".lance_ar" / "incumbent.json").write_text("{")
    assert restored(project, monkeypatch, speed_of(1 / 1.31)) == 0
    assert main(["audit"]) == 0


@pytest.mark.parametrize(
    ("outcome", "status"),
    [(speed_of(1.0), 1), (KernelFault(WRONG), 1), (KernelFault(replace(WRONG, kind=FaultKind.BUSY)), 11)],
)
def test_a_gain_that_is_not_confirmed_is_not_restored(
    project: Path, monkeypatch: pytest.MonkeyPatch, outcome: SpeedEvidence | Exception, status: int
) -> None:
    lose(project, "incumbent.json")
    assert restored(project, monkeypatch, outcome) == status
    assert StateDirectory(project / ".lance_ar").load() is None


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda root: lose(root, "kept"), "is neither in "),
        (edit_row, "does not verify by itself, line 4: this row was edited"),
        (lose_last_row, "is not the one that is remembered, line 5: row 4 is missing at the end"),
        (lambda root: (root / ".lance_ar/kept" / f"{kernel('third').sha256}.py").write_text("x"), "is neither in "),
    ],
    ids=["no sources", "an edited ledger", "a ledger cut off", "another source"],
)
def test_what_is_not_proved_is_not_restorable(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, spoil: Callable[[Path], object], why: str
) -> None:
    lose(project, "incumbent.json")
    spoil(project)
    assert restored(project, monkeypatch, speed_of(1 / 1.31)) == 1
    said = capsys.readouterr().out
    assert "not restorable: " in said
    assert why in said
    assert StateDirectory(project / ".lance_ar").load() is None


def test_sources_are_found_in_commits(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """All of the state is gone; the kernels were committed, as an agent does it, and the ledger says where."""
    shutil.rmtree(project / ".lance_ar")
    (project / "results.tsv").unlink()
    run = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run([*run, "init", "-q"], check=True)
    (project / "kernel").mkdir()
    for verdict, name, speedup in (("baseline", "first", None), ("keep", "second", 1.1)):
        (project / "kernel" / "pq_l2.py").write_bytes(kernel(name).source)
        subprocess.run([*run, "add", "kernel"], check=True)
        subprocess.run([*run, "commit", "-q", "-m", name], check=True)
        commit = subprocess.run([*run, "rev-parse", "--short", "HEAD"], check=True, capture_output=True, text=True)
        store(project, verdict, name, speedup, commit=commit.stdout.strip())
    shutil.rmtree(project / ".lance_ar")
    assert restored(project, monkeypatch, speed_of(1 / 1.1)) == 0, capsys.readouterr().out
    assert main(["audit"]) == 0


def test_the_repository_remembers_an_incumbent_that_the_ledger_has_lost(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    subprocess.run(["git", "init", "-q"], check=True)
    witness = witness_of(project)
    assert witness is not None
    write_record(witness, {"version": 1, "incumbent": kernel("third").sha256})
    lose(project, "incumbent.json", "ledger.json")
    lose_last_row(project)
    assert restored(project, monkeypatch, speed_of(1 / 1.1)) == 1
    assert "rows are missing at its end" in capsys.readouterr().out


def test_where_nothing_is_lost_nothing_is_restored(project: Path, capsys: Capture) -> None:
    assert main(["audit", "--restore"]) == 0
    assert "nothing to restore" in capsys.readouterr().out


def test_a_rebaseline_starts_the_claim_anew(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    store(project, "baseline", "fourth")
    assert replayed(project, monkeypatch, speed_of(1.0)) == (0, [])
    assert "nothing to replay" in capsys.readouterr().out
    store(project, "keep", "fifth", 1.05)
    status, ((candidate, incumbent, _),) = replayed(project, monkeypatch, speed_of(1 / 1.05))
    assert status == 0
    assert (candidate.source, incumbent.source) == (kernel("fifth").source, kernel("fourth").source)


def kept_rows(*speedups: Sequence[float] | tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    names = ("speedup", "speedup_lo", "speedup_hi")
    rows = [dict(zip(names, map(str, figures), strict=True)) for figures in speedups]
    return list(enumerate([{}, *rows], start=2))


def test_a_claim_is_a_product_whose_errors_add_up_in_quadrature() -> None:
    total = claim(kept_rows((1.1, 1.1 / 1.03, 1.1 * 1.03), (1.2, 1.2 / 1.04, 1.2 * 1.04)))
    assert total is not None
    assert total.ratio == pytest.approx(1.32)
    half = math.hypot(math.log(1.03), math.log(1.04))
    assert total.interval.low == pytest.approx(1.32 * math.exp(-half))
    assert total.interval.high == pytest.approx(1.32 * math.exp(half))


@pytest.mark.parametrize("figures", [("", "", ""), ("x", "1", "1"), ("0", "1", "1"), ("nan", "1", "1"), ("inf",) * 3])
def test_a_claim_without_figures_is_none(figures: tuple[str, str, str]) -> None:
    assert claim(kept_rows(figures)) is None


@pytest.mark.parametrize(
    ("claimed", "low", "high", "code"),
    [
        (1.02, 1.01, 1.03, ExitCode.KEPT),
        (1.02, 1.001, 1.0165, ExitCode.KEPT),
        (1.02, 1.001, 1.015, ExitCode.DISCARD),
        (1.02, 0.99, 1.01, ExitCode.DISCARD),
        (1.02, 0.99, 1.03, ExitCode.INCONCLUSIVE),
        (1.02, 1.04, 1.06, ExitCode.KEPT),
        (2.0, 1.5, 1.6, ExitCode.DISCARD),
        (2.0, 1.7, 1.75, ExitCode.KEPT),
    ],
)
def test_a_claim_is_real_where_four_fifths_of_it_are_not_excluded(
    claimed: float, low: float, high: float, code: ExitCode
) -> None:
    measured = Gain(math.sqrt(low * high), Interval(low, high))
    assert judge(Gain(claimed, Interval(claimed, claimed)), measured)[0] == code


def test_a_read_only_state_directory_can_be_audited(project: Path) -> None:
    if subprocess.run(["mount", "--bind", project, project], check=False, capture_output=True).returncode:
        pytest.skip("mounting takes a privileged user")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", project], check=True)
        done = subprocess.run(
            [sys.executable, "-m", "pytest_lance_ar", "audit"], cwd=project, capture_output=True, text=True, check=False
        )
    finally:
        subprocess.run(["umount", project], check=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.exhaustive
def test_a_real_replay_tells_a_real_gain_from_a_claimed_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store(tmp_path, "baseline", "scalar", source=kernels.BASELINE)
    store(tmp_path, "keep", "faster", 1.4, source=kernels.FASTER)
    real = subprocess.run(
        [sys.executable, "-m", "pytest_lance_ar", "audit", "--replay"], capture_output=True, text=True, check=False
    )
    assert real.returncode == 0, real.stdout + real.stderr
    store(tmp_path, "keep", "only said to be faster", 1.6, source=kernels.FASTER + "# again\n")
    claimed = subprocess.run(
        [sys.executable, "-m", "pytest_lance_ar", "audit", "--replay"], capture_output=True, text=True, check=False
    )
    assert claimed.returncode == 1, claimed.stdout + claimed.stderr
    assert "not real" in claimed.stdout


def test_the_head_is_json_of_plain_fields(project: Path) -> None:
    content = json.loads((project / ".lance_ar" / "ledger.json").read_text())
    assert (content["rows"], content["forgotten"]) == (4, 0)
    assert StateDirectory(project / ".lance_ar").load_head() == Head(4, content["chain"], 0)
    assert len(list((project / ".lance_ar" / "kept").iterdir())) == 3
