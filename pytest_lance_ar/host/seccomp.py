"""The system calls that a kernel's process may make once its walls stand: a list of what is allowed.

It is what honest kernels were seen to need after the walls are up (`strace` on the corpus of honest kernels and on the
shipped one: compiling, packing, timed calls), and what the same libraries need on other systems and versions: the older
or newer twin of a call, threads, sleeping, aborting. Left out, though each is harmless by itself: timers that outlive
the call which set them, locks, and whatever tells of the machine or of other processes.

Sources: seccomp(2) of the Linux manual pages; call numbers from the kernel's `asm/unistd_64.h` (x86-64) and
`asm-generic/unistd.h` (arm64).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

Numbers = tuple[int | None, int | None]
"""Of a call on x86-64 and on arm64; None where there is no such call."""

ALLOWED: Final[dict[str, Numbers]] = {
    # Of every request; first, since they are looked up first.
    "read": (0, 63),
    "write": (1, 64),
    "recvmsg": (47, 212),
    "recvfrom": (45, 207),
    # Memory.
    "munmap": (11, 215),
    "mprotect": (10, 226),
    "mremap": (25, 216),
    "brk": (12, 214),
    # Files: what may be opened is for Landlock, the mount namespace and the user to say.
    "open": (2, None),
    "openat": (257, 56),
    "close": (3, 57),
    "stat": (4, None),
    "lstat": (6, None),
    "fstat": (5, 80),
    "newfstatat": (262, 79),
    "statx": (332, 291),
    "lseek": (8, 62),
    "pread64": (17, 67),
    "pwrite64": (18, 68),
    "readv": (19, 65),
    "writev": (20, 66),
    "getdents64": (217, 61),
    "access": (21, None),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "readlink": (89, None),
    "readlinkat": (267, 78),
    "getcwd": (79, 17),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "mkdir": (83, None),
    "mkdirat": (258, 34),
    "rmdir": (84, None),
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "dup": (32, 23),
    "umask": (95, 166),
    # Waiting. A stop takes these back, and restart_syscall goes on with what is left of the time.
    "poll": (7, None),
    "ppoll": (271, 73),
    "select": (23, None),
    "pselect6": (270, 72),
    "nanosleep": (35, 101),
    "restart_syscall": (219, 128),
    "sched_yield": (24, 124),
    # Threads and signals of its own.
    "set_robust_list": (273, 99),
    "rseq": (334, 293),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "exit": (60, 93),
    "exit_group": (231, 94),
    # Of itself and of the system's name.
    "getpid": (39, 172),
    "getppid": (110, 173),
    "gettid": (186, 178),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getegid": (108, 177),
    "getgroups": (115, 158),
    "getresuid": (118, 148),
    "getresgid": (120, 150),
    "getrlimit": (97, 163),
    "sched_getaffinity": (204, 123),
    "getcpu": (309, 168),
    "uname": (63, 160),
    "getrandom": (318, 278),
    "gettimeofday": (96, 169),
    "time": (201, None),
}
ABSENT: Final[dict[str, Numbers]] = {"clone3": (435, 435), "io_uring_setup": (425, 425), "openat2": (437, 437)}
"""Answered as if the system had no such call: libraries then fall back to calls that can be looked into."""


@dataclass(frozen=True)
class Test:
    """What an argument, counted from 0, must be: none of the bits `without`, one of the bits `any_of`, and after `mask`
    one of `values`, as far as these are given; at most `limit`; nothing at all (`null`, a pointer)."""

    argument: int
    without: int = 0
    any_of: int = 0
    mask: int = 0xFFFFFFFF
    values: tuple[int, ...] = ()
    limit: int | None = None
    null: bool = False


_CLONE_THREAD: Final = 0x10000
_MAP_LOCKED, _MAP_POPULATE, _MAP_HUGETLB = 0x2000, 0x8000, 0x40000
_MADVISE: Final = (0, 1, 2, 3, 4, 8, 14, 15, 16, 17)
"""NORMAL, RANDOM, SEQUENTIAL, WILLNEED, DONTNEED, FREE, HUGEPAGE, NOHUGEPAGE, DONTDUMP, DODUMP; no merging, which the
system does in the background, and no paging out."""
_FUTEX_WAITS: Final = (0, 9)
_FUTEX_PRIVATE: Final = tuple(128 | operation for operation in (0, 1, 3, 4, 5, 9, 10))
"""WAIT, WAKE, REQUEUE, CMP_REQUEUE, WAKE_OP, WAIT_BITSET, WAKE_BITSET; none that lends priorities. Among the threads of
one process only, but for waiting, as who joins a thread does: a wake tells how many wait, also in another process that
maps the same page of a library."""
_F_DUPFD, _F_GETFD, _F_SETFD, _F_GETFL, _F_DUPFD_CLOEXEC = 0, 1, 2, 3, 1030
_TCGETS, _FIONCLEX, _FIOCLEX, _FIONBIO = 0x5401, 0x5450, 0x5451, 0x5421
_PR_SET_NAME, _PR_GET_NAME, _PR_SET_VMA = 15, 16, 0x53564D41
_LAST_CLOCK: Final = 11
"""Above it are the clocks of other processes, and of devices."""
_OWN_USAGE: Final = (0, 1)
_FATAL_SIGNALS: Final = (0, 4, 6, 7, 8, 9, 11, 15)
"""No signal that stops or continues."""


def limited(pid: int) -> dict[str, tuple[Numbers, tuple[Test, ...]]]:
    """Calls that process `pid` may make with some arguments only."""
    clock = (Test(0, limit=_LAST_CLOCK),)
    return {
        "sendto": ((44, 206), (Test(4, null=True),)),
        "mmap": ((9, 222), (Test(3, without=_MAP_LOCKED | _MAP_POPULATE | _MAP_HUGETLB),)),
        "futex": ((202, 98), (Test(1, mask=0xFF, values=(*_FUTEX_WAITS, *_FUTEX_PRIVATE)),)),
        "clock_gettime": ((228, 113), clock),
        "clock_getres": ((229, 114), clock),
        "clock_nanosleep": ((230, 115), clock),
        "madvise": ((28, 233), (Test(2, values=_MADVISE),)),
        "fcntl": ((72, 25), (Test(1, values=(_F_DUPFD, _F_GETFD, _F_SETFD, _F_GETFL, _F_DUPFD_CLOEXEC)),)),
        "ioctl": ((16, 29), (Test(1, values=(_TCGETS, _FIOCLEX, _FIONCLEX, _FIONBIO)),)),
        "prctl": ((157, 167), (Test(0, values=(_PR_SET_NAME, _PR_GET_NAME, _PR_SET_VMA)),)),
        "prlimit64": ((302, 261), (Test(0, values=(0,)), Test(2, null=True))),  # its own limits, to be read
        "getrusage": ((98, 165), (Test(0, values=_OWN_USAGE),)),
        "clone": ((56, 220), (Test(0, any_of=_CLONE_THREAD),)),
        "kill": ((62, 129), (Test(0, values=(pid,)), Test(1, values=_FATAL_SIGNALS))),
        "tgkill": ((234, 131), (Test(0, values=(pid,)), Test(2, values=_FATAL_SIGNALS))),
    }


_SECCOMP: Final = (317, 277)
_AUDIT_ARCH: Final = (0xC000003E, 0xC00000B7)
_MACHINES: Final = {"x86_64": 0, "aarch64": 1}
_ACTIONS: Final = Path("/proc/sys/kernel/seccomp/actions_avail")
_LOAD, _EQUAL, _ABOVE, _AT_LEAST, _ANY_BIT, _AND, _GIVE = 0x20, 0x15, 0x25, 0x35, 0x45, 0x54, 0x06
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
"""Offsets in struct seccomp_data."""


def offered() -> bool:
    """Whether this host has the wall, as far as one can tell without building it."""
    return platform.machine() in _MACHINES and _ACTIONS.exists()


def build(libc: ctypes.CDLL) -> str:
    """Confine the calling process, all its threads, for good. Returns the wall's name, "" where there is none."""
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return ""
    program = filter_program(machine, os.getpid())
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    set_mode_filter, all_threads, full_speculation = 1, 1, 1 << 2
    # Older kernels slow a filtered process down, against leaks between processes that are no matter here.
    if libc.syscall(_SECCOMP[machine], set_mode_filter, all_threads | full_speculation, header) != 0:
        return ""
    return "seccomp"


