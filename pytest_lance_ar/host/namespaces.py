"""A world of its own for a kernel's process: no other process, no file but those that Python needs, no network.

The gate starts the process in a new process namespace, where it may: as root. The process itself then builds a new root
of nothing but bound, read-only directories, devices of its own, and a private directory of limited size, and leaves the
old one for good. So what Landlock lets pass (whether a file is there, how large and how old it is, how
full a disk) is not to be seen either, and what a kernel leaves behind goes with it.

Sources: mount_namespaces(7), pid_namespaces(7), user_namespaces(7), pivot_root(2), tmpfs(5).
"""

from __future__ import annotations

import ctypes
import os
import platform
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

PRIVATE_BYTES: Final = 64 << 20
PRIVATE_FILES: Final = 4096
"""What a kernel's process may have in its private directory, all in all."""

_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT, _BIND, _REC, _PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
_DETACH: Final = 2
_CAP_SYS_ADMIN: Final = 21
_USER_NAMESPACES: Final = (
    ("/proc/sys/kernel/unprivileged_userns_clone", 1, 1),
    ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", 0, 0),
)
"""Settings of some distributions, what they are where they are not there, and what they must be."""
_PIVOT_ROOT: Final = {"x86_64": 155, "aarch64": 41}
_DEVICES: Final = {"null": (1, 3), "zero": (1, 5), "random": (1, 8), "urandom": (1, 9)}
PROCESSORS: Final = (
    *(Path("/sys/devices/system/cpu", name) for name in ("online", "possible", "present")),
    *((Path("/proc/cpuinfo"),) if platform.machine() == "aarch64" else ()),
)
"""What libraries count cores by, and where LLVM learns on arm64 what core this is; a copy, beside which nothing else of
/sys and /proc is there. Not even its own figures: they tell with how many processes a page is shared."""


def offered() -> bool:
    """Whether this host lets the gate build such a world, as far as one can tell without building one."""
    if not sys.platform.startswith("linux") or platform.machine() not in _PIVOT_ROOT:
        return False
    if os.geteuid() == 0:
        return has_capability(_CAP_SYS_ADMIN)
    return all(_setting(path, default) == wanted for path, default, wanted in _USER_NAMESPACES) and (
        _setting("/proc/sys/user/max_user_namespaces", 0) > 0
    )


def has_capability(number: int) -> bool:
    """Whether this process has a capability: root in a container need not."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> number & 1)
    return False


def _setting(path: str, default: int) -> int:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return default


@contextmanager
def of_processes() -> Iterator[None]:
    """Have the process that this thread starts meanwhile be the first of a new process namespace, where that can be."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        yield
        return
    try:
        own = os.open("/proc/thread-self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield
        return
    try:
        entered = libc.unshare(_NEWPID) == 0
        try:
            yield
        finally:
            if entered and libc.setns(own, _NEWPID) != 0:
                raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(own)


def build(
    libc: ctypes.CDLL, private: Path, places: Iterable[str], owner: tuple[int, int], hidden: Iterable[Path] = ()
) -> str:
    """Move the calling process, of one thread, into a world with these places, to be read, and an empty `private`.

    owner: user and group of `private`. hidden: directories among them that are to look empty. Returns the wall's name,
    "" where it cannot be built.
    """
    if platform.machine() not in _PIVOT_ROOT or not _enter(libc):
        return ""
    try:
        _fill(libc, private, places, owner, hidden)
    except OSError:
        libc.umount2(os.fsencode(private), _DETACH)
        return ""
    old = private / "old"
    old.mkdir()
    if libc.syscall(_PIVOT_ROOT[platform.machine()], os.fsencode(private), os.fsencode(old)) != 0:
        libc.umount2(os.fsencode(private), _DETACH)
        return ""
    os.chdir("/")
    libc.umount2(b"/old", _DETACH)
    Path("/old").rmdir()
    libc.mount(None, b"/", None, ctypes.c_ulong(_REMOUNT | _BIND | _RDONLY | _NOSUID), None)
    os.chdir(private)
    return "namespaces"


def _enter(libc: ctypes.CDLL) -> bool:
    """Leave the mounts, the network, the names and the shared memory of the machine."""
    user, group = os.geteuid(), os.getegid()
    kinds = _NEWNS | _NEWUTS | _NEWIPC | _NEWNET
    if libc.unshare(kinds if user == 0 else kinds | _NEWUSER) != 0:
        return False
    if user != 0:
        try:
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
            Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
        except OSError:
            return False
    return bool(libc.mount(None, b"/", None, ctypes.c_ulong(_REC | _PRIVATE), None) == 0)


def _fill(
    libc: ctypes.CDLL, private: Path, places: Iterable[str], owner: tuple[int, int], hidden: Iterable[Path]
) -> None:
    """Build the new root over the private directory. Raises OSError."""

    def mount(source: str | Path | None, target: Path, kind: str | None, flags: int, data: str | None = None) -> None:
        encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind, data)]
        if libc.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3]) != 0:
            raise OSError(ctypes.get_errno(), "mount", str(target))

    def bind(place: Path) -> None:
        target = root / place.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if place.is_symlink():
            target.symlink_to(place.readlink())
            place = place.resolve()
            if inside(place):
                return None
            return bind(place)
        if place.is_dir():
            target.mkdir(exist_ok=True)
        else:
            target.touch()
        mount(place, target, None, _BIND | _REC)
        kept = os.statvfs(place).f_flag & (_NODEV | _NOEXEC)  # what somebody else set must stay
        with suppress(OSError):
            mount(None, target, None, _REMOUNT | _BIND | _RDONLY | _NOSUID | kept)
        bound.append(place)
        return None

    def inside(place: Path) -> bool:
        return any(other == place or other in place.parents for other in bound)

    root = private
    bound: list[Path] = []
    mount("tmpfs", root, "tmpfs", _NOSUID, "size=1m,nr_inodes=4096,mode=0755")
    there = {Path(place) for place in places if os.path.lexists(place)}
    there |= {place.resolve() for place in there}
    for place in sorted(there, key=lambda place: len(place.parts)):
        if not inside(place) and place != Path("/"):
            bind(place)
    for place in {place.resolve() for place in hidden}:
        if place.is_dir() and inside(place):
            mount("tmpfs", root / place.relative_to("/"), "tmpfs", _NOSUID | _NODEV | _RDONLY, "nr_inodes=1")
    (root / "dev").mkdir(exist_ok=True)
    for name, (major, minor) in _DEVICES.items():
        device = root / "dev" / name
        try:
            os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(major, minor))
            device.chmod(0o666)
        except OSError:  # a user who is not root makes no devices
            device.touch()
            mount(f"/dev/{name}", device, None, _BIND)
    for path in PROCESSORS:
        copy = root / path.relative_to("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        with suppress(OSError):
            copy.write_bytes(path.read_bytes())
    own = root / private.relative_to("/")
    own.mkdir(parents=True)
    user, group = owner
    size = f"size={PRIVATE_BYTES},nr_inodes={PRIVATE_FILES},mode=0700,uid={user},gid={group}"
    mount("tmpfs", own, "tmpfs", _NOSUID | _NODEV, size)
