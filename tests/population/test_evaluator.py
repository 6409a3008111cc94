"""The gate as an evaluator: a score that luck does not raise, 0.0 for what is not proved, and never an exception."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

import pytest_lance_ar
from pytest_lance_ar.commands import evaluate as command
from pytest_lance_ar.population import evaluator
from pytest_lance_ar.population.evaluator import Evaluation, evaluate, judge
from pytest_lance_ar.population.gate_process import GateRun, run_gate
from pytest_lance_ar.trial.kernel_source import Kernel
from tests import kernels
from tests.builders import WRONG
from tests.report.test_report import KINDS, every_kind


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program, a baseline, and a place of its own for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    baseline, path = tmp_path / "baseline.py", tmp_path / "program.py"
    monkeypatch.setenv(evaluator.BASELINE_VARIABLE, str(baseline))
    baseline.write_text(kernels.PURE_PYTHON)
    path.write_text(kernels.PURE_PYTHON + "# other\n")
    return path


def answer(monkeypatch: pytest.MonkeyPatch, run: GateRun) -> list[dict[str, Any]]:
    """Replace the gate by an answer; returns what it was asked."""
    asked: list[dict[str, Any]] = []

    def ask(candidate: Kernel, **others: Any) -> GateRun:
        asked.append({"candidate": candidate, **others})
        return run

    monkeypatch.setattr(evaluator, "run_gate", ask)
    return asked


@pytest.mark.parametrize("kind", KINDS)
def test_the_score_is_the_low_end_of_what_was_compared_and_else_0(
    kind: str, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = every_kind()[kind].as_dict()
    answer(monkeypatch, GateRun(report["exit_code"], report, ""))
    result = judge(program)
    if kind in ("keep", "discard", "given up", "inconclusive"):
        assert result.score == report["speedup_interval"][0]
        assert result.correct
        assert result.error is None
        assert f"{report['speedup_vs_incumbent']:.4f} [{result.score:.4f}, " in result.feedback
    else:
        assert result.score == 0.0
        assert not result.correct
        assert result.error
    assert result.feedback.startswith(report["verdict"])
    assert report["reason"] is None or report["reason"] in result.feedback


@pytest.mark.parametrize("kind", KINDS)
def test_the_metrics_are_plain_finite_floats(kind: str, program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = every_kind()[kind].as_dict()
    answer(monkeypatch, GateRun(report["exit_code"], report, ""))
    metrics = evaluate(program)
    assert {type(value) for value in metrics.values()} == {float}
    assert next(iter(metrics)) == "combined_score"
    assert 0.0 not in [value for name, value in metrics.items() if "ns" in name], "0 ns would be the best of all"


def test_a_wrong_kernels_feedback_carries_its_case(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = every_kind()["incorrect"].as_dict()
    answer(monkeypatch, GateRun(2, report, ""))
    assert judge(program).feedback.splitlines() == [f"incorrect: {WRONG}", WRONG.hint, report["replay"]]


def test_a_gate_that_was_killed_is_a_timeout(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, GateRun(None, None, ""))
    result = judge(program)
    assert result.score == 0.0
    assert result.feedback.startswith("timeout: the gate was killed after ")


def test_a_usage_error_is_told(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, GateRun(4, None, "ERROR: no kernel\n\n"))
    assert judge(program).feedback == "the gate ended with exit status 4: ERROR: no kernel"


def test_the_gate_ends_well_before_openevolve_gives_up(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answer(monkeypatch, GateRun(None, None, ""))
    judge(program)
    assert asked[0]["budget"] < asked[0]["seconds"] < evaluator.SECONDS < 300


@pytest.mark.parametrize("missing", ["program.py", "baseline.py"])
def test_a_missing_file_is_0_and_no_exception(missing: str, program: Path) -> None:
    program.with_name(missing).unlink()
    assert evaluate(program)["combined_score"] == 0.0
    assert missing in judge(program).feedback


def test_the_baseline_is_the_argument_then_the_variable_then_the_targets(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answer(monkeypatch, GateRun(None, None, ""))
    evaluate(program, program)
    evaluate(program)
    monkeypatch.delenv(evaluator.BASELINE_VARIABLE)
    assert [one["against"].name for one in asked] == ["program.py", "baseline.py"]
    place = evaluator._shipped_baseline(asked[0]["candidate"])
    assert place.name == "baseline.py"
    assert place.parent.name == "pq_l2"


def test_the_package_offers_it() -> None:
    assert pytest_lance_ar.evaluate is evaluate


def test_a_wrong_kernel_for_real(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing replaced; and nothing of the project that it is called from takes part."""
    project = program.parent / "project"
    project.mkdir()
    project.joinpath("conftest.py").write_text("raise RuntimeError('not to be loaded')\n")
    project.joinpath("pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    monkeypatch.chdir(project)
    monkeypatch.setenv("PYTEST_ADDOPTS", "--no-such-option")
    program.write_text(kernels.with_table("out[:] = 0"))
    result = judge(program)
    assert result.score == 0.0
    assert "distance_table[0, 0]: expected" in result.feedback
    assert "replay --kernel=program.py" in result.feedback
    assert sorted(path.name for path in project.iterdir()) == ["conftest.py", "pytest.ini"]


def test_a_kernel_that_never_returns_is_killed_with_all_that_it_started(program: Path) -> None:
    def children() -> list[str]:
        """Processes whose working directory lies in this test's own directory for temporary files."""
        places = []
        for entry in Path("/proc").glob("[0-9]*/cwd"):
            try:
                places.append(str(entry.readlink()))
            except OSError:
                continue
        return [place for place in places if place.startswith(str(program.parent))]

    kernel = Kernel("program.py", kernels.with_table("while True: pass").encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(program.parent))
        run = run_gate(kernel, phase="correctness", budget=100.0, seconds=8.0)
    assert run.status is None
    assert run.report is None or run.report["exit_code"] == 130
    assert children() == []


def test_shinkaevolves_two_files(program: Path, tmp_path: Path) -> None:
    program.write_text("import os\n" + kernels.PURE_PYTHON)
    results = tmp_path / "results" / "gen_1"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest_lance_ar", "evaluate"),
            *(f"--program_path={program}", f"--results_dir={results}"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    metrics = json.loads(results.joinpath("metrics.json").read_text())
    correct = json.loads(results.joinpath("correct.json").read_text())
    assert set(metrics) == {"combined_score", "public", "private", "text_feedback"}
    assert metrics["combined_score"] == 0.0
    assert "a kernel may not import os" in metrics["text_feedback"]
    assert correct == {"correct": False, "error": metrics["text_feedback"].splitlines()[0]}


def test_a_correct_programs_files(tmp_path: Path) -> None:
    report = every_kind()["keep"].as_dict()
    command.write(Evaluation(1.1, True, "keep", report), tmp_path)
    metrics = json.loads(tmp_path.joinpath("metrics.json").read_text())
    assert metrics["combined_score"] == 1.1
    assert metrics["public"]["geomean_ns_per_query"] == report["geomean_ns_per_query"]
    assert metrics["private"]["report"] == json.loads(json.dumps(report))
    assert json.loads(tmp_path.joinpath("correct.json").read_text()) == {"correct": True, "error": None}


def test_results_that_cannot_be_written_are_a_usage_error(
    program: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pytest_lance_ar.__main__ import main

    answer(monkeypatch, GateRun(None, None, ""))
    assert main(["evaluate", f"--program_path={program}", f"--results_dir={program}"]) == 4
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.slow
def test_openevolves_own_evaluator(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its evaluator class, as its controller uses it, on a better kernel and on a wrong one; no model is asked."""
    pytest.importorskip("openevolve", reason="an extra of development")
    from openevolve.config import EvaluatorConfig
    from openevolve.evaluator import Evaluator

    program.with_name("baseline.py").write_text(kernels.BASELINE)

    def evaluated(line: str, *sources: str) -> list[tuple[dict[str, float], dict[str, str]]]:
        path = program.with_name("evaluation.py")
        path.write_text(line)
        one = Evaluator(EvaluatorConfig(cascade_evaluation=False), str(path))
        return [
            (asyncio.run(one.evaluate_program(source, f"{n}")), one.get_pending_artifacts(f"{n}") or {})
            for n, source in enumerate(sources)
        ]

    (better, words), (wrong, complaint) = evaluated(
        "from pytest_lance_ar.population.evaluator import evaluate_with_artifacts as evaluate\n",
        kernels.FASTER,
        kernels.ZERO,
    )
    assert better["combined_score"] > 1.05
    assert words["feedback"].startswith("keep\nspeed-up over the baseline: ")
    assert wrong["combined_score"] == 0.0
    assert "distance_table[0, 0]: expected" in complaint["feedback"]
    assert "replay --kernel=" in complaint["feedback"]

    [(plain, nothing)] = evaluated("from pytest_lance_ar import evaluate\n", kernels.ZERO)
    assert plain["combined_score"] == plain["correct"] == 0.0
    assert nothing == {}
