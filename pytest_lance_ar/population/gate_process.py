"""The gate in a process of its own, for callers that are no pytest run: evaluators, populations, other hosts.

It is `pytest --lance-ar` itself, in an empty project of its own: no configuration, no conftest, no plugin and no state
of anybody's takes part.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pytest_lance_ar.trial.deadline import BEGUN_VARIABLE
from pytest_lance_ar.trial.kernel_source import Kernel

GRACE_SECONDS: Final = 5.0
"""What an interrupted gate has to end its kernels' processes, before it is killed."""
_FOREIGN: Final = ("PYTEST_", "GITHUB_")
"""Variables that would configure the inner pytest, or have it report to somebody."""


@dataclass(frozen=True)
class GateRun:
    """What came of it. status: the exit status, None when the run had to be killed. report: None when there is none."""

    status: int | None
    report: dict[str, Any] | None
    output: str

    @property
    def last_words(self) -> str:
        """The last line printed that says something: of a usage error it is the sentence."""
        return next((line.strip() for line in reversed(self.output.splitlines()) if line.strip()), "")


def run_gate(
    candidate: Kernel,
    *,
    against: Kernel | None = None,
    phase: str = "all",
    seed: int | None = None,
    rtol: float = 0.0,
    budget: float,
    seconds: float,
) -> GateRun:
    """Judge one kernel; block until that is done.

    budget: what the gate itself may take. seconds: when it is killed, with all that it started; above the budget.
    Raises OSError when the process cannot be started.
    """
    with tempfile.TemporaryDirectory(prefix="lance-ar-", ignore_cleanup_errors=True) as directory:
        here, project = Path(directory, "here"), Path(directory, "project")
        here.mkdir()
        here.joinpath("pytest.ini").write_text("[pytest]\n")
        arguments = [
            *("--lance-ar", f"--lance-ar-kernel={_write(project, candidate)}", "--lance-ar-state=state"),
            *("--lance-ar-json=report.json", f"--lance-ar-phase={phase}", f"--lance-ar-budget={budget!r}"),
        ]
        if against is not None:
            arguments.append(f"--lance-ar-against={_write(Path(directory, 'against'), against)}")
        if seed is not None:
            arguments.append(f"--lance-ar-seed={seed}")
        if rtol:
            arguments.append(f"--lance-ar-rtol={rtol!r}")
        status, output = _run(
            [
                *(sys.executable, "-m", "pytest", "-c", "pytest.ini", f"--rootdir={project}", "--noconftest"),
                *("-p", "pytest_lance_ar.plugin", "-p", "no:cacheprovider", "--color=no", *arguments),
            ],
            here,
            seconds,
        )
        report = None
        with suppress(OSError, ValueError):
            report = json.loads(here.joinpath("report.json").read_text(encoding="utf-8"))
        return GateRun(status, report, output)


def _write(directory: Path, kernel: Kernel) -> Path:
    """Under its own name where that is a relative path, so that messages and replay commands are the user's."""
    name = Path(kernel.name)
    path = directory / (name.name if name.is_absolute() or ".." in name.parts else name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(kernel.source)
    return path


def _run(command: list[str], here: Path, seconds: float) -> tuple[int | None, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    environment[BEGUN_VARIABLE] = repr(time.time())
    with here.joinpath("output").open("w+b") as output:  # a file: no reader to wait for, whoever still holds it
        process = subprocess.Popen(
            command,
            cwd=here,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        status: int | None = None
        try:
            status = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:
            _end(process)
        output.seek(0)
        return status, output.read().decode(errors="replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Interrupt it first: the gate then ends the kernels' processes, which are no part of its group."""
    with suppress(ProcessLookupError, subprocess.TimeoutExpired):
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=GRACE_SECONDS)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