def filter_program(machine: int, pid: int) -> bytes:
    """The BPF program: what it returns for a system call of process `pid`. machine: 0 for x86-64, 1 for arm64."""
    program = [
        _op(_LOAD, _ARCHITECTURE),
        _op(_EQUAL, _AUDIT_ARCH[machine], 1, 0),
        _op(_GIVE, _KILL),
        _op(_LOAD, _NUMBER),
    ]
    if machine == 0:  # the x32 variants of all calls
        program += [_op(_AT_LEAST, 0x40000000, 0, 1), _op(_GIVE, _KILL)]
    for numbers in ALLOWED.values():
        program += _answer(numbers[machine], [_op(_GIVE, _ALLOW)])
    for numbers, tests in limited(pid).values():
        program += _answer(numbers[machine], _if_all(tests))
    for numbers in ABSENT.values():
        program += _answer(numbers[machine], [_op(_GIVE, _REFUSE | errno.ENOSYS)])
    return b"".join([*program, _op(_GIVE, _REFUSE | errno.EPERM)])


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _answer(number: int | None, body: list[bytes]) -> list[bytes]:
    """Run `body`, which returns, for one call."""
    return [] if number is None else [_op(_EQUAL, number, 0, len(body)), *body]


def _if_all(tests: Sequence[Test]) -> list[bytes]:
    """Allow what passes all tests, refuse the rest. Written from the end, where the two answers are."""
    refuse = [_op(_GIVE, _REFUSE | errno.EPERM)]
    body = [_op(_GIVE, _ALLOW)]
    for test in reversed(tests):
        body = [*_passes(test, len(body)), *body]
    return [*body, *refuse]


def _passes(test: Test, rest: int) -> list[bytes]:
    """Go on behind these instructions when a test passes, else `rest` instructions further."""
    low = _ARGUMENTS + 8 * test.argument
    if test.null:
        return [
            _op(_LOAD, low),
            _op(_EQUAL, 0, 0, rest + 2),
            _op(_LOAD, low + 4),
            _op(_EQUAL, 0, 0, rest),
        ]
    if test.without:
        return [_op(_LOAD, low), _op(_ANY_BIT, test.without, rest, 0)]
    if test.any_of:
        return [_op(_LOAD, low), _op(_ANY_BIT, test.any_of, 0, rest)]
    if test.limit is not None:
        return [_op(_LOAD, low), _op(_ABOVE, test.limit, rest, 0)]
    left = len(test.values)
    body = [_op(_LOAD, low), _op(_AND, test.mask)]
    for value in test.values:
        left -= 1
        body.append(_op(_EQUAL, value, left, 0 if left else rest))
    return body
