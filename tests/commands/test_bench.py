"""`python -m pytest_lance_ar bench`: small real runs, and every way in which one ends."""

from __future__ import annotations

import functools
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pytest_lance_ar.__main__ import main
from pytest_lance_ar.bench import guards as workloads
from pytest_lance_ar.bench import workloads as workloads_module
from pytest_lance_ar.bench.measure import CHECKED_CALLS, Plan
from pytest_lance_ar.commands import bench
from pytest_lance_ar.host.parent import KernelFault
from pytest_lance_ar.speed import guards as timing
from pytest_lance_ar.speed.sides import WARMUP_CALLS, IncumbentFailed
from pytest_lance_ar.store.state import State, StateDirectory
from pytest_lance_ar.targets.benchmarks import Section
from pytest_lance_ar.targets.common.pq.cases import DrawnCase
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.pq_l2.bench.sections import FAISS_DRIVER, PACKING_DRIVER, PqL2Benchmarks
from pytest_lance_ar.targets.pq_l2.bench.workloads import Workload
from pytest_lance_ar.targets.pq_l2.metric import L2
from pytest_lance_ar.targets.pq_l2.target import TARGET
from pytest_lance_ar.trial.evidence import FaultKind, GuardEvidence
from pytest_lance_ar.trial.kernel_source import Kernel, contract_failure
from pytest_lance_ar.trial.trial import Incumbent
from tests import kernels
from tests.builders import WRONG, guards_of

