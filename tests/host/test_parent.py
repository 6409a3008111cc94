"""A kernel in its process: what it answers, and every way in which it can fail to."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_lance_ar.host import parent, platform, removal, scratch, wire
from pytest_lance_ar.host.parent import KernelFault, KernelHost
from pytest_lance_ar.host.process import KernelProcess
from pytest_lance_ar.targets.common.pq.cases import DrawnCase
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.pq_l2.metric import L2
from pytest_lance_ar.targets.registry import targets
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.evidence import FaultKind
from tests import kernels

INSTANCE = DrawnCase(L2, PqShape(8, 2, 16), "gaussian", seed=1, n=30, k=5).instance()
DRIVER = targets()["pq_l2"].driver


@pytest.fixture
def host() -> Iterator[KernelHost]:
    with KernelHost(DRIVER, core=None, deadline=Deadline.after(100)) as host:
        yield host


def run(host: KernelHost, source: str) -> parent.Pack:
    """Load a kernel and make one call."""
    host.load(source.encode(), "kernel.py")
    pack, _ = host.pack(host.build(INSTANCE), INSTANCE.packs[0])
    pack.call(0)
    return pack


def test_a_kernel_answers_by_the_gates_clock(host: KernelHost) -> None:
    pack = run(host, kernels.PURE_PYTHON)
    for i in range(3):
        assert pack.call(i) > 0
        assert INSTANCE.packs[0].check(i, pack.outputs, 0.0) is None
    assert len({bytes(pack.instance.calls[i]["query"]) for i in range(3)}) == 3


@pytest.fixture
def fixable() -> None:
    """Asks another program, so that a gate that does not fix addresses fails, instead of being skipped."""
    setarch = shutil.which("setarch")
    if setarch is None or subprocess.run([setarch, "-R", "true"], check=False, capture_output=True).returncode:
        pytest.skip("this system, or the container, lets nobody fix addresses: personality(2)")


@pytest.mark.usefixtures("fixable")
def test_processes_of_kernels_are_laid_out_alike() -> None:
    source = """
import ctypes
class PqKernel:
    def __init__(self, shape, codebook):
        raise ValueError(ctypes.cast(ctypes.CDLL(None).getpid, ctypes.c_void_p).value)
