"""A kernel as text: read once, hashed, and checked for what honest authors forget. Nothing here runs it."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from pytest_lance_ar.files import read_regular
from pytest_lance_ar.targets.protocol import Target
from pytest_lance_ar.trial.evidence import Failure, FaultKind

ALLOWED_IMPORTS: Final = (
    "numpy",
    "numba",
    "llvmlite",
    "math",
    "typing",
    "functools",
    "dataclasses",
    "__future__",
)


@dataclass(frozen=True)
class Kernel:
    """The source of a kernel. `name` is how messages call it."""

    MAX_BYTES: ClassVar[int] = 256 << 10
    """The gate itself parses a kernel, some times over: a megabyte can take ten seconds and half a gigabyte."""

    name: str
    source: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.source).hexdigest()

    @classmethod
    def read(cls, path: Path, name: str) -> Kernel:
        """Read a kernel file, a regular one of at most MAX_BYTES. Raises OSError."""
        return cls(name, read_regular(path, cls.MAX_BYTES))


def imports_of(target: Target) -> str:
    """What a kernel of this target may import, as a sentence has it."""
    names = [f"`from {module} import {', '.join(some)}`" for module, some in target.kernel_names.items()]
    return " and ".join([", ".join(f"`{module}`" for module in ALLOWED_IMPORTS), *names])


def contract_failure(kernel: Kernel, target: Target) -> Failure | None:
    """Why this source cannot be a kernel of this target, or None.

    A trip-wire for honest mistakes, not a wall: what a kernel cannot do is decided by the process it runs in.
    """
    try:
        kernel.source.decode("utf-8")
        tree = ast.parse(kernel.source, filename=kernel.name)
    except UnicodeDecodeError:
        return _broken(f"{kernel.name} is not UTF-8 text; a kernel is one Python file")
    except SyntaxError as error:
        line = f", line {error.lineno}" if error.lineno else ""
        return _broken(f"{kernel.name}{line}: {error.msg}")
    except (ValueError, RecursionError, MemoryError) as error:
        return _broken(f"{kernel.name} cannot be parsed as Python: {str(error) or 'it is nested too deeply'}")
    for node in ast.walk(tree):
        refused = _refused_import(node, target.kernel_names)
        if refused:
            return _broken(
                f"{kernel.name}, line {getattr(node, 'lineno', 0)}: a kernel may not import {refused}; it may import "
                f"{imports_of(target)}"
            )
    if not _binds(tree, target.kernel_class):
        return _broken(f"{kernel.name} defines no {target.kernel_class}")
    return None


def _broken(sentence: str) -> Failure:
    return Failure(FaultKind.CONTRACT, sentence)


def _refused_import(node: ast.AST, names: Mapping[str, tuple[str, ...]]) -> str:
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.name.partition(".")[0] not in ALLOWED_IMPORTS:
                return alias.name
    elif isinstance(node, ast.ImportFrom):
        module = node.module or ""
        if node.level:
            return "." * node.level + module
        if module in names:
            refused = (alias.name for alias in node.names if alias.name not in names[module])
            return next((f"{name} from {module}" for name in refused), "")
        if module.partition(".")[0] not in ALLOWED_IMPORTS:
            return module
    return ""


def _binds(tree: ast.Module, name: str) -> bool:
    return any(
        (isinstance(node, ast.ClassDef) and node.name == name)
        or (isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store))
        or (isinstance(node, ast.alias) and (node.asname or node.name) == name)
        for node in ast.walk(tree)
    )
