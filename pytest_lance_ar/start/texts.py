"""The texts that stand beside a kernel, made from one template each."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from pytest_lance_ar import __version__
from pytest_lance_ar.start.kernels import place, place_of
from pytest_lance_ar.targets import DEFAULT, DEFAULT_KERNEL
from pytest_lance_ar.targets.protocol import Target
from pytest_lance_ar.targets.registry import origin_of
from pytest_lance_ar.trial.kernel_source import imports_of

HERE: Final = Path(__file__).parent
IGNORED: Final = (".lance_ar/", "results.tsv", "run.log", "/progress.png", "/progress.html", "/pull-request/")
_WORKFLOW: Final = "kernel-gate.yml"
_PLAIN: Final = """\
a {kernel_class}, which the target {name} judges

## What counts

- Correct means what the suite of the target compares with its reference, for every case that it draws.
- Fast means the geometric mean over the target's combos. The gain must be outside the noise, no combo may lose more
  than 5%, and the slowest combo may not get slower by more than 5%.
"""
"""For a target that brings no program.md."""


def judge(target: Target, *, named: bool = False) -> str:
    """The command that judges. named: the kernel's place is no default here, and no ini file says it."""
    kernel = place_of(target)
    return "pytest --lance-ar" + (f" --lance-ar-kernel {kernel}" if named and kernel != DEFAULT_KERNEL else "")


def program(target: Target, *, named: bool = False) -> str:
    """The agent's instructions: the template, with what the target says of its kernels."""
    path = target.suite.with_name("program.md")
    own = (
        path.read_text(encoding="utf-8")
        if path.is_file()
        else _PLAIN.format(kernel_class=target.kernel_class, name=target.name)
    )
    what, _, about = own.partition("\n")
    return _filled("program.md", target, named, what=what, about=about.strip())


def agents(target: Target, *, named: bool = False) -> str:
    """What an agent looks for first."""
    return _filled("AGENTS.md", target, named)


def workflow(target: Target) -> str:
    """The workflow of this project, for the target's kernel; it installs the package in place of the project."""
    path = place(".github/workflows", _WORKFLOW)
    assert path is not None, "packaged with it"
    text = path.read_text(encoding="utf-8").replace(f"KERNEL: {DEFAULT_KERNEL}", f"KERNEL: {place_of(target)}")
    origin = origin_of(target)
    needed = f"pytest-lance-ar=={__version__}" + (f" {origin.requirement}" if origin else "")
    return re.sub(r"pip install (?!-)[^\n|&;]*", f"pip install {needed}", text)


def _filled(name: str, target: Target, named: bool, **values: str) -> str:
    known = {
        "kernel": place_of(target),
        "judge": judge(target, named=named),
        "target": "" if target.name == DEFAULT else f" --target {target.name}",
        "imports": imports_of(target),
        **values,
    }
    template = (HERE / name).read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: known[match[1]], template)
