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
import secrets
import signal
import stat
import struct
import sys
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

from pytest_lance_ar.host import cgroup, namespaces, seccomp

WALLS: Final = (
    *("limits", "parent-death signal", "no new privileges", "unprivileged user"),
    *("namespaces", "Landlock", "seccomp"),
)
MEMORY: Final = 4 << 30
"""Bytes of address space that a kernel's process may add, at most."""
LEAST_MEMORY: Final = 1 << 30
SMALLEST_MEMORY: Final = 256 << 20
PROCESSES: Final = 5
"""Kernel processes of a trial: that of the suite, and two of each side. Together they may add half of the memory that
there is; but each may add LEAST_MEMORY, or in a container that has little more three quarters of that."""
USERS: Final = range(0x7A000000, 0x7A100000)
"""Users that no system gives to anybody."""
FILE_SIZE: Final = 64 << 20
OPEN_FILES: Final = 256
THREADS: Final = 64

_PR_SET_PDEATHSIG: Final = 1
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


_LIBRARIES: Final = (
    *("/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib", "/lib", "/lib32", "/lib64", "/nix/store"),
    *("/etc/ld.so.cache", "/etc/localtime"),
)
"""What Python's libraries read beside the interpreter's own directories: not the project, nor the gate's state."""
_SPECIAL: Final = (
    *("/dev/urandom", "/dev/random", "/dev/zero"),
    *map(str, namespaces.PROCESSORS),
)
"""No figures that change: /proc and /sys are closed but for these, the process's own in /proc as well."""


def confine(
    private: Path,
    places: list[str],
    user: tuple[int, int] | None,
    without: Collection[str] = (),
    hidden: Collection[Path] = (),
) -> list[str]:
    """Confine the calling process, for good. Returns the walls that stand, in words.

    private: the one directory that may be written. places: the directories that Python needs to read. user: what
    `private_user` chose. without: walls not to build, of namespaces, Landlock and seccomp. hidden: directories in
    `places` that look empty, where namespaces can be built. Call it while there is one thread.
    """
    _limits()
    walls = ["limits"]
    libc = ctypes.CDLL(None, use_errno=True)
    world = ""
    if sys.platform.startswith("linux") and "namespaces" not in without:
        owner = user or (os.getuid(), os.getgid())
        world = namespaces.build(libc, private, [*places, *_LIBRARIES], owner, hidden)
    dropped = _unprivileged(libc, user, [Path(place) for place in places], private, alone=bool(world))
    walls += [dropped, world]
    if die_with_parent():  # again: a change of user undoes it
        walls.append("parent-death signal")
    if sys.platform.startswith("linux") and libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
        walls.append("no new privileges")
        if "Landlock" not in without:
            walls.append(_landlock(libc, private, places))
        if "seccomp" not in without:
            walls.append(seccomp.build(libc))
    return list(filter(None, walls))


def offered() -> list[str]:
    """The walls that this host offers, as far as one can tell without building them."""
    if not sys.platform.startswith("linux"):
        return ["limits", "unprivileged user"]
    libc = ctypes.CDLL(None, use_errno=True)
    # Who runs the gate as a user of no privileges has that wall already.
    walls = ["limits", "parent-death signal", "no new privileges", "unprivileged user"]
    if namespaces.offered():
        walls.append("namespaces")
    if _landlock_version(libc) > 0:
        walls.append("Landlock")
    if seccomp.offered():
        walls.append("seccomp")
    return walls


def private_user() -> tuple[int, int] | None:
    """A user and group for one kernel's process, when the gate runs as root: one that nobody else is.

    So no limit that the system counts by user is shared, and no file or process of another kernel is its own.
    """
    if os.geteuid() != 0:
        return None
    number = USERS.start + secrets.randbelow(len(USERS))
    if _is_mapped(number):
        return number, number
    with suppress(KeyError):
        nobody = pwd.getpwnam("nobody")
        return nobody.pw_uid, nobody.pw_gid
    return 65534, 65534


def is_private_user(number: int) -> bool:
    """Whether a kernel's process of some gate that is root may have been this user."""
    return number in USERS or number == 65534


def _is_mapped(user: int) -> bool:
    """Whether there is such a user here: a container may know a few thousand."""
    try:
        ranges = [list(map(int, line.split())) for line in Path("/proc/self/uid_map").read_text().splitlines()]
    except (OSError, ValueError):
        return not sys.platform.startswith("linux")
    return any(first <= user < first + count for first, _, count in ranges)


def die_with_parent() -> bool:
    """Have the kernel of Linux kill this process when the thread that started it ends."""
    if not sys.platform.startswith("linux"):
        return False
    return bool(ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) == 0)


def _limits() -> None:
    wanted = {
        resource.RLIMIT_CORE: 1,  # 0 would still have a dump piped to a program, if the system has one for that
        resource.RLIMIT_FSIZE: FILE_SIZE,
        resource.RLIMIT_NOFILE: OPEN_FILES,
    }
    if sys.platform.startswith("linux"):  # macOS does not hold anybody to it
        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        wanted[resource.RLIMIT_AS] = used + memory_share(memory_bytes())
    if os.geteuid() == 0:  # it counts all processes of a user: only for a user who has no others
        wanted[resource.RLIMIT_NPROC] = THREADS
    for limit, value in wanted.items():
        hard = resource.getrlimit(limit)[1]
        least = value if hard == resource.RLIM_INFINITY else min(value, hard)
        with suppress(OSError, ValueError):
            resource.setrlimit(limit, (least, least))


def memory_bytes() -> int:
    """The memory that there is: the machine's, or what a container may have of it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(memory, cgroup.limits().memory or memory)


def is_short_of_memory() -> bool:
    """Whether a kernel's process gets less memory here than every kernel may rely on."""
    return memory_share(memory_bytes()) < LEAST_MEMORY


def memory_share(memory: int) -> int:
    """Bytes of address space that a kernel's process may add, where there are so many: never all that there is."""
    return min(MEMORY, max(LEAST_MEMORY, memory // 2 // PROCESSES), max(SMALLEST_MEMORY, memory // 4 * 3))


def _unprivileged(
    libc: ctypes.CDLL, user: tuple[int, int] | None, places: list[Path], private: Path, *, alone: bool
) -> str:
    """Become a user of no privileges. alone: there is nothing but these places any more."""
    if user is None:
        if alone:  # who made the namespaces has all capabilities in them
            _keep_capabilities(libc, 0)
        return ""
    # numba and numpy import more when they are used: where others may not read them, one capability stays.
    if alone:
        keeps = any(place.exists() and place.stat().st_mode & 0o005 != 0o005 for place in places)
    else:
        keeps = not all(_readable_by_others(place) for place in [*places, private.parent])
    if keeps and not namespaces.has_capability(_CAP_DAC_READ_SEARCH):
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
        _keep_capabilities(libc, 1 << _CAP_DAC_READ_SEARCH)
    return "unprivileged user that may read all files" if keeps else "unprivileged user"


def _keep_capabilities(libc: ctypes.CDLL, bits: int) -> None:
    """Drop all capabilities but these."""
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    if libc.capset(header, struct.pack("=6I", bits, bits, 0, 0, 0, 0)) != 0:
        raise OSError(ctypes.get_errno(), "capset")


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
        allowed |= dict.fromkeys([*places, *_LIBRARIES, *_SPECIAL], _READS)
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
