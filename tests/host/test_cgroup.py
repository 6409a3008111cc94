"""Limits of containers: from files as both versions of control groups have them, and in a real group."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_lance_ar.host import confinement
from pytest_lance_ar.host.cgroup import Limits, limits, out_of_memory_kills

V2 = "30 23 0:26 {top} /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "35 31 0:32 {top} /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
    "32 31 0:29 {top} /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:4 - cgroup cgroup rw,cpu,cpuacct\n"
)
UNLIMITED_V1 = "9223372036854771712\n"


def machine(root: Path, *, mounts: str, groups: str, files: dict[str, str]) -> Path:
    """A root directory with these mounts, groups of this process, and files below /sys/fs/cgroup."""
    for name, text in {
        "proc/self/mountinfo": "22 1 0:1 / / rw - ext4 /dev/vda rw\n" + mounts,
        "proc/self/cgroup": groups,
        **{f"sys/fs/cgroup/{name}": text for name, text in files.items()},
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


CASES = {
    "none at all": ("", "", {}, Limits()),
    "version 2, no limit": (
        V2.format(top="/"),
        "0::/a/b\n",
        {"a/b/memory.max": "max\n", "a/b/cpu.max": "max 100000\n"},
        Limits(),
    ),
    "version 2": (
        V2.format(top="/"),
        "0::/a/b\n",
        {"a/b/memory.max": "536870912\n", "a/b/cpu.max": "50000 100000\n"},
        Limits(536870912, 0.5),
    ),
    "version 2, an outer group is tighter": (
        V2.format(top="/"),
        "0::/a/b/c\n",
        {
            "a/b/c/memory.max": "900\n",
            "a/b/memory.max": "700\n",
            "a/memory.max": "max\n",
            "a/b/c/cpu.max": "max 100000\n",
            "a/cpu.max": "150000 100000\n",
        },
        Limits(700, 1.5),
    ),
    "version 2, a namespace of its own": (
        V2.format(top="/"),
        "0::/\n",
        {"memory.max": "800\n", "cpu.max": "20000 100000\n"},
        Limits(800, 0.2),
    ),
    "version 2, the machine's path, of which a part is mounted": (
        V2.format(top="/docker/4f"),
        "0::/docker/4f/inner\n",
        {"inner/memory.max": "max\n", "memory.max": "800\n"},
        Limits(800, None),
    ),
    "version 2, a path that is not to be seen": (
        V2.format(top="/"),
        "0::/../../elsewhere\n",
        {"memory.max": "800\n"},
        Limits(800, None),
    ),
    "version 1, no limit": (
        V1.format(top="/"),
        "4:memory:/\n2:cpu,cpuacct:/\n",
        {
            "memory/memory.limit_in_bytes": UNLIMITED_V1,
            "cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
            "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        },
        Limits(),
    ),
    "version 1, nested": (
        V1.format(top="/"),
        "4:memory:/a/b\n2:cpu,cpuacct:/a\n0::/\n",
        {
            "memory/a/b/memory.limit_in_bytes": UNLIMITED_V1,
            "memory/a/memory.limit_in_bytes": "1000\n",
            "cpu,cpuacct/a/cpu.cfs_quota_us": "25000\n",
            "cpu,cpuacct/a/cpu.cfs_period_us": "100000\n",
        },
        Limits(1000, 0.25),
    ),
    "version 1 in a container": (
        V1.format(top="/docker/4f"),
        "4:memory:/docker/4f\n2:cpu,cpuacct:/docker/4f\n",
        {"memory/memory.limit_in_bytes": "1000\n"},
        Limits(1000, None),
    ),
    "both, as systemd's hybrid has them": (
        V1.format(top="/") + V2.format(top="/").replace("cgroup rw", "cgroup/unified rw"),
        "4:memory:/a\n0::/a\n",
        {"memory/a/memory.limit_in_bytes": "1000\n", "unified/a/memory.max": "2000\n"},
        Limits(1000, None),
    ),
    "a directory with a blank in its name": (
        V2.format(top="/").replace("/sys/fs/cgroup", "/sys/fs/cgroup/a\\040b"),
        "0::/\n",
        {"a b/memory.max": "800\n"},
        Limits(800, None),
    ),
    "nonsense": (
        V2.format(top="/") + "x\n\n - \n - cgroup2\n",
        "\nx\n::\n0::/\n",
        {"memory.max": "\xff many\n", "cpu.max": "0 0\n"},
        Limits(),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_limits(name: str, tmp_path: Path) -> None:
    mounts, groups, files, expected = CASES[name]
    assert limits(machine(tmp_path, mounts=mounts, groups=groups, files=files)) == expected


@pytest.mark.parametrize(
    ("mounts", "counter"),
    [(V2, "a/memory.events"), (V1, "memory/a/memory.oom_control")],
    ids=["version 2", "version 1"],
)
def test_a_kill_for_want_of_memory_is_counted(mounts: str, counter: str, tmp_path: Path) -> None:
    root = machine(
        tmp_path, mounts=mounts.format(top="/"), groups="4:memory:/a\n0::/a\n", files={counter: "oom_kill 2\n"}
    )
    before = out_of_memory_kills(root)
    (root / "sys/fs/cgroup" / counter).write_text("low 0\noom 1\noom_kill 3\noom_group_kill 7\n")
    assert out_of_memory_kills(root) == before + 1


@pytest.mark.parametrize("megabytes", [100, 300, 512, 1024, 2048, 8192, 65536])
def test_a_kernel_is_confined_below_what_there_is(megabytes: int) -> None:
    share = confinement.memory_share(megabytes << 20)
    assert share <= confinement.MEMORY
    if megabytes > 400:
        assert share < megabytes << 20


IN_A_GROUP = """
import os, sys
from pathlib import Path
Path(sys.argv[1], "cgroup.procs").write_text(str(os.getpid()))
from pytest_lance_ar.host import cgroup, confinement
from pytest_lance_ar.host.parent import KernelFault, KernelHost
from pytest_lance_ar.targets.pq_l2.target import TARGET
from pytest_lance_ar.trial.deadline import Deadline
ballast = b"x" * (int(sys.argv[3]) << 20)
print(cgroup.limits().memory, confinement.is_short_of_memory())
kernel = b"import numpy as np\\nheld = [np.ones(4 << 20, np.uint8) for _ in range(%d)]\\nclass PqKernel: pass\\n"
with KernelHost(TARGET.driver, core=None, deadline=Deadline.after(100)) as host:
    try:
        host.load(kernel % int(sys.argv[2]), "kernel.py")
    except KernelFault as fault:
        print(fault.failure.kind.name, fault.failure.sentence)
"""
MEMORY = Path("/sys/fs/cgroup/memory")


@pytest.fixture
def group() -> Iterator[Path]:
    path = MEMORY / f"lance-ar-{uuid.uuid4().hex}"
    try:
        path.mkdir()
        (path / "memory.limit_in_bytes").write_text(str(400 << 20))
    except OSError:
        pytest.skip("no memory group of version 1 can be made here")
    yield path
    path.rmdir()


@pytest.mark.parametrize(
    ("blocks", "ballast", "words"),
    [
        (66, 200, "the kernel's process was killed in import: out of memory, of which there is 419 MB here"),
        (400, 0, "import raised MemoryError: out of memory, of which there is 419 MB here"),
        (1, 0, ""),
    ],
    ids=["killed by the system", "stopped by its own limit", "with enough of it"],
)
def test_a_kernel_in_a_group_that_is_too_small(group: Path, blocks: int, ballast: int, words: str) -> None:
    command = [sys.executable, "-c", IN_A_GROUP, str(group), str(blocks), str(ballast)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert done.stdout.splitlines() == [f"{400 << 20} True", *([f"MACHINE {words}"] if words else [])], done.stderr
