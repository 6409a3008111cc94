"""Walls around a kernel's process, built from inside before the kernel is loaded.

Each is optional, and none is the only one: what a host cannot build is done without, `confine` returns what stands, and
no verdict rests on it. They keep a kernel from reaching what decides about it (the gate's memory, the files of the
project, the other kernel) and from running where it is not timed.

Sources: landlock(7), capabilities(7), core(5), prctl(2) of the Linux manual pages.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import resource
import signal
import stat
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from pytest_lance_ar.host import seccomp

WALLS: Final = ("limits", "parent-death signal", "no new privileges", "unprivileged user", "Landlock", "seccomp")
MEMORY: Final = 4 << 30
"""Bytes of address space that a kernel may add, at most half of the machine's memory."""
FILE_SIZE: Final = 64 << 20
OPEN_FILES: Final = 256
THREADS: Final = 256

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_KEEPCAPS: Final = 8
_PR_SET_NO_NEW_PRIVS: Final = 38
_CAPABILITY_VERSION_3: Final = 0x20080522
_CAP_DAC_READ_SEARCH: Final = 2

_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
# linux/landlock.h
_WRITE_FILE: Final = 1 << 1
_READ_FILE: Final = 1 << 2
_READ_DIRECTORY: Final = 1 << 3
_READS: Final = _READ_FILE | _READ_DIRECTORY
_CHANGES: Final = _WRITE_FILE | sum(1 << bit for bit in range(4, 13))
_REFER: Final = 1 << 13
_TRUNCATE: Final = 1 << 14
_ALL_TCP: Final = 0b11
_ALL_SCOPES: Final = 0b11


_READABLE: Final = (
    *("/usr", "/lib", "/lib64", "/opt", "/nix/store", "/etc/ld.so.cache", "/etc/localtime"),
    *("/dev/urandom", "/dev/random", "/dev/zero", "/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system"),
)
"""What libraries read beside the interpreter's own directories. Not the project, nor the gate's state, nor /proc."""


def confine(private: Path, places: list[str]) -> list[str]:
    """Confine the calling process, for good. Returns the walls that stand, in words.

    private: the one directory that may be written. places: the directories that Python needs to read. Call it while
    there is one thread.
    """
    _limits()
    walls = ["limits"]
    libc = ctypes.CDLL(None, use_errno=True)
    user = _unprivileged(libc, private, places)
    if user:
        walls.append(user)
    if die_with_parent():  # again: a change of user undoes it
        walls.append("parent-death signal")
    if not sys.platform.startswith("linux"):
        return walls
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
        walls.append("no new privileges")
        walls += filter(None, (_landlock(libc, private, places), seccomp.build(libc)))
    return walls


def offered() -> list[str]:
    """The walls that this host offers, as far as one can tell without building them."""
    if not sys.platform.startswith("linux"):
        return ["limits", "unprivileged user"]
    libc = ctypes.CDLL(None, use_errno=True)
    # Who runs the gate as a user of no privileges has that wall already.
    walls = ["limits", "parent-death signal", "no new privileges", "unprivileged user"]
    if _landlock_version(libc) > 0:
        walls.append("Landlock")
    if seccomp.offered():
        walls.append("seccomp")
    return walls


def unprivileged_user() -> tuple[int, int] | None:
    """The user and group that a kernel runs as when the gate runs as root."""
    if os.geteuid() != 0:
        return None
    with suppress(KeyError):
        nobody = pwd.getpwnam("nobody")
        return nobody.pw_uid, nobody.pw_gid
    return 65534, 65534


def die_with_parent() -> bool:
    """Have the kernel of Linux kill this process when the thread that started it ends."""
    if not sys.platform.startswith("linux"):
        return False
    return bool(ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) == 0)


def _limits() -> None:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    wanted = {
        resource.RLIMIT_CORE: 1,  # 0 would still have a dump piped to a program, if the system has one for that
        resource.RLIMIT_FSIZE: FILE_SIZE,
        resource.RLIMIT_NOFILE: OPEN_FILES,
    }
    if sys.platform.startswith("linux"):  # macOS does not hold anybody to it
        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        wanted[resource.RLIMIT_AS] = used + min(MEMORY, memory)
    if os.geteuid() == 0:  # it counts all processes of a user: only for a user who has no others
        wanted[resource.RLIMIT_NPROC] = THREADS
    for limit, value in wanted.items():
        hard = resource.getrlimit(limit)[1]
        least = value if hard == resource.RLIM_INFINITY else min(value, hard)
        with suppress(OSError, ValueError):
            resource.setrlimit(limit, (least, least))


def _unprivileged(libc: ctypes.CDLL, private: Path, places: list[str]) -> str:
    user = unprivileged_user()
    if user is None:
        return ""
    # numba and numpy import more when they are used: where others may not read them, one capability stays.
    keeps = not all(_readable_by_others(Path(place)) for place in [*places, str(private.parent)])
    if keeps and not _may_read_all():
        return ""
    try:
        if keeps:
            libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
        os.setgroups([])
        os.setresgid(user[1], user[1], user[1])
        os.setresuid(user[0], user[0], user[0])
    except OSError:
        return ""
    if keeps:
        header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
        bit = 1 << _CAP_DAC_READ_SEARCH
        if libc.capset(header, struct.pack("=6I", bit, bit, 0, 0, 0, 0)) != 0:
            raise OSError(ctypes.get_errno(), "capset")
    if sys.platform.startswith("linux"):
        libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)  # else this process could not read its own /proc
    return "unprivileged user that may read all files" if keeps else "unprivileged user"


def _may_read_all() -> bool:
    """Whether this process has the capability that is to stay: root in a container need not have it."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> _CAP_DAC_READ_SEARCH & 1)
    return False


def _readable_by_others(place: Path) -> bool:
    try:
        place = place.resolve()
        return all(folder.stat().st_mode & 0o005 == 0o005 for folder in [place, *place.parents])
    except OSError:
        return True  # what is not there is not needed


def _landlock_version(libc: ctypes.CDLL) -> int:
    return int(libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1)))


def _landlock(libc: ctypes.CDLL, private: Path, places: list[str]) -> str:
    version = _landlock_version(libc)
    if version < 1:
        return ""
    changes = _CHANGES | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    attributes = struct.pack("=Q", changes | _READS)
    if version >= 4:
        attributes += struct.pack("=Q", _ALL_TCP)
    if version >= 6:
        attributes += struct.pack("=Q", _ALL_SCOPES)
    rules = libc.syscall(_LANDLOCK_CREATE, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    if rules < 0:
        return ""
    try:
        allowed = {str(private): changes | _READS, os.devnull: _WRITE_FILE | _READ_FILE}
        allowed |= dict.fromkeys([*places, *_READABLE, f"/proc/{os.getpid()}"], _READS)
        for path, rights in allowed.items():
            try:
                place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError:
                continue  # not on this machine
            directory = stat.S_ISDIR(os.fstat(place).st_mode)
            rule = struct.pack("=Qi", rights if directory else rights & ~_READ_DIRECTORY, place)
            added = libc.syscall(_LANDLOCK_ADD, rules, 1, rule, ctypes.c_uint32(0))
            os.close(place)
            if added != 0:
                return ""
        if libc.syscall(_LANDLOCK_RESTRICT, rules, ctypes.c_uint32(0)) != 0:
            return ""
    finally:
        os.close(rules)
    return "Landlock"
