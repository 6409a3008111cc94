"""`python -m pytest_lance_ar bench`: small real runs, and every way in which one ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_lance_ar.__main__ import main
from pytest_lance_ar.bench.measure import CHECKED_CALLS, Plan
from pytest_lance_ar.bench.workloads import Section, Workload
from pytest_lance_ar.commands import bench
from pytest_lance_ar.speed.sides import WARMUP_CALLS
from pytest_lance_ar.targets.pq_l2.shape import PqShape
from pytest_lance_ar.targets.pq_l2.target import TARGET
from pytest_lance_ar.trial.kernel_source import Kernel, contract_failure
from tests import kernels

TINY = (Workload(PqShape(8, 2, 16), "uniform", 60), Workload(PqShape(6, 3, 8), "lognormal", 9))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a kernel, where every section is tiny and faiss is not there."""
    tmp_path.joinpath("kernel").mkdir()
    tmp_path.joinpath("kernel/pq_l2.py").write_text(kernels.PURE_PYTHON)
    tmp_path.joinpath("other.py").write_text(kernels.PURE_PYTHON)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench, "_faiss_version", lambda: None)
    found = {
        "combos": Section("Combos", TINY),
        "sizes": Section("Sizes", TINY[:1], by_size=True),
        "shapes": Section("Shapes", TINY[:1]),
        "data": Section("Data", TINY[1:]),
    }
    monkeypatch.setattr(bench, "sections", lambda _quick: found)
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
    monkeypatch.setattr(bench, "sections", lambda _quick: {"combos": Section("Combos", tiny)})
    monkeypatch.setattr(bench, "QUICK", Plan(epochs=1, rounds=2))
    assert main(["bench", "--quick", "--kernel", str(here / "other.py")]) == 0
    assert "kernel / faiss: geomean" in capsys.readouterr().out


@pytest.mark.slow
def test_a_process_that_cannot_be_set_up_is_nobodys_fault(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "_faiss_version", lambda: "0")
    monkeypatch.setattr(bench, "FAISS_DRIVER", "pytest_lance_ar.no_such_driver")
    assert main(["bench", "--against", "other.py"]) == 70
    assert "No module named 'pytest_lance_ar.no_such_driver'" in capsys.readouterr().err


def test_the_baseline_keeps_the_contract() -> None:
    assert contract_failure(Kernel.read(bench.BASELINE_FILE, "baseline.py"), TARGET.kernel_class) is None
