"""The gate where a container takes much away from it: a verdict or a sentence, and no slower kernel is ever kept."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import project_at
from tests.plugin.test_plugin import MEASURE

ROOT = Path(__file__).parents[1]
EVERYTHING = ["calls", "home", "core", "half", "shm"]
pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or platform.machine() != "x86_64" or os.geteuid() != 0,
    reason="takes system calls, mounts and CPU time away: root on Linux, x86-64",
)


def deprived(words: list[str], project: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The gate in a project, without what the words say."""
    command = [sys.executable, "-m", "tests.deprived", *words, "--", sys.executable, "-c"]
    gate = f"import os, sys, pytest; os.chdir({str(project)!r}); del sys.path[0]; sys.exit(pytest.main())"
    done = subprocess.run(
        [*command, gate, "--lance-ar", "-p", "no:cacheprovider", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    if done.returncode == 1 and "tests.deprived" not in done.stdout and "PermissionError" in done.stderr:
        pytest.skip(f"this machine does not let its root do that: {done.stderr.splitlines()[-1]}")
    return done


@pytest.mark.exhaustive
def test_a_baseline_and_a_slower_kernel_without_much(tmp_path: Path) -> None:
    project = project_at(tmp_path / "project", MEASURE)
    first = deprived(EVERYTHING, project)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "Traceback" not in first.stdout + first.stderr
    assert "0.5 cores of CPU time" in first.stdout
    for wall in ("fixed addresses", "Landlock"):
        assert wall in first.stdout.partition("this platform has no ")[2].splitlines()[0], wall
    with (project / "kernel" / "pq_l2.py").open("a") as file:
        file.write("# slower\n")
    second = deprived(EVERYTHING, project, RATIO="1.2")
    assert second.returncode == 1, second.stdout + second.stderr


@pytest.mark.exhaustive
def test_a_read_only_root(tmp_path: Path) -> None:
    """With one writable directory to name, a verdict."""
    project = project_at(tmp_path / "project", MEASURE)
    done = deprived(["root", "home"], project, "--lance-ar-state", "/var/tmp/state")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_read_only_project_is_told(tmp_path: Path) -> None:
    project = project_at(tmp_path / "project", MEASURE)
    done = deprived(["root"], project)
    assert done.returncode == 4
    assert "cannot be written (Read-only file system); name a writable directory with --lance-ar-state" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_no_place_for_temporary_files_is_told(tmp_path: Path) -> None:
    project = project_at(tmp_path / "project", MEASURE)
    done = deprived(["root", "tmp"], project, "--lance-ar-state", "/var/tmp/state")
    assert done.returncode == 4, done.stdout + done.stderr
    assert "no temporary directory can be written; name one that can with TMPDIR" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
