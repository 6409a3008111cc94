"""The README's three commands for a gate that the agent cannot write, with all that it plants beside its kernel."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests import kernels
from tests.installed import install, python_at
from tests.test_workflow import CONFTEST, FASTER, ROOT, SLOWER, evil, write

AGENT = "/home/agent/my-experiment"
ALWAYS_0 = "import atexit, os; atexit.register(lambda: os._exit(0))\n"


def commands() -> list[str]:
    text = (ROOT / "README.md").read_text()
    (block,) = re.findall(r"```sh\n([^`]*~/gate[^`]*)```", text)
    return str(block).splitlines()


@pytest.mark.exhaustive
def test_nothing_beside_the_kernel_comes_along(tmp_path: Path) -> None:
    agent = tmp_path / "agent"
    planted = ("sitecustomize.py", "numpy.py", "pytest.py", "conftest.py", "kernel/numpy.py", "kernel/conftest.py")
    write(agent, {**dict.fromkeys(planted, ALWAYS_0), **evil("evil"), "pytest.ini": "[pytest]\naddopts = -p evil\n"})

    def run(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-ec", command.replace(AGENT, str(agent))],
            cwd=agent,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(agent)},
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )

    begin, judge = commands()[1:]
    install(ROOT / "pytest_lance_ar", python_at(tmp_path / "gate"))  # what the first one does, without a registry
    assert (done := run(begin)).returncode == 0, done.stderr
    (tmp_path / "judge" / "conftest.py").write_text(CONFTEST)
    for speed, status in (("# ratio 1.0\n", 0), (SLOWER, 1), (FASTER, 0)):
        write(agent, {"kernel/pq_l2.py": kernels.PURE_PYTHON + speed})
        done = run(judge)
        assert done.returncode == status, done.stdout + done.stderr
    (agent / "kernel" / "pq_l2.py").unlink()
    (agent / "kernel" / "pq_l2.py").symlink_to("/etc/passwd")
    assert run(judge).returncode not in (0, 1)
