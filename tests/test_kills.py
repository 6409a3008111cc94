"""Real gates in processes of their own: killed at random moments, started two at a time, and what they leave behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_lance_ar.store import ledger
from pytest_lance_ar.store.state import StateDirectory
from pytest_lance_ar.store.store import Store
from tests import kernels
from tests.builders import ALONE_AND_SLOWLY_WITH_WORKERS, project_at
from tests.plugin.test_plugin import MEASURE

KILLS = int(os.environ.get("LANCE_AR_KILLS", "20"))
"""How many gates are killed; each costs two runs of the gate."""
WAITING_MEASURE = MEASURE.replace(
    "    progress(",
    "    import pathlib, time\n"
    "    pathlib.Path('measuring').touch()\n"
    "    while pathlib.Path('wait').exists(): time.sleep(0.05)\n"
    "    progress(",
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "temporary").mkdir()
    return project_at(tmp_path / "project", WAITING_MEASURE)


def start(project: Path, *arguments: str, ratio: float = 0.9) -> subprocess.Popen[str]:
    """A gate with a temporary directory of its own."""
    environment = {**os.environ, "RATIO": str(ratio), "TMPDIR": str(project.parent / "temporary")}
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "--lance-ar", "-p", "no:cacheprovider", *arguments],
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(project: Path, *arguments: str, ratio: float = 0.9) -> int:
    gate = start(project, *arguments, ratio=ratio)
    output, _ = gate.communicate(timeout=300)
    assert "Traceback" not in output, output
    return gate.returncode


def verdicts(project: Path) -> list[str]:
    return [row["verdict"] for _, row in ledger.rows(project / "results.tsv")]


def processes_in(place: Path) -> Iterator[tuple[int, str]]:
    """Live processes that work in a directory, or have it in their environment: kernels' processes, and what they
    started."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                works_in = str((entry / "cwd").readlink())
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if state != "Z" and (str(place) in works_in or os.fsencode(place) in environment):
                yield int(entry.name), works_in


def are_gone(place: Path) -> bool:
    """Whether no process of a killed gate is left, in a while."""
    for _ in range(200):
        if not list(processes_in(place)):
            return True
        time.sleep(0.05)
    return False


@ALONE_AND_SLOWLY_WITH_WORKERS
def test_of_two_gates_started_at_once_one_runs_and_the_other_waits_for_it(
    project: Path, workers: tuple[str, ...]
) -> None:
    (project / "wait").touch()
    gates = [start(project, *workers) for _ in range(2)]
    said = []
    for gate in gates:  # the one that waits says so at once, the other one only when it may measure
        assert gate.stdout is not None
        said.append(gate.stdout.readline())
    (project / "wait").unlink()
    outputs = [line + gate.communicate(timeout=300)[0] for line, gate in zip(said, gates, strict=True)]
    waiting = f"lance-ar: another gate is running on {project / '.lance_ar'}; waiting for it\n"
    assert sum(waiting in output for output in outputs) == 1, outputs
    assert sorted(gate.returncode for gate in gates) == [0, 1], outputs
    assert verdicts(project) == ["baseline", "discard"]


def test_a_gate_without_time_to_wait_says_what_to_wait_for(project: Path) -> None:
    directory = StateDirectory(project / ".lance_ar")
    directory.prepare()
    directory.lock()
    gate = start(project, "--lance-ar-budget=9")
    output, _ = gate.communicate(timeout=300)
    directory.unlock()
    assert gate.returncode == 4, output
    assert f"another gate is running on {project / '.lance_ar'}; wait until it is done" in output
    assert "Traceback" not in output


def test_a_gate_that_waits_can_be_interrupted(project: Path) -> None:
    directory = StateDirectory(project / ".lance_ar")
    directory.prepare()
    directory.lock()
    gate = start(project)
    assert gate.stdout is not None
    assert "waiting for it" in gate.stdout.readline()
    gate.send_signal(signal.SIGINT)
    output, _ = gate.communicate(timeout=300)
    directory.unlock()
    assert gate.returncode == 130, output


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes die with their gate on Linux alone")
def test_a_gate_that_is_killed_leaves_no_process_and_the_next_one_no_directory(project: Path) -> None:
    (project / "kernel" / "pq_l2.py").write_text(kernels.with_table("open('/dev/null'); [None for _ in iter(int, 1)]"))
    temporary = project.parent / "temporary"
    gate = start(project)
    while not any(str(temporary) in works_in for _, works_in in processes_in(temporary)):
        time.sleep(0.05)
        assert gate.poll() is None
    gate.kill()
    gate.communicate()
    assert are_gone(temporary)
    assert list(temporary.glob("lance-ar-run-*"))
    (project / "kernel" / "pq_l2.py").write_text(kernels.PURE_PYTHON)
    assert finish(project, ratio=1.0) == 0
    assert not list(temporary.glob("*lance-ar-*"))


@pytest.mark.exhaustive
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes die with their gate on Linux alone")
def test_gates_killed_at_random_moments(project: Path) -> None:
    """Half of them at any moment of a run, half in the milliseconds in which it stores."""
    rng = random.Random(0)
    kernel, temporary = project / "kernel" / "pq_l2.py", project.parent / "temporary"
    directory, path = StateDirectory(project / ".lance_ar"), project / "results.tsv"
    begun = time.monotonic()
    assert finish(project) == 0
    seconds = time.monotonic() - begun
    stored = before = 0
    for kill in range(KILLS):
        kernel.write_text(f"{kernels.PURE_PYTHON}# {kill}\n")
        rows, incumbent = verdicts(project), incumbent_of(directory)
        (project / "measuring").unlink(missing_ok=True)
        gate = start(project, *(("-n", "2") if kill % 10 == 9 else ()))
        if kill % 2:
            time.sleep(rng.uniform(0, 1.1 * seconds))
        else:
            while not (project / "measuring").exists() and gate.poll() is None:
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 0.15))
        gate.send_signal(signal.SIGKILL)
        gate.communicate()
        assert are_gone(temporary)
        assert incumbent_of(directory) in (incumbent, kernel.read_text())
        # What the next run does first.
        assert finish(project, "--lance-ar-seed", "1", "--collect-only", ratio=1.0) == 5
        assert Store(directory.path, path).problem() == ""
        assert not directory.journal.exists()
        if verdicts(project) == [*rows, "keep"]:
            assert incumbent_of(directory) == kernel.read_text()
            stored += 1
        else:
            assert verdicts(project) == rows
            assert incumbent_of(directory) == incumbent
            before += 1
        assert not list(temporary.glob("lance-ar-run-*"))
        if kill % 20 == 19:
            assert finish(project) in (0, 1)
            assert Store(directory.path, path).problem() == ""
    assert stored + before == KILLS
    assert min(stored, before) > 0
    print(f"{KILLS} kills: {before} left the state before, {stored} the state after")


def incumbent_of(directory: StateDirectory) -> str:
    state = directory.load()
    return state.incumbent.kernel.source.decode() if state else ""