BASELINE_FILE = TARGET.suite.with_name("baseline.py")
TINY = (Workload(PqShape(8, 2, 16), "uniform", 60), Workload(PqShape(6, 3, 8), "lognormal", 9))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a kernel, where every section is tiny and faiss is not there."""
    tmp_path.joinpath("kernel").mkdir()
    tmp_path.joinpath("kernel/pq_l2.py").write_text(kernels.PURE_PYTHON)
    tmp_path.joinpath("other.py").write_text(kernels.PURE_PYTHON)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(PqL2Benchmarks, "version", lambda _self: None)
    found = {
        "combos": Section("Combos", TINY),
        "sizes": Section("Sizes", TINY[:1], by_size=True, packing_driver=PACKING_DRIVER),
        "shapes": Section("Shapes", TINY[:1]),
        "data": Section("Data", TINY[1:]),
    }
    monkeypatch.setattr(bench, "sections_of", lambda _target, _quick: found)
    for plan in ("FULL", "LARGE", "QUICK"):
        monkeypatch.setattr(bench, plan, Plan(epochs=2, rounds=2))
    return tmp_path


def test_a_run_prints_its_tables_and_writes_them(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--combos", "--sizes", "--against", "other.py", "--json", "figures.json"]) == 0
    output = capsys.readouterr().out
    assert "faiss is not installed and left out: pip install 'pytest-lance-ar[faiss]'\n" in output
    assert output.index("\nCombos\n") < output.index("\nSizes\n")
    assert "\nShapes\n" not in output
    figures = json.loads(here.joinpath("figures.json").read_text())
    assert figures["kernel"]["sha256"] == Kernel("", kernels.PURE_PYTHON.encode()).sha256
    rows = {name: section["rows"] for name, section in figures["sections"].items()}
    assert [(row["shape"], row["data"], row["n"]) for row in rows["combos"]] == [
        ("(8,2,16)", "uniform", 60),
        ("(6,3,8)", "lognormal", 9),
    ]
    (row,) = rows["sizes"]
    assert row["packing"]["bytes_per_code_byte"] == 1.0
    assert set(row["ns_per_query"]) == {"kernel", "baseline"}
    ratio = row["kernel_ratio"]["baseline"]
    assert 0 < ratio["low"] <= ratio["median"] <= ratio["high"]
    assert f" {ratio['median']:.3f} [{ratio['low']:.3f}, {ratio['high']:.3f}] |" in output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--kernel", "missing.py"], "No such file or directory: 'missing.py'"),
        (["--against", "missing.py"], "No such file or directory: 'missing.py'"),
        (["--rtol", "1e-3"], "--rtol must be from 0 to 1e-06"),
        (["--workload", "nonsense"], "not a workload: 'nonsense'"),
        (["--data", "missing.npz"], "No such file or directory: 'missing.npz'"),
        (["--data", "other.py"], "other.py is no file for --data: "),
        (["--against", "incumbent"], "has no incumbent; name its directory with --state DIR"),
    ],
)
def test_a_mistake_gets_one_sentence(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert main(["bench", *arguments]) == 4
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("bench: ")
    assert sentence in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kernel", "against", "status", "sentence"),
    [
        (kernels.with_table("out[:] = 0"), kernels.PURE_PYTHON, 2, "the kernel failed: (8,2,16) uniform, N 60, query "),
        ("x = 1", kernels.PURE_PYTHON, 2, "the kernel failed: the kernel file defines no PqKernel"),
        (kernels.PURE_PYTHON, kernels.with_table("out[:] = 0"), 4, "the baseline failed: (8,2,16) uniform"),
        (kernels.PURE_PYTHON, "import nothing", 4, "the baseline failed: import raised ModuleNotFoundError"),
    ],
)
def test_who_fails_is_named(
    here: Path, capsys: pytest.CaptureFixture[str], kernel: str, against: str, status: int, sentence: str
) -> None:
    here.joinpath("kernel/pq_l2.py").write_text(kernel)
    here.joinpath("other.py").write_text(against)
    assert main(["bench", "--against", "other.py"]) == status
    assert f"bench: {sentence}" in capsys.readouterr().err


@pytest.mark.slow
def test_an_answer_that_is_wrong_only_when_timed_is_noticed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    right = WARMUP_CALLS + CHECKED_CALLS
    counts = f"(setattr(self, 'calls', getattr(self, 'calls', 0) + 1), self.calls <= {right} or len(ids) < 10)[1]"
    two_faced = kernels.with_answer(f"ids, distance[ids] if {counts} else distance[ids] + np.float32(1)")
    here.joinpath("kernel/pq_l2.py").write_text(two_faced)
    assert main(["bench", "--against", "other.py"]) == 2
    assert f"N 60, query {right}: probe_top_k distances[0]: expected" in capsys.readouterr().err


@pytest.mark.slow
def test_the_baseline_is_a_kernel_and_faiss_is_timed_where_it_is_installed(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    pytest.importorskip("faiss", reason="faiss is not installed: the extra [faiss]")
    tiny = (TINY[0], Workload(PqShape(8, 2, 256), "student_t2", 700), Workload(PqShape(64, 4), "sparse", 700))
    monkeypatch.setattr(
        bench, "sections_of", lambda _target, _quick: {"combos": Section("Combos", tiny, library_driver=FAISS_DRIVER)}
    )
    monkeypatch.setattr(bench, "QUICK", Plan(epochs=1, rounds=2))
    assert main(["bench", "--quick", "--kernel", str(here / "other.py")]) == 0
    assert "kernel / faiss: geomean" in capsys.readouterr().out


@pytest.mark.slow
def test_a_process_that_cannot_be_set_up_is_nobodys_fault(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PqL2Benchmarks, "version", lambda _self: "0")
    found = {"combos": Section("Combos", TINY, library_driver="pytest_lance_ar.no_such_driver")}
    monkeypatch.setattr(bench, "sections_of", lambda _target, _quick: found)
    assert main(["bench", "--against", "other.py"]) == 70
    assert "No module named 'pytest_lance_ar.no_such_driver'" in capsys.readouterr().err


def test_a_target_that_adds_nothing_has_its_combos(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "sections_of", workloads_module.sections_of)
    monkeypatch.setattr(type(TARGET), "benchmarks", "")
    tiny = DrawnCase(L2, PqShape(8, 2, 16), "uniform", seed=1, n=60, k=5, queries=60)
    monkeypatch.setattr(type(TARGET), "workload", lambda *_: tiny.instance())
    monkeypatch.setattr(type(TARGET), "combos", TARGET.combos[:2])
    assert main(["bench", "--against", "other.py"]) == 0
    output = capsys.readouterr().out
    assert "| (128,16,256) clustered |" in output
    assert "faiss" not in output
    assert main(["bench", "--sizes", "--lance"]) == 4
    assert "the target pq_l2 has no --sizes, --lance; it has --combos\n" in capsys.readouterr().err
    assert main(["bench", "--data", "mine.npz"]) == 4
    assert "the target pq_l2 takes no file of your own\n" in capsys.readouterr().err


def test_the_baseline_keeps_the_contract() -> None:
    assert contract_failure(Kernel.read(BASELINE_FILE, "baseline.py"), TARGET) is None


SPEC = "shape=8,2,16 distribution=clustered seed=3 n=60 k=5 queries=foreign"
FEW = timing.Plan(rounds=2, focus=0, least=1)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "time_workloads", functools.partial(workloads.measure, plan=FEW))


def test_a_guard_workload_is_timed_as_its_spec_says(here: Path, few: None, capsys: pytest.CaptureFixture[str]) -> None:
    more = "shape=6,3,8 distribution=student_t2 seed=4 n=9 k=100"
    arguments = ["--workload", SPEC, "--workload", more, "--against", "other.py", "--json", "figures.json"]
    assert main(["bench", *arguments]) == 0
    output = capsys.readouterr().out
    assert "((8,2,16), clustered, N 60, k 5, foreign queries)\n" in output
    assert "((6,3,8), student_t2, N 9, k 100)\n" in output
    assert "kernel / other.py" in output
    assert "geomean of 2 workloads" in output
    assert "\nCombos\n" not in output
    assert "faiss" not in output
    figures = json.loads(here.joinpath("figures.json").read_text())
    assert [one["spec"] for one in figures["workloads"]] == [SPEC, more]
    assert f"{figures['workloads'][0]['ratio']:.3f} [" in output


def test_a_file_of_ones_own_is_timed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(1)
    codebook, codes = rng.normal(size=(3, 8, 2)).astype(np.float32), rng.integers(0, 8, (40, 3)).astype(np.uint8)
    np.savez(here / "mine.npz", codebook=codebook, codes=codes, queries=rng.normal(size=(4, 6)).astype(np.float32))
    assert main(["bench", "--data", "mine.npz", "--k", "3"]) == 0
    output = capsys.readouterr().out
    assert "\nYour own data\n" in output
    assert "| (6,3,8) mine.npz |" in output
    assert "\nCombos\n" not in output


def test_data_without_a_file_is_the_section(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--data"]) == 0
    assert "\nData\n" in capsys.readouterr().out


@pytest.fixture
def rivals(monkeypatch: pytest.MonkeyPatch) -> list[Kernel]:
    """What workloads were timed against. Nothing is timed."""
    found: list[Kernel] = []

    def time_workloads(_target: object, _kernel: Kernel, rival: Kernel, *_: object, **__: object) -> GuardEvidence:
        found.append(rival)
        return guards_of()

    monkeypatch.setattr(bench, "time_workloads", time_workloads)
    return found


def test_the_rival_may_be_the_incumbent_or_a_commit(
    here: Path, rivals: list[Kernel], capsys: pytest.CaptureFixture[str]
) -> None:
    stored = Kernel("kernel/pq_l2.py", (kernels.PURE_PYTHON + "# stored\n").encode())
    directory = StateDirectory(here / ".lance_ar")
    directory.prepare()
    directory.save(State(Incumbent(stored, "pq_l2", "-", "2026-01-01T00:00:00Z", 1.0, 7), {}))
    assert main(["bench", "--workload", SPEC, "--against", "incumbent"]) == 0
    assert f"kernel / incumbent {stored.sha256[:12]}" in capsys.readouterr().out
    for command in ("init -q", "add kernel", "-c user.name=a -c user.email=b commit -qm c"):
        subprocess.run(["git", *command.split()], check=True, cwd=here)
    here.joinpath("kernel/pq_l2.py").write_text(kernels.PURE_PYTHON + "# changed\n")
    assert main(["bench", "--workload", SPEC, "--against", "HEAD"]) == 0
    assert "kernel / HEAD:kernel/pq_l2.py" in capsys.readouterr().out
    assert main(["bench", "--workload", SPEC]) == 0
    assert [rival.source for rival in rivals] == [
        stored.source,
        kernels.PURE_PYTHON.encode(),
        BASELINE_FILE.read_bytes(),
    ]


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (KernelFault(WRONG), 2, f"bench: the kernel failed: {WRONG}\n{WRONG.hint}\n"),
        (KernelFault(replace(WRONG, kind=FaultKind.TIMEOUT)), 3, "bench: the kernel failed: "),
        (IncumbentFailed(WRONG), 4, f"bench: other.py failed: {WRONG}\n"),
    ],
)
def test_a_kernel_that_fails_on_a_workload_gets_no_ratio(
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    status: int,
    sentence: str,
) -> None:
    def time_workloads(*_: object, **__: object) -> GuardEvidence:
        raise error

    monkeypatch.setattr(bench, "time_workloads", time_workloads)
    assert main(["bench", "--workload", SPEC, "--against", "other.py"]) == status
    captured = capsys.readouterr()
    assert captured.err.startswith(sentence)
    assert "kernel / " not in captured.out
