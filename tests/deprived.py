"""`python -m tests.deprived WORD... -- COMMAND`: runs a command as a poor container would, with real walls. Needs root.

calls: no personality, Landlock, seccomp, namespaces, memfd, pidfd. root: everything is read-only but /var/tmp. tmp: and
that as well, but for /var/tmp/state. shm: no /dev/shm. core: one core to run on. half: half a core of CPU time. home:
neither HOME nor a TMPDIR that exists.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final

CALLS: Final = (135, 155, 165, 272, 308, 317, 319, 434, 444, 445, 446)
"""x86-64's personality, pivot_root, mount, unshare, setns, seccomp, memfd_create, pidfd_open and Landlock."""
_NEWNS, _RDONLY, _REMOUNT, _BIND, _REC, _PRIVATE = 0x20000, 1, 32, 4096, 16384, 1 << 18
libc = ctypes.CDLL(None, use_errno=True)


def checked(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def calls() -> None:
    program = [struct.pack("=HBBI", 0x20, 0, 0, 0)]
    for number in CALLS:
        program += [struct.pack("=HBBI", 0x15, 0, 1, number), struct.pack("=HBBI", 6, 0, 0, 0x50000 | errno.EPERM)]
    code = b"".join([*program, struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000)])
    held = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(held))
    checked(libc.prctl(38, 1, 0, 0, 0))
    checked(libc.syscall(317, 1, 0, header))


def root() -> None:
    own_mounts()
    checked(libc.mount(b"tmpfs", b"/var/tmp", b"tmpfs", ctypes.c_ulong(0), b"size=512m"))
    for mount in Path("/proc/mounts").read_text().splitlines():
        point = mount.split(" ")[1]
        if point in ("/", "/tmp", "/dev/shm"):
            flags = ctypes.c_ulong(_REMOUNT | _BIND | _RDONLY)
            checked(libc.mount(None, point.encode(), None, flags, None))


def tmp() -> None:
    state = Path("/var/tmp/state")
    state.mkdir()
    checked(libc.mount(b"tmpfs", bytes(state), b"tmpfs", ctypes.c_ulong(0), b"size=64m"))
    checked(libc.mount(None, b"/var/tmp", None, ctypes.c_ulong(_REMOUNT | _BIND | _RDONLY), None))


def shm() -> None:
    own_mounts()
    checked(libc.mount(b"tmpfs", b"/dev/shm", b"tmpfs", ctypes.c_ulong(_RDONLY), b"size=4k"))


def own_mounts() -> None:
    checked(libc.unshare(_NEWNS))
    checked(libc.mount(None, b"/", None, ctypes.c_ulong(_REC | _PRIVATE), None))


def core() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def half() -> None:
    group = Path("/sys/fs/cgroup/cpu", f"lance-ar-{uuid.uuid4().hex}")
    group.mkdir()
    (group / "cpu.cfs_quota_us").write_text("50000")
    if (child := os.fork()) == 0:
        (group / "cgroup.procs").write_text(str(os.getpid()))
        return
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    group.rmdir()
    os._exit(status)


def home() -> None:
    os.environ.pop("HOME", None)
    os.environ["TMPDIR"] = "/nowhere/at/all"


TAKEN: Final[dict[str, Callable[[], None]]] = {
    "home": home,
    "core": core,
    "half": half,
    "shm": shm,
    "root": root,
    "tmp": tmp,
    "calls": calls,
}
"""In the order in which it is done: with no more system calls, nothing more could be taken away."""


def main(arguments: list[str]) -> None:
    mark = arguments.index("--")
    words, command = arguments[:mark], arguments[mark + 1 :]
    for word, take in TAKEN.items():
        if word in words:
            take()
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
