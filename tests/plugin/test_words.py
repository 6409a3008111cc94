"""A kernel's own words in the gate's output, where that is a log of GitHub Actions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import kernels
from tests.builders import project_at
from tests.plugin.test_plugin import MEASURE

FORGED = "::error::forged\\n::add-mask::1\\n  ##[error]forged\\n::stop-commands::x\\r::warning::forged"
RAISING = {
    "on import": f"print('{FORGED}', flush=True)\nraise type('::error::T', (Exception,), {{}})('{FORGED}')\n",
    "in a call": f"raise type('##[error]T', (Exception,), {{}})('{FORGED}')",
    "at its end": f"print('{FORGED}', flush=True); np.ctypeslib.ctypes.CDLL(None)._exit(7)",
}


@pytest.mark.parametrize("when", RAISING)
def test_no_word_of_a_kernel_is_a_command(when: str, tmp_path: Path) -> None:
    project = project_at(tmp_path / "project", MEASURE)
    source = RAISING[when] + kernels.PURE_PYTHON if when == "on import" else kernels.with_table(RAISING[when])
    (project / "kernel" / "pq_l2.py").write_text(source)
    summary = tmp_path / "summary.md"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--lance-ar", "-v", "-rA", "--lance-ar-note", "::notice::from a commit"],
        cwd=project,
        env={**os.environ, "GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    printed = (done.stdout + done.stderr).replace("\r", "\n").split("\n")
    commands = [line for line in printed if line.lstrip().startswith("::") or "##[" in line]
    assert len(commands) == 1, commands
    assert commands[0].startswith("::error file=")
    assert "forged" in done.stdout, "its words are shown, all the same"
    assert "\n::" not in summary.read_text()