"""
    faults = set()
    for _ in range(3):
        with KernelHost(DRIVER, core=None, deadline=Deadline.after(100)) as host:
            host.load(source.encode(), "kernel.py")
            with pytest.raises(KernelFault, match="raised ValueError") as caught:
                host.build(INSTANCE)
            faults.add(str(caught.value))
    assert len(faults) == 1


@pytest.mark.usefixtures("fixable")
def test_what_is_started_afterwards_has_random_addresses_again() -> None:
    personality = Path("/proc/self/personality")
    before = int(personality.read_text(), 16)
    with platform.fixed_addresses() as fixed:
        assert fixed
        assert int(personality.read_text(), 16) == before | 0x0040000
    assert int(personality.read_text(), 16) == before


def test_outputs_are_poisoned_before_every_call(host: KernelHost) -> None:
    skips_every_second = kernels.with_table("self.n = getattr(self, 'n', 0) + 1; out[:] = 1 if self.n % 2 else out")
    pack = run(host, skips_every_second)
    assert (pack.outputs["table"] == 1).all()
    pack.call(1)
    assert np.isnan(pack.outputs["table"]).all()


def test_inputs_are_the_kernels_own_and_read_only(host: KernelHost) -> None:
    run(
        host,
        kernels.with_table(
            "assert not query.flags.writeable and not self.codebook.flags.writeable; "
            "assert query.flags.c_contiguous and self.codebook.flags.c_contiguous; "
            "assert query.dtype == np.float32 and query.shape == (8,); out[:] = 0"
        ),
    )


FAULTS = {
    "exits at import": (
        "import numpy, numba\nnumba.core.config.os._exit(0)",
        FaultKind.DIED,
        "exit status 0 in import",
    ),
    "raises SystemExit at import": ("raise SystemExit(0)", FaultKind.RAISED, "import raised SystemExit: 0 (line 1"),
    "does not compile": (
        "from numba import njit\nnjit(lambda: nobody)()",
        FaultKind.RAISED,
        "import raised TypingError: NameError: name 'nobody' is not defined",
    ),
    "raises at import": ("x = 1\nx / 0", FaultKind.RAISED, "import raised ZeroDivisionError: division by zero (line 2"),
    "defines no class": ("x = 1", FaultKind.CONTRACT, "defines no PqKernel"),
    "has no method": (
        "class PqKernel:\n def __init__(self, s, c): pass",
        FaultKind.CONTRACT,
        "no method distance_table",
    ),
    "raises when built": (
        "class PqKernel:\n def __init__(self, s, c): raise KeyError('k')",
        FaultKind.RAISED,
        "PqKernel() raised KeyError: 'k' (line 2",
    ),
    "raises when packing": (
        kernels.PURE_PYTHON + "    def pack_codes(self, codes): raise MemoryError",
        FaultKind.RAISED,
        "pack_codes raised MemoryError (line",
    ),
    "raises in a call": (
        kernels.with_table("raise ValueError('first\\nsecond')"),
        FaultKind.RAISED,
        "distance_table raised ValueError: first (line 12 of kernel.py)",
    ),
    "exits in a call": (
        kernels.with_table("raise SystemExit(0)"),
        FaultKind.RAISED,
        "distance_table raised SystemExit",
    ),
    "is killed": (
        kernels.with_table("np.ctypeslib.ctypes.string_at(0)"),
        FaultKind.DIED,
        "killed by SIGSEGV during a call",
    ),
    "returns no tuple": (kernels.with_answer("[ids, distance[ids]]"), FaultKind.CONTRACT, "tuple (ids, distances)"),
    "returns None": (kernels.with_answer("None"), FaultKind.CONTRACT, "not a NoneType"),
    "returns lists": (
        kernels.with_answer("list(ids), distance[ids]"),
        FaultKind.CONTRACT,
        "ids as int64 of shape (5,)",
    ),
    "returns int32": (kernels.with_answer("ids.astype(np.int32), distance[ids]"), FaultKind.CONTRACT, "not int32"),
    "returns float64": (kernels.with_answer("ids, distance[ids].astype(float)"), FaultKind.CONTRACT, "not float64"),
    "returns too few": (kernels.with_answer("ids[1:], distance[ids]"), FaultKind.CONTRACT, "not int64 of shape (4,)"),
    "returns a subclass": (
        kernels.with_answer("ids, distance[ids].view(np.recarray)"),
        FaultKind.CONTRACT,
        "not a recarray",
    ),
    "writes to its query": (kernels.with_table("query[0] = 0"), FaultKind.RAISED, "read-only"),
}


@pytest.mark.parametrize(("source", "kind", "sentence"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_a_sentence(host: KernelHost, source: str, kind: FaultKind, sentence: str) -> None:
    with pytest.raises(KernelFault) as caught:
        run(host, source)
    assert caught.value.failure.kind is kind
    assert sentence in caught.value.failure.sentence
    assert "\n" not in caught.value.failure.sentence


HANGS = {
    "import": ("while True: pass", "import"),
    "construction": ("class PqKernel:\n def __init__(self, s, c):\n  while True: pass", "PqKernel()"),
    "a call": (kernels.with_table("while True: pass"), "a call"),
}


@pytest.mark.parametrize(("source", "stage"), HANGS.values(), ids=HANGS)
def test_what_never_returns_is_a_timeout(monkeypatch: pytest.MonkeyPatch, source: str, stage: str) -> None:
    monkeypatch.setattr(parent, "COMPILE_SECONDS", 0.5)
    with KernelHost(DRIVER, core=None, deadline=Deadline.after(100)) as host:
        with pytest.raises(KernelFault) as caught:
            run(host, source)
        pid = host.pid
    assert caught.value.failure.kind is FaultKind.TIMEOUT
    assert caught.value.failure.sentence == f"{stage} did not return within 0 s"
    assert not Path(f"/proc/{pid}").exists()


def test_the_budget_ends_a_call() -> None:
    with KernelHost(DRIVER, core=None, deadline=Deadline.after(100)) as host:
        run(host, kernels.PURE_PYTHON)
        host.deadline = Deadline.after(-1)
        with pytest.raises(KernelFault) as caught:
            host.build(INSTANCE)
    assert caught.value.failure.kind is FaultKind.TIMEOUT
    assert "the time budget ran out" in caught.value.failure.sentence


def test_closing_kills_what_the_kernel_started() -> None:
    """Two generations, in two sessions of their own, without the walls that would have refused them."""
    source = "import numba\nos = numba.core.config.os\n" + kernels.with_table(
        "me = os.getpid()\n"
        "        for _ in range(2):\n"
        "            if os.fork() == 0: os.setsid()\n"
        "        open('pids', 'a').write(str(os.getpid()) + ' ')\n"
        "        while os.getpid() != me: pass\n"
        "        while len(open('pids').read().split()) < 4: pass\n"
        "        out[:] = 0"
    )
    with KernelHost(DRIVER, core=None, deadline=Deadline.after(100), confined=False) as host:
        run(host, source)
        directory = host._directory
        children = [int(pid) for pid in (directory / "pids").read_text().split()]
    assert not directory.exists()
    assert len(children) == 4
    for _ in range(500):  # they are killed at once, but the system takes its time to bury them
        if not any(map(alive, children)):
            break
        time.sleep(0.01)
    assert not any(map(alive, children))


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def test_the_kernel_sees_a_small_environment(host: KernelHost, monkeypatch: pytest.MonkeyPatch) -> None:
    names = "sorted(numba.core.config.os.environ)"
    with pytest.raises(KernelFault) as caught:
        run(host, "import numba\n" + kernels.with_table(f"raise ValueError({names})"))
    text = caught.value.failure.sentence
    assert "NUMBA_CACHE_DIR" in text
    assert "PYTEST_CURRENT_TEST" not in text


def test_memory_is_counted_from_before_the_kernel(host: KernelHost) -> None:
    run(host, kernels.PURE_PYTHON + "    big = np.ones(25_000_000)\n")
    megabytes = host.peak_mem_mb()
    if platform.peak_resident_bytes(os.getpid()) is None:
        assert np.isnan(megabytes)
    else:
        assert 190 < megabytes < 400


FORGED = {
    "nested beyond reading": "b'[' * 500_000",
    "no JSON": "b'{'",
    "no object": "b'[1]'",
    "a list for a sentence": """b'{"message": ["x"], "stage": {}, "type": 7, "line": [1], "traceback": 3}'""",
    "steers the terminal": r"""b'{"message": "\\u001b[2J\\ud800 first\\nverdict: keep", "type": "\\u001b[31m"}'""",
    "endless": """b'{"message": "' + b'x' * 900_000 + b'"}'""",
}


@pytest.mark.parametrize("body", FORGED.values(), ids=FORGED)
def test_what_a_kernel_says_on_the_gates_channel_is_taken_as_text(host: KernelHost, body: str) -> None:
    source = (
        "import gc, socket\n"
        "channel = next(o for o in gc.get_objects() if isinstance(o, socket.socket))\n"
        f"body = {body}\n"
        "channel.sendall(len(body).to_bytes(4, 'little') + body)\n"
    )
    with pytest.raises(KernelFault) as caught:
        host.load(source.encode(), "kernel.py")
    failure = caught.value.failure
    assert failure.kind in (FaultKind.DIED, FaultKind.RAISED)
    assert failure.sentence.isprintable()
    assert len(failure.sentence) < 1000
    assert all(line.isprintable() for line in failure.detail.splitlines())


def test_descriptors_from_a_kernel_are_not_kept() -> None:
    """Without the walls that would have refused to send them."""
    source = (
        "import gc, os, socket\n"
        "channel = next(o for o in gc.get_objects() if isinstance(o, socket.socket))\n"
        "socket.send_fds(channel, [(2).to_bytes(4, 'little')], [os.open('/dev/null', os.O_RDONLY)])\n"
        "channel.sendall(b'{}')\n"
    )
    with KernelHost(DRIVER, core=None, deadline=Deadline.after(100), confined=False) as host:
        before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0
        with pytest.raises(KernelFault, match="wrote to the gate's channel"):
            host.load(source.encode(), "kernel.py")
        assert not before or len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_reply_before_the_answer_is_an_answer_too_late(host: KernelHost) -> None:
    source = (
        "import numba\nos = numba.core.config.os\n\n"
        "def forge():\n"
        "    for descriptor in range(3, 250):\n"
        "        try:\n"
        "            os.write(descriptor, bytes(1))\n"
        "        except OSError:\n"
        "            pass\n\n" + kernels.with_table("forge(); [None for _ in range(10**6)]; out[:] = 0")
    )
    pack = run(host, source)
    assert np.isnan(pack.outputs["table"]).all()
    assert pack.instance.check(0, pack.outputs, 0.0) is not None
    pack.call(1)
    assert pack.instance.check(1, pack.outputs, 0.0) is not None


def test_a_process_that_does_not_start_is_no_fault_of_the_kernel() -> None:
    with (
        KernelHost("no.such.driver", core=None, deadline=Deadline.after(100)) as host,
        pytest.raises(parent.HostError, match=r"exit status 1 in start: (?s:.*)No module named 'no'"),
    ):
        host.load(kernels.PURE_PYTHON.encode(), "kernel.py")


@pytest.mark.skipif(not platform.STOPS, reason="kernels are stopped on Linux alone")
def test_what_a_process_does_once_it_is_let_go_is_on_the_clock(
    host: KernelHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread of the kernel's that has work left may have the core before the gate does."""
    pack = run(host, kernels.PURE_PYTHON)
    lets_go = KernelProcess.go_on

    def and_works(process: KernelProcess) -> None:
        lets_go(process)
        time.sleep(0.05)

    monkeypatch.setattr(KernelProcess, "go_on", and_works)
    assert pack.call(1) > 50_000_000


