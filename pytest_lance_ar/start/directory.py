"""Makes a directory ready for an experiment. What is there already stays as it is."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pytest_lance_ar.files import PUBLIC, write_all, write_atomically
from pytest_lance_ar.start import texts
from pytest_lance_ar.start.kernels import place_of
from pytest_lance_ar.targets import DEFAULT_KERNEL
from pytest_lance_ar.targets.protocol import Target
from pytest_lance_ar.trial import git

_ALWAYS: Final = ("pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml")
_WITH_A_SECTION: Final = {
    "pyproject.toml": re.compile(r"^\s*\[tool\.pytest\b", re.M),
    "tox.ini": re.compile(r"^\[pytest\]", re.M),
    "setup.cfg": re.compile(r"^\[tool:pytest\]", re.M),
}
_ROOTS: Final = ("pyproject.toml", "setup.py")
"""What makes a directory a root for pytest, where nothing configures it."""


@dataclass
class Made:
    """What was written, what was left as it is, and what a person should know; paths are relative to the directory."""

    written: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    command: str = ""


def make(directory: Path, target: Target, kernel: bytes) -> Made:
    """Write what is missing. Raises OSError."""
    made = Made()
    directory.mkdir(parents=True, exist_ok=True)
    place = place_of(target)
    configured = _configures_pytest(directory)
    named = configured and place != DEFAULT_KERNEL
    top = git.top_of(directory)
    files: dict[str, bytes] = {place: kernel}
    if not configured and (place != DEFAULT_KERNEL or _root_is_elsewhere(directory)):
        files["pytest.ini"] = f"[pytest]\nlance_ar_kernel = {place}\n".encode()
    files["program.md"] = texts.program(target, named=named).encode()
    files["AGENTS.md"] = texts.agents(target, named=named).encode()
    if top is None or top.resolve() == directory.resolve():
        files[".github/workflows/kernel-gate.yml"] = texts.workflow(target).encode()
    else:
        made.remarks.append(
            f"no workflow for CI was written: GitHub reads those at the top of the repository, {top}; run init there"
        )
    for name, content in files.items():
        (made.written if _write(directory / name, content) else made.left).append(name)
    if "AGENTS.md" in made.left and "program.md" not in _text(directory / "AGENTS.md"):
        made.remarks.append("AGENTS.md was there: let it point to program.md")
    (made.written if _ignore(directory / ".gitignore") else made.left).append(".gitignore")
    steps = [] if top else ["git init -q", "git add -A", "git commit -qm 'Start the experiment'"]
    made.command = " && ".join([*steps, texts.judge(target, named=named)])
    return made


def _write(path: Path, content: bytes) -> bool:
    """Create a file; whether it was not there before. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return False
    try:
        try:
            write_all(handle, content)
        finally:
            os.close(handle)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return True


def _ignore(path: Path) -> bool:
    """Add the lines that are missing; whether there were any. Raises OSError."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        content = b""
    there = {line.strip().strip(b"/") for line in content.split(b"\n")}
    missing = [line for line in texts.IGNORED if line.strip("/").encode() not in there]
    if missing:
        gap = b"" if not content or content.endswith(b"\n") else b"\n"
        write_atomically(path.resolve(), content + gap + "".join(f"{line}\n" for line in missing).encode(), PUBLIC)
    return bool(missing)


def _configures_pytest(directory: Path) -> bool:
    """Whether pytest takes its configuration from here."""
    return any((directory / name).is_file() for name in _ALWAYS) or any(
        section.search(_text(directory / name)) for name, section in _WITH_A_SECTION.items()
    )


def _root_is_elsewhere(directory: Path) -> bool:
    """Whether pytest, started in a directory that does not configure it, would take one above for the project's."""
    above = directory.resolve().parents
    if any(_configures_pytest(parent) for parent in above):
        return True
    own = any((directory / name).is_file() for name in _ROOTS)
    return not own and any((parent / name).is_file() for parent in above for name in _ROOTS)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
