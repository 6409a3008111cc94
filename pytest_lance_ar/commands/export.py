"""`python -m pytest_lance_ar export REPORT.json`: a report in the formats of services that plot benchmarks."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_lance_ar.report.report import SCHEMA_VERSION
from pytest_lance_ar.trial.verdict import ExitCode

if TYPE_CHECKING:
    from pytest_lance_ar.commands import Commands


def github_action_benchmark(report: dict[str, Any]) -> list[dict[str, Any]]:
    """For github-action-benchmark's tool `customSmallerIsBetter`."""
    low, high = report["geomean_ns_ci_90pct"]
    geomean = report["geomean_ns_per_query"]
    combos = [
        {"name": f"{combo['shape']} {combo['distribution']}", "unit": "ns/query", "value": combo["candidate_ns"]}
        for combo in report["per_combo"]
    ]
    spread = f"{low:.0f}..{high:.0f}"
    return [{"name": "geomean", "unit": "ns/query", "value": geomean, "range": spread}, *combos]


def bencher_metric_format(report: dict[str, Any]) -> dict[str, Any]:
    """For Bencher's JSON adapter; its built-in measure `latency` is in nanoseconds."""
    low, high = report["geomean_ns_ci_90pct"]
    geomean = {"value": report["geomean_ns_per_query"], "lower_value": low, "upper_value": high}
    combos = {
        f"{combo['shape']} {combo['distribution']}": {"latency": {"value": combo["candidate_ns"]}}
        for combo in report["per_combo"]
    }
    return {"geomean": {"latency": geomean}, **combos}


FORMATS = {"github-action-benchmark": github_action_benchmark, "bmf": bencher_metric_format}


def add_to(commands: Commands) -> None:
    parser = commands.add_parser(
        "export",
        help="a JSON report in the format of a service that plots benchmarks",
        description="Prints the times of a report that --lance-ar-json wrote. Exit status: 4 when it has none.",
    )
    parser.add_argument("report", type=Path, metavar="REPORT.json")
    parser.add_argument("--format", choices=FORMATS, required=True)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    try:
        report = json.loads(options.report.read_text(encoding="utf-8"))
        if not isinstance(report, dict) or report.get("schema_version") != SCHEMA_VERSION:
            raise ValueError(f"{options.report} is no report of this gate (schema version {SCHEMA_VERSION})")
        if report["geomean_ns_per_query"] is None:
            raise ValueError(f"{options.report} has no times: its verdict is {report['verdict']}")
    except (OSError, ValueError) as error:
        print(f"export: {error}", file=sys.stderr)
        return ExitCode.USAGE
    print(json.dumps(FORMATS[options.format](report), indent=1))
    return 0
