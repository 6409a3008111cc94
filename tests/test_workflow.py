"""The workflow that can be copied: its steps, run by bash, against a repository with pull requests.

What GitHub does is done here by hand: the checkout of the branch, and an interpreter for pip to install into. The speed
half is replaced by a conftest of the branch, which is sealed: a kernel says in a comment how fast it is.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import kernels
from tests.installed import python_at
from tests.plugin.test_plugin import MEASURE

ROOT = Path(__file__).parents[1]
WORKFLOW = ROOT / ".github" / "workflows" / "kernel-gate.yml"
KERNEL = "kernel/pq_l2.py"
SAID = 'float(os.environ.get("RATIO", "1"))'
CONFTEST = MEASURE.replace(SAID, 'float(trial.candidate.source.rpartition(b"# ratio ")[2])')
FASTER, SLOWER = "# ratio 0.9\n", "# ratio 1.2\n"
IDENTITY = {f"GIT_{who}_{what}": "a@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}

PIP = f"""#!/bin/sh
[ "$*" = "install ." ] || exit 9
export PYTHONPATH={ROOT}
exec {sys.executable} -c "from tests.installed import *; install(Path('pytest_lance_ar'), Path('{{python}}'))"
"""


def git(directory: Path, *arguments: str) -> str:
    environment = {**os.environ, **IDENTITY, "GIT_CONFIG_GLOBAL": os.devnull}
    command = ["git", *arguments]
    return subprocess.run(
        command, cwd=directory, check=True, capture_output=True, text=True, env=environment
    ).stdout.strip()


def write(directory: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)


class Upstream:
    """A bare repository, and a clone in which pull requests are made."""

    def __init__(self, root: Path) -> None:
        self.bare, self.clone = root / "upstream.git", root / "author"
        git(root, "init", "-q", "--bare", "-b", "main", str(self.bare))
        git(self.bare, "config", "uploadpack.allowAnySHA1InWant", "true")  # as GitHub has it
        git(root, "init", "-q", "-b", "main", str(self.clone))
        git(self.clone, "remote", "add", "origin", str(self.bare))
        shutil.copytree(
            ROOT / "pytest_lance_ar", self.clone / "pytest_lance_ar", ignore=shutil.ignore_patterns("__pycache__")
        )
        write(self.clone, {"pytest.ini": "[pytest]\n", "conftest.py": CONFTEST, "README.md": "An experiment.\n"})
        write(self.clone, {KERNEL: kernels.PURE_PYTHON})
        self.commit("The branch")
        git(self.clone, "push", "-q", "origin", "main")

    def commit(self, message: str) -> str:
        git(self.clone, "add", "-A", "--force")
        git(self.clone, "commit", "-q", "-m", message)
        return git(self.clone, "rev-parse", "HEAD")

    def pull_request(self, speed: str, files: dict[str, str]) -> str:
        """A commit that only a pull request's ref holds."""
        git(self.clone, "checkout", "-q", "--detach", "main")
        write(self.clone, {KERNEL: kernels.PURE_PYTHON + speed, **files})
        head = self.commit("A pull request")
        git(self.clone, "push", "-q", "origin", f"{head}:refs/pull/{head[:8]}/head")
        return head


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    assert CONFTEST != MEASURE
    return Upstream(tmp_path)


def steps() -> Iterator[tuple[str, dict[str, str]]]:
    """The `run:` steps with their `env:`, in order."""
    for step in re.split(r"(?m)^      - (?=\w)", WORKFLOW.read_text())[1:]:
        found = re.search(r"(?m)^ *run: (?:\|\n((?:          .*\n)+)|(.*)$)", step)
        if found:
            environment = re.search(r"(?m)^        env:\n((?:          .*\n)+)", step)
            pairs = (line.strip().split(": ", 1) for line in environment[1].splitlines()) if environment else ()
            yield textwrap.dedent(found[1] or found[2]), dict(map(tuple, pairs))


