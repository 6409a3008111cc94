"""Processes forked from a warm one are the gate's own, have what they were given, and end as those of `subprocess`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from pytest_lance_ar.host import forkserver, platform
from pytest_lance_ar.host.forkserver import Forked
from pytest_lance_ar.host.launch import packages_of
from pytest_lance_ar.host.parent import KernelHost
from pytest_lance_ar.trial.deadline import Deadline

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux lets orphans be adopted")


@pytest.fixture(autouse=True)
def adopting() -> None:
    platform.adopt_orphans()


def run(statement: str, place: Path, descriptors: Sequence[int] | None = None) -> Forked:
    """Fork a process that runs a statement; what it prints is in `place/output`."""
    with place.joinpath("output").open("wb") as output:
        process = forkserver.forked(
            statement,
            packages_of(),
            directory=place,
            output=output.fileno(),
            descriptors=descriptors or [output.fileno()] * len(forkserver.DESCRIPTORS),
            apart=False,
            known=set(),
            seconds=100.0,
        )
    assert process is not None
    return process


def test_it_is_a_child_of_ours_in_its_own_session(tmp_path: Path) -> None:
    process = run("import os; print(os.getppid(), os.getsid(0), os.getpid(), os.getcwd())", tmp_path)
    assert process.wait() == 0
    parent, session, own, place = tmp_path.joinpath("output").read_text().split()
    assert int(parent) == os.getpid()
    assert session == own == str(process.pid)
    assert Path(place) == tmp_path


def test_it_has_the_given_descriptors_and_no_other(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    statement = "import json, os; found = os.listdir('/proc/self/fd'); os.write(4, b'here'); print(json.dumps(found))"
    process = run(statement, tmp_path, [reading, writing, writing])
    assert process.wait() == 0
    assert os.read(reading, 10) == b"here"
    os.close(reading)
    os.close(writing)
    listed = {int(number) for number in json.loads(tmp_path.joinpath("output").read_text())}
    assert listed - {0, 1, 2} <= {*forkserver.DESCRIPTORS, 6}  # one more, to list them


def test_it_shares_no_description_and_no_memory_with_another(tmp_path: Path) -> None:
    """What one sets on the other sees: a flag says which of two editions of a kernel is about."""
    flags = "import os; print(*(os.get_blocking(number) for number in (0, 1, 2)))"
    assert run("import os; [os.set_blocking(number, False) for number in (0, 1, 2)]", tmp_path).wait() == 0
    assert run(flags, tmp_path).wait() == 0
    assert tmp_path.joinpath("output").read_text().split() == ["True"] * 3
    written = "print([line for line in open('/proc/self/maps') if {'w', 's'} <= {*line.split()[1]}])"
    assert run(written, tmp_path).wait() == 0
    assert tmp_path.joinpath("output").read_text() == "[]\n"


def test_its_environment_is_small_and_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    process = run("import os, numba; print(os.environ['HOME'], numba.config.DISABLE_JIT, os.environ)", tmp_path)
    assert process.wait() == 0
    home, disabled, *rest = tmp_path.joinpath("output").read_text().split()
    assert (home, disabled) == (str(tmp_path), "0")
    assert "NUMBA_DISABLE_JIT" not in " ".join(rest)


def test_what_numba_needs_for_its_first_function_is_there(tmp_path: Path) -> None:
    statement = """if True:
    import sys
    import numba, numpy
    there = set(sys.modules)
    numba.njit("float32[:](float32[:])")(lambda x: numpy.sqrt(x + numba.float32(1)))
    print(sorted(name for name in {*sys.modules} - there if name.startswith("numba.")))
    """
    assert run(statement, tmp_path).wait() == 0
    assert tmp_path.joinpath("output").read_text() == "[]\n"


@pytest.mark.parametrize(("statement", "status"), [("raise SystemExit(3)", 1), ("import os; os._exit(7)", 7)])
def test_how_it_ended_is_known(tmp_path: Path, statement: str, status: int) -> None:
    assert run(statement, tmp_path).wait() == status


def test_who_waits_too_long_is_told(tmp_path: Path) -> None:
    process = run("import time; time.sleep(100)", tmp_path)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.0)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert process.poll() == -signal.SIGKILL


def test_without_a_server_a_process_is_started_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forkserver, "_server", None)
    monkeypatch.setattr(forkserver, "_broken", True)
    with KernelHost("pytest_lance_ar.host.null_driver", core=None, deadline=Deadline.after(100)) as host:
        host.await_start()
        assert isinstance(host._process.popen, subprocess.Popen)


def test_a_process_runs_where_who_asked_for_it_may() -> None:
    forkserver.begin()  # on all cores
    with platform.kept_off(platform.timing_core()):
        allowed = os.sched_getaffinity(0)
        with KernelHost("pytest_lance_ar.host.null_driver", core=None, deadline=Deadline.after(100)) as host:
            host.await_start()
            assert os.sched_getaffinity(host.pid) == allowed


def test_a_server_that_is_gone_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forkserver, "_server", None)
    monkeypatch.setattr(forkserver, "_broken", False)
    forkserver.begin()
    server = forkserver._server
    assert server is not None
    server.process.kill()
    server.process.wait()
    with KernelHost("pytest_lance_ar.host.null_driver", core=None, deadline=Deadline.after(100)) as host:
        host.await_start()
    assert (forkserver._server, forkserver._broken) == (None, True)


REMEMBERED = r"""
import re
found, wanted = 0, re.compile(rb"[x]7q9firs[t]")
with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
    for line in maps:
        span, rights, _, _, inode, *_ = line.split()
        if rights.startswith("rw") and inode == "0":
            first, last = (int(end, 16) for end in span.split("-"))
            memory.seek(first)
            found += len(wanted.findall(memory.read(last - first)))
print(found)
"""


def test_nothing_of_one_process_is_in_the_memory_of_the_next(tmp_path: Path) -> None:
    one, other = tmp_path / "x7q9first", tmp_path / "second"
    for place in (one, other):
        place.mkdir()
    for place, expected in ((one, True), (other, False)):
        assert run(REMEMBERED, place).wait() == 0
        assert (int(place.joinpath("output").read_text()) > 0) is expected


def test_who_is_interrupted_gets_no_process_that_another_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forkserver, "_server", None)
    monkeypatch.setattr(forkserver, "_broken", False)
    forkserver.begin()
    assert forkserver._server is not None

    def interrupted(*_: object, **__: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(forkserver._server, "fork", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run("pass", tmp_path)
    assert vars(forkserver)["_server"] is None
    assert vars(forkserver)["_broken"]
