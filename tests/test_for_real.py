"""Whole trials, nothing replaced: each verdict on a kernel that deserves it. The ratios are far outside any noise."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import kernels

ROOT = Path(__file__).parents[1]
slow = pytest.mark.slow  # and so alone on the machine: what is timed here is timed for real


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the shipped kernel; its state goes from test to test."""
    path = tmp_path_factory.mktemp("project")
    path.joinpath("pytest.ini").write_text("[pytest]\n")
    path.joinpath("kernel").mkdir()
    return path


def gate(project: Path, source: str, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Run the gate on a kernel: exit status, report, output."""
    project.joinpath("kernel/pq_l2.py").write_text(source)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--lance-ar", "--lance-ar-json=report.json", *arguments],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, json.loads(project.joinpath("report.json").read_text()), done.stdout + done.stderr


def incumbent(project: Path) -> str:
    state = json.loads(project.joinpath(".lance_ar/incumbent.json").read_text())
    return str(state["incumbent"]["source"])


@slow
def test_the_first_kernel_becomes_the_baseline(project: Path) -> None:
    status, report, output = gate(project, kernels.BASELINE)
    assert status == 0, output
    assert report["verdict"] == "baseline"
    assert len(report["per_combo"]) == 9
    assert "\nincumbent_geomean_ns_per_query: -\n" in output
    assert (
        json.loads(project.joinpath(".lance_ar/incumbent.json").read_text())["incumbent"]["source"] == kernels.BASELINE
    )


@slow
def test_a_faster_kernel_is_kept(project: Path) -> None:
    status, report, output = gate(project, kernels.FASTER, "--lance-ar-note", "four sub-vectors a pass")
    assert status == 0, output
    assert report["verdict"] == "keep"
    assert report["speedup_interval"][0] > 1.0
    assert incumbent(project) == kernels.FASTER


@slow
def test_the_same_kernel_again_is_discarded(project: Path) -> None:
    status, report, output = gate(project, kernels.FASTER)
    assert status == 1, output
    assert report["reason"] == "the very file that is the incumbent"


@slow
def test_a_slower_kernel_is_discarded_with_workers_too(project: Path) -> None:
    status, report, output = gate(project, kernels.SLOWER, "-n", "2")
    assert status == 1, output
    assert "not strictly better" in str(report["reason"])
    assert report["speedup_interval"][1] < 1.0


@slow
def test_a_kernel_that_answers_zero_is_incorrect(project: Path) -> None:
    status, report, output = gate(project, kernels.ZERO)
    assert status == 2, output
    assert "distance_table[0, 0]: expected" in str(report["first_failure"])


@slow
def test_the_ledger_has_a_row_for_each(project: Path) -> None:
    header, *lines = project.joinpath("results.tsv").read_text().splitlines()
    verdict = header.split("\t").index("verdict")
    assert [line.split("\t")[verdict] for line in lines] == ["baseline", "keep", "discard", "discard", "incorrect"]


@slow
def test_kernels_whose_times_swing_against_each_other_are_inconclusive(project: Path) -> None:
    """Packed for the first time the one is three times as slow, for the second time the other: no mean comes of it."""
    swing = kernels.BASELINE + (
        "\n\nclass Swinging(PqKernel):\n"
        "    built = 0\n\n"
        "    def __init__(self, shape, codebook):\n"
        "        super().__init__(shape, codebook)\n"
        "        self.slow = Swinging.built // 9 % 2 == PHASE\n"
        "        Swinging.built += 1\n\n"
        "    def probe_top_k(self, table, codes, k):\n"
        "        for _ in range(2 * self.slow):\n"
        "            super().probe_top_k(table, codes, k)\n"
        "        return super().probe_top_k(table, codes, k)\n\n\n"
        "PqKernel = Swinging\n"
    )
    project.joinpath("incumbent.py").write_text(swing.replace("PHASE", "0"))
    status, report, output = gate(project, swing.replace("PHASE", "1"), "--lance-ar-against", "incumbent.py")
    assert status == 11, output
    assert report["verdict"] == "inconclusive"
    assert "too noisy to decide" in output


@pytest.mark.exhaustive
def test_the_selftest_says_what_this_host_resolves(project: Path) -> None:
    project.joinpath("kernel/pq_l2.py").write_text(kernels.BASELINE)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--lance-ar", "--lance-ar-selftest"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 5, done.stdout + done.stderr
    assert "false_keeps:" in done.stdout
    assert "smallest_gain_pct:" in done.stdout


@slow
def test_the_project_as_a_stranger_finds_it(tmp_path: Path) -> None:
    """A clone, an environment of its own and the README's first command."""
    clone = tmp_path / "clone"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, tracked.split("\0")):
        clone.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, clone / name)
    command = ROOT.joinpath("README.md").read_text().split("```sh\n")[1].split("```")[0]
    done = subprocess.run(command, shell=True, cwd=clone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verdict:               baseline" in done.stdout


@pytest.mark.exhaustive
def test_a_project_of_another_with_the_package_installed(tmp_path: Path) -> None:
    """Not editable, and a kernel of the project's own: all that the gate needs is in the package."""
    site, project = tmp_path / "site", tmp_path / "project"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", f"--target={site}", str(ROOT)]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    project.mkdir()
    project.joinpath("pyproject.toml").write_text('[tool.pytest.ini_options]\nlance_ar_kernel = "kernel.py"\n')
    project.joinpath("kernel.py").write_text(kernels.BASELINE)
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-m", "pytest", "--lance-ar", "--lance-ar-json=report.json"]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(project.joinpath("report.json").read_text())
    assert report["verdict"] == "baseline"
    assert report["kernel"] == "kernel.py"
    where = [sys.executable, "-c", "import pytest_lance_ar; print(pytest_lance_ar.__file__)"]
    used = subprocess.run(where, cwd=project, env=environment, capture_output=True, text=True, check=True).stdout
    assert str(site) in used
    assert site.joinpath("pytest_lance_ar/report.schema.json").exists()
