"""The list of system calls: read by an interpreter of BPF for both machines, and tried in a real process."""

from __future__ import annotations

import errno
import platform
import struct
from typing import Final

import pytest

from pytest_lance_ar.host import seccomp
from pytest_lance_ar.host.parent import KernelFault, KernelHost
from pytest_lance_ar.targets.registry import targets
from pytest_lance_ar.trial.deadline import Deadline

MACHINES = {"x86_64": 0, "aarch64": 1}
ARCHITECTURES = (0xC000003E, 0xC00000B7)
PID = 4711
ALLOWED, KILLED = "allowed", "killed"
ANSWERS: dict[int, str | int] = {0x7FFF0000: ALLOWED, 0x80000000: KILLED}
UNFILTERED = (335, 336)
"""uretprobe and uprobe of x86-64: the system's own, which no filter sees, and which end who calls them."""


def ruling(machine: int, number: int, *arguments: int, architecture: int | None = None) -> str | int:
    """What the filter says about a call: allowed, killed, or the error it gets."""
    data = struct.pack(
        "=IIQ6Q", number, architecture or ARCHITECTURES[machine], 0, *arguments, *[0] * (6 - len(arguments))
    )
    program = [struct.unpack_from("=HBBI", code) for code in chunks(seccomp.filter_program(machine, PID))]
    at, accumulator = 0, 0
    while True:
        code, if_true, if_false, value = program[at]
        at += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif code == 0x54:
            accumulator &= value
        elif code == 0x06:
            return ANSWERS.get(value, int(value) & 0xFFFF)
        else:
            tests = {0x15: accumulator == value, 0x25: accumulator > value, 0x35: accumulator >= value}
            at += if_true if tests.get(code, bool(accumulator & value)) else if_false


def chunks(program: bytes) -> list[bytes]:
    return [program[at : at + 8] for at in range(0, len(program), 8)]


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_what_is_not_on_the_list_is_refused(machine: int) -> None:
    listed = {n[machine] for n in seccomp.ALLOWED.values()} | {n[machine] for n, _ in seccomp.limited(PID).values()}
    absent = {n[machine] for n in seccomp.ABSENT.values()}
    for number in range(1000):
        expected = ALLOWED if number in {n[machine] for n in seccomp.ALLOWED.values()} else errno.EPERM
        if number in absent:
            expected = errno.ENOSYS
        elif number in listed and expected == errno.EPERM:
            continue  # as its arguments have it
        assert ruling(machine, number) == expected, number


CASES = [
    ("mmap", (0, 4096, 3, 0x22), ALLOWED),
    ("mmap", (0, 4096, 3, 0x22 | 0x2000), errno.EPERM),
    ("mmap", (0, 4096, 3, 0x22 | 0x8000), errno.EPERM),
    ("madvise", (0, 4096, 14), ALLOWED),
    ("madvise", (0, 4096, 12), errno.EPERM),
    ("fcntl", (3, 1030), ALLOWED),
    ("fcntl", (3, 1031), errno.EPERM),
    ("fcntl", (3, 6), errno.EPERM),
    ("fcntl", (3, 4), errno.EPERM),
    ("ioctl", (3, 0x5401), ALLOWED),
    ("ioctl", (3, 0x5412), errno.EPERM),
    ("prctl", (15,), ALLOWED),
    ("prctl", (1,), errno.EPERM),
    ("prlimit64", (0, 7, 0), ALLOWED),
    ("prlimit64", (0, 7, 1 << 32), errno.EPERM),
    ("prlimit64", (0, 7, 1), errno.EPERM),
    ("prlimit64", (1, 7, 0), errno.EPERM),
    ("clock_gettime", (0,), ALLOWED),
    ("clock_gettime", (11,), ALLOWED),
    ("clock_gettime", ((~PID << 3 | 2) & 0xFFFFFFFF,), errno.EPERM),
    ("clone", (0x3D0F00,), ALLOWED),
    ("clone", (0x1200011,), errno.EPERM),
    ("kill", (PID, 6), ALLOWED),
    ("kill", (PID, 18), errno.EPERM),
    ("kill", (PID, 19), errno.EPERM),
    ("kill", (PID - 1, 6), errno.EPERM),
    ("kill", (0xFFFFFFFF, 6), errno.EPERM),
    ("tgkill", (PID, PID, 6), ALLOWED),
    ("tgkill", (PID, PID, 19), errno.EPERM),
    ("sendto", (3, 1, 1, 0, 0, 0), ALLOWED),
    ("sendto", (3, 1, 1, 0, 1 << 40, 16), errno.EPERM),
    ("futex", (0, 128, 0), ALLOWED),
    ("futex", (0, 128 | 9 | 256, 0), ALLOWED),
    ("futex", (0, 128 | 6, 0), errno.EPERM),
    ("futex", (0, 9 | 256, 0), ALLOWED),  # as who joins a thread does
    ("futex", (0, 1, 1), errno.EPERM),
    ("futex", (0, 10, 1), errno.EPERM),
    ("futex", (0, 4, 1), errno.EPERM),
]


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
@pytest.mark.parametrize(("name", "arguments", "expected"), CASES)
def test_some_calls_are_allowed_with_some_arguments(
    machine: int, name: str, arguments: tuple[int, ...], expected: str | int
) -> None:
    number = seccomp.limited(PID)[name][0][machine]
    assert number is not None
    assert ruling(machine, number, *arguments) == expected


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_another_architectures_calls_end_the_process(machine: int) -> None:
    assert ruling(machine, 0, architecture=0x40000003) == KILLED
    if machine == 0:
        assert ruling(machine, 0x40000000) == KILLED


