"""The contract that a kernel's text keeps: what it may import, and that it defines the class."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from pytest_lance_ar.targets.pq_l2.target import TARGET
from pytest_lance_ar.trial.evidence import Failure, FaultKind
from pytest_lance_ar.trial.kernel_source import ALLOWED_IMPORTS, Kernel, contract_failure
from tests.kernels import PURE_PYTHON, SHIPPED

CLASS = "class PqKernel: ...\n"


def examine(source: str | bytes) -> Failure | None:
    text = source if isinstance(source, bytes) else source.encode()
    return contract_failure(Kernel("mine.py", text), TARGET)


def sentence(source: str | bytes) -> str:
    failure = examine(source)
    assert failure is not None
    assert failure.kind is FaultKind.CONTRACT
    assert failure.case == ""  # no inputs were involved
    return failure.sentence


@pytest.mark.parametrize("source", [SHIPPED, PURE_PYTHON], ids=["shipped", "pure python"])
def test_a_kernel_passes(source: str) -> None:
    assert examine(source) is None


def test_a_syntax_error_names_its_line() -> None:
    assert sentence(f"{CLASS}\ndef scan(:\n").startswith("mine.py, line 3: ")


def test_text_that_is_not_utf8() -> None:
    assert sentence(b"# caf\xe9\n" + CLASS.encode()) == ("mine.py is not UTF-8 text; a kernel is one Python file")


def test_null_bytes_are_refused_in_a_sentence_without_a_line_that_is_none() -> None:
    text = sentence(b"x = 1\0\n" + CLASS.encode())
    assert "null bytes" in text
    assert "None" not in text


@pytest.mark.parametrize("source", ["(" * 5000, "-" * 100_000 + "1", "x" + ".x" * 100_000], ids=["((", "--", ".x"])
def test_text_too_nested_to_parse_is_a_broken_contract_and_no_crash(source: str) -> None:
    # Which of these the parser can take depends on Python's version; without a class, all are refused.
    assert sentence(source).startswith("mine.py")


@pytest.mark.parametrize(
    ("statement", "refused"),
    [
        ("import os", "os"),
        ("from os import path", "os"),
        ("import os.path as p", "os.path"),
        ("import numpy, os", "os"),
        ("import numpy as os, ctypes as numpy", "ctypes"),
        ("from . import sibling", "."),
        ("from .. import numpy", ".."),
        ("from .numpy import array", ".numpy"),
        ("from pytest_lance_ar import Other", "Other from pytest_lance_ar"),
        ("from pytest_lance_ar import PqShape, Other", "Other from pytest_lance_ar"),
        ("from pytest_lance_ar import *", "* from pytest_lance_ar"),
        ("import pytest_lance_ar", "pytest_lance_ar"),
        ("import pytest_lance_ar.host.wire", "pytest_lance_ar.host.wire"),
        ("from pytest_lance_ar.targets import registry", "pytest_lance_ar.targets"),
        ("import numpyx", "numpyx"),
        ("from numba_cuda import njit", "numba_cuda"),
        ("def f():\n    import socket", "socket"),
        ("class A:\n    def f(self):\n        if self:\n            from time import sleep", "time"),
        ("try:\n    import cupy\nexcept ImportError:\n    pass", "cupy"),
    ],
)
def test_what_a_kernel_may_not_import(statement: str, refused: str) -> None:
    line = 2 + statement.count("\n") if not statement.startswith("try") else 3
    assert sentence(f"{CLASS}{statement}\n") == (
        f"mine.py, line {line}: a kernel may not import {refused}; it may import "
        f"{', '.join(f'`{name}`' for name in ALLOWED_IMPORTS)} and "
        "`from pytest_lance_ar import PqShape`"
    )


@pytest.mark.parametrize(
    "statement",
    [
        "from __future__ import annotations",
        "import numpy as np",
        "import numpy.typing",
        "from numba import njit, prange",
        "from numba.extending import intrinsic",
        "from llvmlite import ir",
        "import llvmlite.ir",
        "import math",
        "from typing import Any",
        "from functools import cache",
        "from dataclasses import dataclass",
        "from pytest_lance_ar import PqShape",
        "from pytest_lance_ar import PqShape as Shape",
        "def f():\n    from numba.core import types",
    ],
)
def test_what_a_kernel_may_import(statement: str) -> None:
    assert examine(f"{statement}\n{CLASS}") is None


@pytest.mark.parametrize(
    "source", ["", "x = 1\n", "class Pqkernel: ...\n", "x = PqKernel\n", "def f(PqKernel): ...\n", "# class PqKernel\n"]
)
def test_a_file_without_the_class(source: str) -> None:
    assert sentence(source) == "mine.py defines no PqKernel"


@pytest.mark.parametrize(
    "source",
    [
        CLASS,
        "class Fast: ...\nPqKernel = Fast\n",
        "PqKernel: type = type('PqKernel', (), {})\n",
        "if True:\n    class PqKernel: ...\n",
        "from functools import partial as PqKernel\n",
    ],
)
def test_a_class_may_come_by_definition_assignment_or_import(source: str) -> None:
    assert examine(source) is None


def test_a_kernel_is_hashed_and_kept_as_its_bytes(tmp_path: Path) -> None:
    source = "class PqKernel: ...\r\n# µ\n".encode()
    path = tmp_path / "pq_l2.py"
    path.write_bytes(source)
    kernel = Kernel.read(path, "kernel/pq_l2.py")
    assert kernel == Kernel("kernel/pq_l2.py", source)
    assert kernel.sha256 == hashlib.sha256(source).hexdigest()


def test_a_file_that_is_not_there_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Kernel.read(tmp_path / "none.py", "none.py")