@pytest.mark.skipif(not platform.STOPS, reason="kernels are stopped on Linux alone")
def test_who_stops_itself_is_not_let_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """However soon behind a request: else it were chance whether that is a stall."""
    source = kernels.PURE_PYTHON + "import os\nos.kill(os.getpid(), 19)\n"
    send = wire.send

    def and_wait(*arguments: Any) -> None:
        send(*arguments)
        time.sleep(0.5)

    with KernelHost(DRIVER, core=None, deadline=Deadline.after(1000), confined=False) as host:
        host.await_start()
        host.deadline = Deadline.after(2)
        monkeypatch.setattr(wire, "send", and_wait)
        with pytest.raises(KernelFault) as caught:
            host.load(source.encode(), "kernel.py")
    assert caught.value.failure.kind is FaultKind.TIMEOUT


@pytest.mark.parametrize(("left", "allowed"), [(-1.0, parent.LATE_SECONDS), (1000.0, removal.SECONDS)])
def test_what_a_kernel_leaves_behind_is_not_removed_at_the_cost_of_the_deadline(
    monkeypatch: pytest.MonkeyPatch, left: float, allowed: float
) -> None:
    """Each of a trial's processes may have filled its directory, where no wall limits that."""
    given: list[float] = []
    monkeypatch.setattr(scratch, "remove_tree", lambda _path, seconds: given.append(seconds))
    host = KernelHost(DRIVER, core=None, deadline=Deadline.after(100))
    directory = host._directory
    host.deadline = Deadline.after(left)
    host.close()
    monkeypatch.undo()
    removal.remove_tree(directory)
    assert given == [allowed]
    assert not directory.exists()