def test_no_number_is_listed_twice() -> None:
    for machine in MACHINES.values():
        everything = [*seccomp.ALLOWED.values(), *seccomp.ABSENT.values(), *(n for n, _ in seccomp.limited(1).values())]
        numbers = [n[machine] for n in everything if n[machine] is not None]
        assert len(numbers) == len(set(numbers))


@pytest.mark.skipif(not seccomp.offered(), reason="this host has no such wall")
def test_a_process_gets_what_the_list_says() -> None:
    """Every call there is and is not on the list, made for real: refused, it does nothing."""
    machine = MACHINES[platform.machine()]
    known = (*seccomp.ALLOWED.values(), *(numbers for numbers, _ in seccomp.limited(1).values()))
    untried = {*UNFILTERED, *(numbers[machine] for numbers in known)}
    source = f"""
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
passed = []
for number in range(480):
    if number not in {untried!r} and libc.syscall(number, 0, 0, 0, 0, 0, 0) >= 0:
        passed.append(number)
    elif number not in {untried!r} and ctypes.get_errno() not in (1, 38):
        passed.append(number)
raise RuntimeError(passed)
"""
    with KernelHost(targets()["pq_l2"].driver, core=None, deadline=Deadline.after(100)) as host:
        with pytest.raises(KernelFault, match=r"raised RuntimeError: \[\]"):
            host.load(source.encode(), "kernel.py")
        assert "seccomp" in host.walls


_WAITS: Final = """
import ctypes, mmap, os, threading, time
import llvmlite.binding, numpy as np

libc = ctypes.CDLL(None, use_errno=True)
place = os.path.dirname(llvmlite.binding.__file__) + "/libllvmlite.so"
page = np.frombuffer(mmap.mmap(os.open(place, os.O_RDONLY), 4096, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ), np.int32)
address, wait, wake = ctypes.c_void_p(page.ctypes.data), 0, 1
number = {number}
threading.Thread(target=lambda: libc.syscall(number, address, wait, int(page[0]), None), daemon=True).start()
time.sleep(1)
"""


@pytest.mark.skipif(not seccomp.offered(), reason="this host has no such wall")
@pytest.mark.parametrize("walls", [(), ("seccomp",)])
def test_nobody_learns_who_waits_at_a_page_of_a_library(walls: tuple[str, ...]) -> None:
    """All kernels map the same pages. Who wakes those that wait at one, in whatever process, is told how many."""
    (numbers, _), machine = seccomp.limited(1)["futex"], MACHINES[platform.machine()]
    waits = _WAITS.replace("{number}", str(numbers[machine]))
    wakes = f"{waits}\nraise RuntimeError(libc.syscall(number, address, wake, 9))\n"
    driver, deadline = targets()["pq_l2"].driver, Deadline.after(100)
    told = "RuntimeError: [1-9]" if walls else "RuntimeError: -1"  # also who waits there for another test
    with (
        KernelHost(driver, core=None, deadline=deadline, without=walls) as host,
        pytest.raises(KernelFault, match=told),
    ):
        host.load(wakes.encode(), "kernel.py")
