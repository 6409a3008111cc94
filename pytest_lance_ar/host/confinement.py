"""Walls around a kernel's process, built from inside before the kernel is loaded.

Each is optional, and none is the only one: what a host cannot build is done without, `confine` returns what stands, and
no verdict rests on it. They keep a kernel from reaching what decides about it (the gate's memory, the files of the
project, the other kernel) and from running where it is not timed.

Sources: seccomp(2), landlock(7), capabilities(7), prctl(2) of the Linux manual pages; system call numbers from the
kernel's `asm/unistd_64.h` and `asm-generic/unistd.h`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import pwd
import resource
import signal
import stat
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

WALLS: Final = ("limits", "parent-death signal", "no new privileges", "unprivileged user", "Landlock", "seccomp")
MEMORY: Final = 4 << 30
"""Bytes of address space that a kernel may add, at most half of the machine's memory."""
FILE_SIZE: Final = 64 << 20
OPEN_FILES: Final = 256
THREADS: Final = 256

# x86-64, arm64; None: there is no such call.
_REFUSED: Final[dict[str, tuple[int, int | None]]] = {
    # Other processes: none is started, none is signalled, read or written.
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "kcmp": (312, 272),
    "setpgid": (109, 154),
    "setsid": (112, 157),
    # Nobody to talk to.
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    "mq_open": (240, 180),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "msgget": (68, 186),
    "semget": (64, 190),
    "io_setup": (206, 0),
    # What Landlock lets pass: it guards the content of files, not their modes, owners, times and attributes.
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "setxattrat": (463, 463),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "removexattrat": (466, 466),
    # One core, and the priority it was given.
    "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118),
    "sched_setattr": (314, 274),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    # Memory that no limit counts, or that moves under others.
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "userfaultfd": (323, 282),
    # The machine itself.
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "settimeofday": (164, 170),
    "adjtimex": (159, 171),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "mount_setattr": (442, 442),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "syslog": (103, 116),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "quotactl": (179, 60),
    "acct": (163, 89),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "personality": (135, 92),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
}
_ABSENT: Final = {"clone3": (435, 435), "io_uring_setup": (425, 425)}
"""Answered as if the kernel had no such call: libraries then fall back to calls that can be looked into."""
_CLONE: Final = (56, 220)
_KILLS: Final = ((62, 129), (234, 131))
_PRCTL: Final = (157, 167)
_PRLIMIT: Final = (302, 261)
_FCNTL: Final = (72, 25)
_SECCOMP: Final = (317, 277)
_AUDIT_ARCH: Final = (0xC000003E, 0xC00000B7)
_MACHINES: Final = {"x86_64": 0, "aarch64": 1}

_CLONE_THREAD: Final = 0x10000
_F_SETOWN, _F_SETSIG, _F_SETOWN_EX = 8, 10, 15
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
        walls += filter(None, (_landlock(libc, private, places), _seccomp(libc)))
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
    if platform.machine() in _MACHINES and Path("/proc/sys/kernel/seccomp/actions_avail").exists():
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
        resource.RLIMIT_CORE: 0,
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


def _seccomp(libc: ctypes.CDLL) -> str:
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return ""
    program = _filter(machine, os.getpid())
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    set_mode_filter, all_threads, full_speculation = 1, 1, 1 << 2
    # Older kernels slow a filtered process down, against leaks between processes that are no matter here.
    if libc.syscall(_SECCOMP[machine], set_mode_filter, all_threads | full_speculation, header) != 0:
        return ""
    return "seccomp"


def _filter(machine: int, pid: int) -> bytes:
    """The BPF program: what it returns for a system call of this process."""
    number, architecture, first_argument, second_argument = 0, 4, 16, 24  # offsets in struct seccomp_data
    load, equal, at_least, any_bit, give = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, refuse, kill = 0x7FFF0000, 0x00050000, 0x80000000

    def op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("=HBBI", code, if_true, if_false, value)

    def answer(call: int, value: int) -> bytes:
        return op(equal, call, 0, 1) + op(give, value)

    def unless(call: int, test: int, value: int) -> bytes:
        """Allow a call whose first argument passes a test."""
        return (
            op(equal, call, 0, 4)
            + op(load, first_argument)
            + op(test, value, 0, 1)
            + op(give, allow)
            + op(give, refuse | errno.EPERM)
        )

    program = op(load, architecture) + op(equal, _AUDIT_ARCH[machine], 1, 0) + op(give, kill) + op(load, number)
    if machine == 0:  # the x32 variants of all calls
        program += op(at_least, 0x40000000, 0, 1) + op(give, kill)
    program += unless(_CLONE[machine], any_bit, _CLONE_THREAD)
    for calls in _KILLS:
        program += unless(calls[machine], equal, pid)
    prctl = _PRCTL[machine]
    program += (
        op(equal, prctl, 0, 4)
        + op(load, first_argument)
        + op(equal, _PR_SET_PDEATHSIG, 0, 1)
        + op(give, refuse | errno.EPERM)
        + op(give, allow)
    )
    program += unless(_PRLIMIT[machine], equal, 0)  # its own limits; libraries ask for them
    program += op(equal, _FCNTL[machine], 0, 6) + op(load, second_argument)  # nobody is signalled by way of a file
    for place, command in enumerate((_F_SETOWN, _F_SETSIG, _F_SETOWN_EX)):
        program += op(equal, command, 3 - 1 - place, 0 if place < 2 else 1)
    program += op(give, refuse | errno.EPERM) + op(give, allow)
    for numbers in _REFUSED.values():
        call = numbers[machine]
        if call is not None:
            program += answer(call, refuse | errno.EPERM)
    for absent in _ABSENT.values():
        program += answer(absent[machine], refuse | errno.ENOSYS)
    return program + op(give, allow)
