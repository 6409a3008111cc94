"""What a container may have of its machine: the limits of the control groups that this process is in.

Both versions are read, and all groups from this process's own up to the outermost that is to be seen: the tightest
limit holds. What cannot be read is no limit.

Sources: cgroups(7), Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst of Linux.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

_UNLIMITED: Final = 1 << 60
"""Version 1 has a number for it, which depends on the size of a page."""
_OOM_KILLS: Final = re.compile(r"^oom_kill (\d+)$", re.M)
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Limits:
    """memory: bytes; cores: of CPU time, as in 0.5 cores. None where there is no limit."""

    memory: int | None = None
    cores: float | None = None


def limits(root: Path = Path("/")) -> Limits:
    """The tightest limits on this process. root: where /proc and /sys are looked for."""
    memory, cores = [], []
    for group in _groups(root, "memory"):
        memory += [_whole(group / name) for name in ("memory.max", "memory.limit_in_bytes")]
    for group in _groups(root, "cpu"):
        cores += [_quota(_words(group / "cpu.max"))]
        cores += [_quota(_words(group / "cpu.cfs_quota_us") + _words(group / "cpu.cfs_period_us"))]
    return Limits(
        min((limit for limit in memory if limit is not None and limit < _UNLIMITED), default=None),
        min((limit for limit in cores if limit is not None), default=None),
    )


def out_of_memory_kills(root: Path = Path("/")) -> int:
    """How many processes were killed for want of memory: in this process's groups, and on the machine."""
    counters = [group / name for group in _groups(root, "memory") for name in ("memory.events", "memory.oom_control")]
    kills = 0
    for counter in (*counters, root / "proc/vmstat"):
        with suppress(OSError, UnicodeDecodeError):
            kills += sum(map(int, _OOM_KILLS.findall(counter.read_text())))
    return kills


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The directories of this process's groups that may have files of a controller, the innermost first."""
    own = _own_groups(root, controller)
    with suppress(OSError, UnicodeDecodeError):
        for line in (root / "proc/self/mountinfo").read_text().splitlines():
            mount, _, system = line.partition(" - ")
            kind, _, options = [*system.split(" "), "", "", ""][:3]
            path = own.get(kind)
            if path is None or (kind == "cgroup" and controller not in options.split(",")):
                continue
            fields = list(map(_unescaped, mount.split(" ")))
            if len(fields) < 5:
                continue
            top, point = fields[3:5]
            # In a container the path may be the machine's, of which the mount shows a part.
            seen = path.is_relative_to(top) and ".." not in path.parts
            inside = path.relative_to(top) if seen else PurePosixPath()
            place = root / point.lstrip("/")
            for group in (place / inside, *(place / inside).parents):
                if group.is_relative_to(place):
                    yield group


def _own_groups(root: Path, controller: str) -> dict[str, PurePosixPath]:
    """The path of this process's group, by the kind of file system that has it."""
    found = {}
    with suppress(OSError, UnicodeDecodeError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            number, _, rest = line.partition(":")
            controllers, _, path = rest.partition(":")
            if controller in controllers.split(","):
                found["cgroup"] = PurePosixPath(path)
            elif number == "0" and not controllers:
                found["cgroup2"] = PurePosixPath(path)
    return found


def _unescaped(field: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), field)


def _words(path: Path) -> list[str]:
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text().split()
    return []


def _whole(path: Path) -> int | None:
    words = _words(path)
    return int(words[0]) if words and words[0].isdecimal() else None


def _quota(words: list[str]) -> float | None:
    """Cores, from microseconds of CPU time and of the period: "max" or -1 is no limit."""
    if len(words) != 2 or not (words[0].isdecimal() and words[1].isdecimal()):
        return None
    quota, period = map(int, words)
    return quota / period if quota and period else None
