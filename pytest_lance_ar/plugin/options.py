"""The options as pytest knows them: declared, read, and kept from being taken for places."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from pytest_lance_ar.targets import DEFAULT_KERNEL

BEGUN = pytest.StashKey[float]()
"""When pytest began, by the wall clock: what the gate imports is part of its budget."""
INI_TWINS = {
    "kernel": ("PATH", f"the kernel to judge (default: {DEFAULT_KERNEL})"),
    "seed": ("N", "seed of all data (default: a fresh one each run; the report names it)"),
    "budget": ("SECONDS", "what a trial may take, all included (default: 600)"),
    "state": ("DIR", "where the incumbent is stored (default: .lance_ar); another directory holds results.tsv as well"),
    "rtol": ("R", "accept errors within R x |reference| as well; at most 1e-6 (default: 0)"),
    "min-gain": ("PCT", "the smallest gain worth finding; timing ends when it has become unlikely (default: 1)"),
}
"""Options that have a twin in the ini file: a relative path there is relative to the project's root."""
COMMAND_LINE_ONLY = {
    "against": ("PATH_OR_GIT_REF", "the incumbent for this run only; nothing is stored"),
    "note": ("TEXT", "what this trial tries, for results.tsv"),
    "learned": ("TEXT", "what the trial before this one taught; it is stored with that trial"),
    "json": ("PATH", "write the report as JSON as well"),
    "phase": ("{all,correctness}", "correctness: no timing and no verdict (exit status 5 when it passes)"),
}
FLAGS = {
    "simplify": "keep a correct kernel that is smaller and shown to be at most 1%% slower than the fastest one kept",
    "rebaseline": "a correct kernel becomes the incumbent, and the sealed files are sealed anew",
    "selftest": "what this host resolves: the kernel against itself, equal and made 1 to 3%% slower (exit status 5)",
}
HELP_ORDER = ("kernel", "note", "learned", "against", "json", "phase", "seed", "budget", "state", "min-gain", "rtol")


def add_to(parser: pytest.Parser) -> None:
    """Declare the options and their ini twins."""
    group = parser.getgroup("lance-ar", "experiment gate for kernels (--lance-ar)")
    group.addoption(
        "--lance-ar",
        action="store_true",
        dest="lance_ar",
        help="judge the kernel. Exit status: 0 kept, 1 discarded, 2 incorrect, 3 timeout, 4 usage error, 5 no verdict, "
        "10 tampered, 11 inconclusive",
    )
    options = {**INI_TWINS, **COMMAND_LINE_ONLY}
    for name in HELP_ORDER:
        metavar, text = options[name]
        group.addoption(f"--lance-ar-{name}", dest=_key(name), metavar=metavar, default=None, help=text)
    for name, text in FLAGS.items():
        group.addoption(f"--lance-ar-{name}", action="store_true", dest=f"lance_ar_{name}", help=text)
    for name, (_, text) in INI_TWINS.items():
        parser.addini(_key(name), help=f"--lance-ar-{name}: {text}", default="")


def is_windows() -> bool:
    """Where what the gate imports is not there."""
    return sys.platform == "win32"


def refuse_without_room() -> None:
    """pytest's capturing needs a temporary file, as do kernels' processes. Raises UsageError."""
    try:
        tempfile.gettempdir()
    except OSError as error:
        raise pytest.UsageError("no temporary directory can be written; name one that can with TMPDIR") from error


def refuse_windows() -> None:
    """Raises UsageError. Before anything is imported that Windows does not have."""
    if is_windows():
        raise pytest.UsageError(
            "the gate needs Linux or macOS: on Windows it cannot isolate and pin a kernel's process"
        )


def values_of(config: pytest.Config, typed: argparse.Namespace) -> dict[str, str | None]:
    """What was typed, by name; an ini twin where nothing was."""
    return {name: _value(config, name, getattr(typed, _key(name))) for name in (*INI_TWINS, *COMMAND_LINE_ONLY)}


def joined(arguments: Iterable[str | os.PathLike[str]], here: Path) -> list[str]:
    """Arguments with `--lance-ar-x value` as `--lance-ar-x=value` wherever the value is a path that exists."""
    options = {f"--lance-ar-{name}" for name in (*INI_TWINS, *COMMAND_LINE_ONLY)}
    joined: list[str] = []
    for argument in (os.fspath(argument) for argument in arguments):
        if joined and joined[-1] in options and os.path.lexists(here / argument):
            joined[-1] = f"{joined[-1]}={argument}"
        else:
            joined.append(argument)
    return joined


def _value(config: pytest.Config, name: str, given: str | None) -> str | None:
    if given is not None or name not in INI_TWINS:
        return given
    value = str(config.getini(_key(name)))
    return str(config.rootpath / value) if value and name in ("kernel", "state") else value


def _key(name: str) -> str:
    """An option's name as pytest stores it, and as the ini file has it."""
    return f"lance_ar_{name.replace('-', '_')}"