def judged(upstream: Upstream, head: str, root: Path) -> tuple[int, str]:
    """Run the workflow for a pull request: exit status of the step that it ended with, and all that was printed."""
    checkout, environment = root / "checkout", root / "python"
    git(root, "clone", "-q", str(upstream.bare), str(checkout))  # of main
    pip = environment / "bin" / "pip"
    pip_script = PIP.replace("{python}", str(python_at(environment)))
    pip.write_text(pip_script)
    pip.chmod(0o755)
    contexts = {"github.event.pull_request.head.sha": head}
    known: dict[str, Any] = {
        "PATH": f"{environment}/bin:{os.environ['PATH']}",
        "HOME": str(root),
        "GITHUB_ACTIONS": "true",
        "GITHUB_WORKSPACE": str(checkout),
        "GITHUB_STEP_SUMMARY": str(root / "summary.md"),
        **dict(re.findall(r"(?m)^  ([A-Z]+): (.+)$", WORKFLOW.read_text())),
    }
    printed, status = "", 0
    for script, variables in steps():
        own = {name: re.sub(r"\$\{\{ (.+?) \}\}", lambda m: contexts[m[1]], text) for name, text in variables.items()}
        assert "${{" not in script, "what others write belongs into a variable"
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
        done = subprocess.run(
            command, cwd=checkout, env={**known, **own}, capture_output=True, text=True, check=False, timeout=600
        )
        printed += done.stdout + done.stderr
        status = done.returncode
        if status:
            break
    return status, printed


def evil(name: str) -> dict[str, str]:
    """A plugin of pytest that turns every exit status into 0."""
    return {
        f"{name}.py": "def pytest_sessionfinish(session): session.exitstatus = 0\n",
        f"{name}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{name}-1.0.dist-info/entry_points.txt": f"[pytest11]\n{name} = {name}\n",
    }


@pytest.mark.parametrize(
    ("speed", "files", "status", "words"),
    [
        pytest.param(FASTER, {}, 0, "verdict:               keep", marks=pytest.mark.slow),
        pytest.param(SLOWER, {}, 1, "verdict:               discard", marks=pytest.mark.slow),
        (
            SLOWER,
            {"pytest_lance_ar/trial/verdict.py": "from enum import IntEnum\n"},
            10,
            "refused: this pull request changes more than kernel/pq_l2.py: pytest_lance_ar/trial/verdict.py.",
        ),
        (
            SLOWER,
            evil("evil"),
            10,
            ": evil-1.0.dist-info/METADATA, evil-1.0.dist-info/entry_points.txt, evil.py.",
        ),
    ],
    ids=["faster", "slower", "slower with another verdict", "slower with a plugin"],
)
def test_a_pull_request_is_judged_by_the_branch(
    upstream: Upstream, tmp_path: Path, speed: str, files: dict[str, str], status: int, words: str
) -> None:
    head = upstream.pull_request(speed, files)
    ended, printed = judged(upstream, head, tmp_path)
    assert ended == status, printed
    assert words in printed
    commands = [line for line in printed.splitlines() if line.lstrip().startswith("::") or "##[" in line]
    assert len(commands) == 2, "the removal of a matcher, and the verdict"
    if status < 10:
        assert (tmp_path / "checkout" / KERNEL).read_text() == kernels.PURE_PYTHON + speed
        assert (tmp_path / "checkout" / "report.json").exists()
    else:
        assert git(tmp_path / "checkout", "diff", "HEAD") == "", "nothing of it was taken"
        assert not (tmp_path / "checkout" / "evil.py").exists()


def test_everything_runs_from_the_branch() -> None:
    text = WORKFLOW.read_text()
    assert "pull_request_target:" in text, "else GitHub takes this very file from the pull request"
    assert re.findall(r"(?m)^ *ref: (.*)$", text) == ["${{ github.event.pull_request.base.ref }}"]
    assert re.search(r"(?m)^permissions:\n  contents: read\n\S", text)
    assert "secrets" not in re.sub(r"#.*", "", text)
    assert len(list(steps())) == text.count("run: ")
