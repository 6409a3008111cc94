"""Reports in the formats of services that plot benchmarks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_lance_ar.__main__ import main
from tests.report.test_report import every_kind


def exported(report: str, target: str, tmp_path: Path) -> int:
    path = tmp_path / "report.json"
    path.write_text(report)
    return main(["export", str(path), "--format", target])


def test_github_action_benchmark(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exported(every_kind()["keep"].as_json(), "github-action-benchmark", tmp_path) == 0
    entries = json.loads(capsys.readouterr().out)
    speed = every_kind()["keep"].as_dict()
    assert entries[0] == {
        "name": "geomean",
        "unit": "ns/query",
        "value": speed["geomean_ns_per_query"],
        "range": "16111..16290",
    }
    assert [entry["value"] for entry in entries[1:]] == [combo["candidate_ns"] for combo in speed["per_combo"]]
    assert entries[1]["name"] == "(128,16,256) clustered"


def test_bencher_metric_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exported(every_kind()["discard"].as_json(), "bmf", tmp_path) == 0
    metrics = json.loads(capsys.readouterr().out)
    report = every_kind()["discard"].as_dict()
    low, high = report["geomean_ns_ci_90pct"]
    latency = {"value": report["geomean_ns_per_query"], "lower_value": low, "upper_value": high}
    assert metrics["geomean"] == {"latency": latency}
    assert len(metrics) == 10


@pytest.mark.parametrize(
    ("report", "sentence"),
    [
        (every_kind()["incorrect"].as_json(), "has no times: its verdict is incorrect"),
        ("[]", "is no report of this gate"),
        ('{"schema_version": 99}', "is no report of this gate"),
        ("{", "Expecting"),
    ],
)
def test_what_has_no_times_is_a_usage_error(
    report: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exported(report, "bmf", tmp_path) == 4
    assert sentence in capsys.readouterr().err
