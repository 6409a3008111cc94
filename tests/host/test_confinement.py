"""What a kernel's process can still do: the probes run in a real one, with its walls and without."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

import pytest_lance_ar
from pytest_lance_ar.host import confinement
from pytest_lance_ar.host.parent import KernelFault, KernelHost
from pytest_lance_ar.targets.registry import targets
from pytest_lance_ar.trial.deadline import Deadline
from tests import installed

DRIVER = targets()["pq_l2"].driver
HEAD = """
import ctypes, mmap, os, resource, signal, socket, sys, threading
from pathlib import Path
libc = ctypes.CDLL(None, use_errno=True)

def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return result

def missing():
    raise OSError

def in_another_process(pid):
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)

"""
SECCOMP = {
    "fork": "in_another_process(os.fork())",
    "vfork": "checked(libc.vfork())",
    "execute": "os.execv(sys.executable, [sys.executable, '-c', ''])",
    "start a program": "os.posix_spawn('/bin/true', ['true'], {})",
    "a session of its own": "os.setsid()",
    "open a socket": "socket.socket()",
    "open a pair of sockets": "socket.socketpair()",
    "signal its parent": "os.kill(os.getppid(), 0)",
    "signal all": "os.kill(-1, 0)",
    "trace": "checked(libc.ptrace(16, os.getppid(), None, None))",
    "read another process": (
        "checked(libc.process_vm_readv(os.getppid(), None, ctypes.c_ulong(0), None, ctypes.c_ulong(0), "
        "ctypes.c_ulong(0)))"
    ),
    "choose its core": "os.sched_setaffinity(0, range(os.cpu_count()))",
    "choose its priority": "os.setpriority(os.PRIO_PROCESS, 0, 19)",
    "be scheduled otherwise": "os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))",
    "outlive its parent": "checked(libc.prctl(1, 0, 0, 0, 0))",
    "memory that no limit counts": "os.memfd_create('x')",
    "shared memory": "checked(libc.shmget(0, 4096, 0o1600))",
    "a namespace of its own": "checked(libc.unshare(0x10000000))",
}
LANDLOCK = {
    "write elsewhere": "open(ELSEWHERE, 'w')",
    "make a file elsewhere": "open(ELSEWHERE + '.new', 'w')",
    "cut a file elsewhere": "os.truncate(ELSEWHERE, 0)",
    "remove a file elsewhere": "os.unlink(ELSEWHERE)",
    "rename a file elsewhere": "os.rename(ELSEWHERE, ELSEWHERE + '.old')",
    "link a file elsewhere": "os.symlink('x', ELSEWHERE + '.link')",
    "write to shared memory": "open('/dev/shm/lance-ar-probe', 'w')",
    "read its parent's memory": "open(f'/proc/{os.getppid()}/mem', 'rb').read(1)",
    "write its parent's memory": "open(f'/proc/{os.getppid()}/mem', 'r+b')",
    "read who shares its pages": "open('/proc/self/smaps').read()",
}
NAMESPACES = {
    "see that a file is there": "os.stat(ELSEWHERE)",
    "see that its parent is there": "os.stat(f'/proc/{os.getppid() or 0}')",
    "see the first process": "os.getpid() == 1 and missing() or os.stat('/proc/1')",
    "see the gate's directory": "os.stat('/tmp/lance-ar.timing.lock')",
    "see how full the disk is": "os.statvfs('/')",
    "see the machine's memory": "open('/proc/meminfo').read()",
    "see the machine's load": "open('/proc/loadavg').read()",
    "see who shares its pages": "open('/proc/self/smaps').read()",
    "see how cores sleep": "os.stat('/sys/devices/system/cpu/cpu0')",
    "see what users there are": "open('/etc/passwd').read()",
    "lock what others can": "__import__('fcntl').flock(os.open('/dev/null', os.O_RDONLY), 6)",
    "read the kernels that the gate has": "open(sys.modules['pytest_lance_ar'].__file__).read()",
    "fill its directory": "[open(f'f{i}', 'w').close() for i in range(5000)]",
    "fill the disk": "[open(f'g{i}', 'wb').write(bytes(16 << 20)) for i in range(8)]",
}
LIMITS = {
    "endless memory": "mmap.mmap(-1, 1 << 40)",
    "a large file": "open('large', 'wb').truncate(1 << 40)",
    "endless files": "[open('/dev/null') for _ in range(5000)]",
}
ALLOWED = {
    "threads": "thread = threading.Thread(target=print); thread.start(); thread.join()",
    "its own directory": "Path('note').write_text('x'); os.rename('note', 'other'); os.unlink('other')",
    "a large array": "mmap.mmap(-1, 1 << 28)",
    "a signal to itself": "os.kill(os.getpid(), 0)",
    "nothing": "open('/dev/null', 'w').write('x')",
    "libraries": "import numba.cuda, email, xml.dom",
}
PROBES = {"seccomp": SECCOMP, "Landlock": LANDLOCK, "namespaces": NAMESPACES, "limits": LIMITS}
ALONE = {"seccomp": ("namespaces", "Landlock"), "Landlock": ("namespaces", "seccomp"), "namespaces": ("Landlock",)}
"""The other walls, without which one must hold what it is for."""
USUAL = sys.platform.startswith("linux") and platform.machine() in ("x86_64", "aarch64")


def outcome(
    probe: str, elsewhere: Path, *, confined: bool, without: tuple[str, ...] = ()
) -> tuple[str, tuple[str, ...]]:
    """What became of a probe in a kernel's process, and the walls around it."""
    source = f"{HEAD}ELSEWHERE = {str(elsewhere)!r}\n{probe}\n"
    deadline = Deadline.after(100)
    with KernelHost(DRIVER, core=None, deadline=deadline, confined=confined, without=without) as host:
        try:
            host.load(source.encode(), "kernel.py")
        except KernelFault as fault:
            return str(fault.failure), host.walls
        return "", host.walls


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("elsewhere") / "file"
    path.parent.chmod(0o777)
    path.write_text("whole")
    path.chmod(0o666)
    return path


