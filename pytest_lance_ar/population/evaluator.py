"""The gate as an evaluator of evolutionary searches: one number, higher is better, and words for the author.

The score is baseline ns / candidate ns at the low end of the confidence interval, so that luck pays nothing; 0.0 for
all that is not proved correct. A correct kernel that is slower than the baseline has its score below 1.

Nothing is stored, and what a project has stored is not looked at. A search may start several at once: gates on one
machine take turns at timing. One that does not get its turn in time scores 0.0, and says so.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_lance_ar.population.gate_process import GRACE_SECONDS, run_gate
from pytest_lance_ar.targets.registry import target_of
from pytest_lance_ar.trial.kernel_source import Kernel
from pytest_lance_ar.trial.verdict import ExitCode

if TYPE_CHECKING:
    from openevolve.evaluation_result import EvaluationResult

SECONDS: Final = 270.0
"""When an evaluation ends whatever happens, waiting for its turn included. OpenEvolve gives up after 300 s, and then
neither ends the evaluation nor waits for it."""
BASELINE_VARIABLE: Final = "LANCE_AR_BASELINE"
COMPARED: Final = frozenset({ExitCode.KEPT, ExitCode.DISCARD, ExitCode.INCONCLUSIVE})
"""Exit statuses of a kernel that is correct and was measured."""


@dataclass(frozen=True)
class Evaluation:
    """A judged program. report: the gate's, as its JSON schema describes it; None when there was no verdict."""

    score: float
    correct: bool
    feedback: str
    report: dict[str, Any] | None = None

    @property
    def error(self) -> str | None:
        """What is wrong, in one line; None for a correct program."""
        return None if self.correct else self.feedback.partition("\n")[0]

    def metrics(self) -> dict[str, float]:
        """Plain numbers. A figure that was not measured is left out: 0 ns would be the best of all."""
        numbers = {"combined_score": self.score, "correct": float(self.correct)}
        report = self.report or {}
        if report.get("speedup_vs_incumbent") is not None:
            numbers["speedup_vs_baseline"] = float(report["speedup_vs_incumbent"])
        for key in ("geomean_ns_per_query", "peak_mem_mb", "total_seconds"):
            if report.get(key) is not None:
                numbers[key] = float(report[key])
        if report.get("phases"):
            numbers["waited_seconds"] = float(report["phases"].get("waiting", 0.0))
        return numbers


def evaluate(program_path: str | os.PathLike[str], baseline: str | os.PathLike[str] | None = None) -> dict[str, float]:
    """OpenEvolve's evaluator: the numbers of one program, `combined_score` first. Never raises.

    baseline: the kernel that 1.0 stands for; by default $LANCE_AR_BASELINE, else the target's own baseline.
    An evaluation file of one line, `from pytest_lance_ar import evaluate`, makes it known to OpenEvolve.
    """
    return judge(program_path, baseline).metrics()


def evaluate_with_artifacts(
    program_path: str | os.PathLike[str], baseline: str | os.PathLike[str] | None = None
) -> EvaluationResult:
    """The same as OpenEvolve's `EvaluationResult`, whose artifacts put the feedback into the next prompt.

    OpenEvolve takes text from an `EvaluationResult` only; of a dict it takes everything for a metric.
    """
    from openevolve.evaluation_result import EvaluationResult

    evaluation = judge(program_path, baseline)
    return EvaluationResult(metrics=evaluation.metrics(), artifacts={"feedback": evaluation.feedback})


def judge(
    program_path: str | os.PathLike[str],
    baseline: str | os.PathLike[str] | None = None,
    *,
    seconds: float = SECONDS,
) -> Evaluation:
    """Run the gate on a program, against the baseline. Never raises; whatever went wrong scores 0.0 and is told."""
    try:
        return _judge(Path(program_path), baseline, seconds)
    except Exception as error:
        return Evaluation(0.0, False, f"the program was not judged: {type(error).__name__}: {error}")


def _judge(program: Path, baseline: str | os.PathLike[str] | None, seconds: float) -> Evaluation:
    candidate = Kernel.read(program, program.name)
    place = Path(baseline or os.environ.get(BASELINE_VARIABLE) or _shipped_baseline(candidate))
    against = Kernel.read(place, place.name)
    budget, kill_after = seconds - 4 * GRACE_SECONDS, seconds - 2 * GRACE_SECONDS
    run = run_gate(candidate, against=against, budget=budget, seconds=kill_after)
    if run.status is None:
        return Evaluation(0.0, False, f"timeout: the gate was killed after {kill_after:.0f} s")
    report = run.report
    if report is None:
        return Evaluation(0.0, False, f"the gate ended with exit status {run.status}: {run.last_words}")
    correct = run.status in COMPARED and report["correctness"] == "pass" and report["speedup_interval"] is not None
    score = float(report["speedup_interval"][0]) if correct else 0.0
    return Evaluation(score, correct, feedback(report), report)


def feedback(report: dict[str, Any]) -> str:
    """A report in words, for the author of the next program: what failed and how to see it, or where the time goes."""
    if report["first_failure"]:
        lines = [f"{report['verdict']}: {report['first_failure']}", report["hint"], report["replay"]]
        return "\n".join(filter(None, lines))
    lines = [f"{report['verdict']}: {report['reason']}" if report["reason"] else report["verdict"]]
    waited = report["phases"].get("waiting", 0.0)
    if waited >= 1:
        lines.append(f"{waited:.0f} of {report['total_seconds']:.0f} s were spent waiting for other gates")
    if report["speedup_interval"] is not None:
        low, high = report["speedup_interval"]
        lines.append(f"speed-up over the baseline: {report['speedup_vs_incumbent']:.4f} [{low:.4f}, {high:.4f}]")
        lines += [
            f"{combo['shape']} {combo['distribution']}: {combo['candidate_ns']:.0f} ns per query, "
            f"{combo['ratio']:.3f} of the baseline's"
            for combo in report["per_combo"]
        ]
    return "\n".join(lines)


def _shipped_baseline(candidate: Kernel) -> Path:
    return target_of(candidate.source).suite.with_name("baseline.py")
