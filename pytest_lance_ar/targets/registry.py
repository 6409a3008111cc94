"""Finds the targets: every folder beside this file is one."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from functools import cache
from typing import Final

import pytest_lance_ar.targets as folder
from pytest_lance_ar.targets.protocol import Target

DEFAULT: Final = "pq_l2"


@cache
def targets() -> dict[str, Target]:
    """Every target of this package, by name."""
    return {
        module.name: importlib.import_module(f"{folder.__name__}.{module.name}").TARGET
        for module in pkgutil.iter_modules(folder.__path__)
        if module.ispkg
    }


def target_of(source: bytes) -> Target:
    """The target that a kernel's source is written for: the one whose class it defines, else the default."""
    known = targets()
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # what the parser makes of such a file is told later
        return known[DEFAULT]
    classes = {node.name for node in body if isinstance(node, ast.ClassDef)}
    return next((target for target in known.values() if target.kernel_class in classes), known[DEFAULT])
