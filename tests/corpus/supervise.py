"""Runs a command and says what it left behind: `python supervise.py SECONDS REPORT COMMAND...`.

As the reaper of whatever is orphaned below it, it knows every process that outlives the command, wherever it hid.
Writes JSON to REPORT: status (null: it did not end in time), seconds, leftovers (the command lines of live processes).
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

GRACE_SECONDS = 2.0
"""How long what was killed may take to be gone."""


def main(seconds: float, report: Path, command: list[str]) -> None:
    pr_set_child_subreaper = 36
    ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0)
    begun = time.monotonic()
    gate = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    status: int | None
    try:
        status = gate.wait(seconds)
    except subprocess.TimeoutExpired:
        status = None
        gate.kill()
        gate.wait()
    took = time.monotonic() - begun
    left = descendants()
    deadline = time.monotonic() + GRACE_SECONDS
    while left and time.monotonic() < deadline:
        time.sleep(0.02)
        left = descendants()
    leftovers = [command_line(pid) for pid in left]
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    report.write_text(json.dumps({"status": status, "seconds": took, "leftovers": leftovers}))


def descendants() -> list[int]:
    """The live processes below this one."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if state not in "ZX":
                    parents[int(entry.name)] = int(parent)
    found = [os.getpid()]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found[1:]


def command_line(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return str(pid)


if __name__ == "__main__":
    main(float(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
