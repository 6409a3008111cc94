"""`python -m pytest_lance_ar evaluate`: the gate as ShinkaEvolve's evaluator."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_lance_ar.files import PUBLIC, write_atomically
from pytest_lance_ar.population.evaluator import BASELINE_VARIABLE, SECONDS, Evaluation, judge
from pytest_lance_ar.trial.verdict import ExitCode

if TYPE_CHECKING:
    from pytest_lance_ar.commands import Commands


def add_to(commands: Commands) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="score one kernel against the baseline, for an evolutionary search",
        description="Writes metrics.json and correct.json, as ShinkaEvolve reads them. combined_score is baseline ns / "
        "candidate ns at the low end of the confidence interval, 0.0 for a kernel that is not correct. "
        f"Ends within {SECONDS:.0f} s. Exit status: 0 when both files were written, whatever they say.",
    )
    parser.add_argument("--program_path", type=Path, required=True, metavar="FILE", help="the kernel")
    parser.add_argument("--results_dir", type=Path, required=True, metavar="DIR", help="where the two files go")
    parser.add_argument(
        "--baseline",
        type=Path,
        metavar="PATH",
        help=f"the kernel that a score of 1.0 stands for (default: ${BASELINE_VARIABLE}, else the shipped baseline)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    evaluation = judge(options.program_path, options.baseline)
    try:
        write(evaluation, options.results_dir)
    except OSError as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return ExitCode.USAGE
    print(f"combined_score: {evaluation.score:.4f}\n{evaluation.feedback}")
    return 0


def write(evaluation: Evaluation, directory: Path) -> None:
    """ShinkaEvolve's two files; the one that says "correct" comes last. Raises OSError."""
    public = evaluation.metrics()
    metrics = {
        "combined_score": public.pop("combined_score"),
        "public": public,
        "private": {"report": evaluation.report},
        "text_feedback": evaluation.feedback,
    }
    write_atomically(directory / "metrics.json", json.dumps(metrics, indent=1) + "\n", PUBLIC)
    correct = {"correct": evaluation.correct, "error": evaluation.error}
    write_atomically(directory / "correct.json", json.dumps(correct, indent=1) + "\n", PUBLIC)