def together(probes: dict[str, str]) -> str:
    """One kernel that tries all probes and names those that worked."""
    lines = ["worked = []"]
    for name, probe in probes.items():
        lines += [
            "try:",
            f"    {probe}",
            "except (OSError, MemoryError, ValueError): pass",
            f"else: worked.append({name!r})",
        ]
    return "\n".join([*lines, "raise RuntimeError(sorted(worked))"])


@pytest.mark.parametrize("wall", PROBES)
def test_what_a_wall_keeps_out(wall: str, elsewhere: Path) -> None:
    if wall not in confinement.offered():
        pytest.skip(f"this host does not offer {wall}")
    said, walls = outcome(together(PROBES[wall]), elsewhere, confined=True, without=ALONE.get(wall, ()))
    assert wall in walls
    assert not set(walls) & set(ALONE.get(wall, ()))
    assert "raised RuntimeError: []" in said
    assert elsewhere.read_text() == "whole"


LOOKING = """
from pytest_lance_ar.host.parent import KernelFault, KernelHost
from pytest_lance_ar.trial.deadline import Deadline
look = '''
import os, sys
place = os.path.dirname(sys.modules["pytest_lance_ar"].__file__)
raise ValueError([place.endswith("site-packages/pytest_lance_ar"), *map(os.listdir, [place, place + "_shipped"])])
'''
with KernelHost("pytest_lance_ar.host.null_driver", core=None, deadline=Deadline.after(100)) as host:
    try:
        host.load(look.encode(), "kernel.py")
    except KernelFault as fault:
        print(fault.failure.sentence)
"""


def test_an_installed_gate_looks_empty_to_a_kernel(tmp_path: Path) -> None:
    if "namespaces" not in confinement.offered():
        pytest.skip("this host does not offer namespaces")
    python = installed.python_at(tmp_path / "venv")
    installed.install(Path(pytest_lance_ar.__file__).parent, python)
    said = subprocess.run([python, "-I", "-c", LOOKING], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "ValueError: [True, [], []]" in said.stdout


OPEN_TO_ALL = (
    *("fork", "start a program", "open a socket", "open a pair of sockets", "signal its parent", "signal all"),
    *("choose its core", "choose its priority", "be scheduled otherwise", "outlive its parent"),
    *("memory that no limit counts", "shared memory"),
)
"""What any user may do on Linux, and a probe can try without harm."""


@pytest.mark.skipif(not USUAL, reason="some of these calls are Linux's own")
def test_without_walls_the_probes_work(elsewhere: Path) -> None:
    """A probe that fails for a reason of its own proves nothing."""
    probes = {name: SECCOMP[name] for name in OPEN_TO_ALL}
    said, walls = outcome(together(probes), elsewhere, confined=False)
    assert f"raised RuntimeError: {sorted(probes)}" in said
    assert walls == ()


def test_without_walls_files_can_be_written(elsewhere: Path) -> None:
    assert outcome("open(ELSEWHERE, 'a')", elsewhere, confined=False)[0] == ""


def test_what_an_honest_kernel_may_do(elsewhere: Path) -> None:
    said, _ = outcome(together(ALLOWED), elsewhere, confined=True)
    assert f"raised RuntimeError: {sorted(ALLOWED)}" in said


@pytest.mark.parametrize("without", [("namespaces",), ("Landlock",), ("seccomp",)], ids=lambda names: names[0])
def test_an_honest_kernel_may_do_the_same_with_a_wall_less(elsewhere: Path, without: tuple[str, ...]) -> None:
    said, walls = outcome(together(ALLOWED), elsewhere, confined=True, without=without)
    assert f"raised RuntimeError: {sorted(ALLOWED)}" in said
    assert without[0] not in walls


def test_a_gate_that_is_root_runs_each_kernel_as_a_user_of_its_own(elsewhere: Path) -> None:
    probe = "raise RuntimeError(os.getresuid(), os.getresgid(), os.getgroups())"
    said = [outcome(probe, elsewhere, confined=True)[0] for _ in range(2)]
    if os.geteuid() == 0:
        assert said[0] != said[1]
        assert not any("((0, " in text for text in said)
    else:
        assert confinement.private_user() is None
        assert all(f"(({os.getuid()}, " in text for text in said)


def test_what_is_offered_stands(elsewhere: Path) -> None:
    """The header says what the host lacks before a kernel's process tells what it has."""
    _, walls = outcome("", elsewhere, confined=True)
    stands = {known for known in confinement.WALLS if any(wall.startswith(known) for wall in walls)}
    own = set() if os.geteuid() == 0 else {"unprivileged user"}
    assert stands | own == set(confinement.offered())
