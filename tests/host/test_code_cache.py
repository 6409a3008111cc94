"""Machine code handed from one process of a kernel to the next: what is told apart, and what is compiled once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import njit

from pytest_lance_ar.host.code_cache import Untellable, _described
from pytest_lance_ar.host.parent import KernelFault, KernelHost
from pytest_lance_ar.targets.common.pq.cases import DrawnCase
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.pq_l2.metric import L2
from pytest_lance_ar.targets.registry import targets
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.evidence import FaultKind
from tests import kernels

INSTANCE = DrawnCase(L2, PqShape(8, 2, 16), "gaussian", seed=1, n=30, k=5).instance()
DRIVER = targets()["pq_l2"].driver

COMPILING = (
    kernels.PURE_PYTHON
    + """
import numba

@numba.njit
def twice(x):
    return x + x

FACTORS = [numba.njit(eval(f"lambda x: x * {factor}")) for factor in (3, 5)]

class PqKernel(PqKernel):
    def __init__(self, shape, codebook):
        super().__init__(shape, codebook)
        if [twice(4), twice(0.5), *(factor(1) for factor in FACTORS)] != [8, 1.0, 3, 5]:
            raise ValueError("another function's code")
        hits, misses = (
            sum(sum(getattr(function.stats, name).values()) for function in (twice, *FACTORS))
            for name in ("cache_hits", "cache_misses")
        )
        raise SystemExit(f"hits {hits}, misses {misses}")
"""
)


def described(source: str, name: str = "f", **names: Any) -> bytes:
    """What is told of a function that a source defines."""
    module = {"np": np, **names}
    exec(source, module)
    return b"\\0".join(_described(module[name], {}))


PLAIN = "def f(x):\n    return x + A"


def test_the_same_source_is_the_same() -> None:
    assert described(PLAIN, A=1) == described(PLAIN, A=1)
    assert described(PLAIN, A=np.arange(3)) == described(PLAIN, A=np.arange(3))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((PLAIN, {"A": 1}), (PLAIN, {"A": 2})),
        ((PLAIN, {"A": 1}), (PLAIN, {"A": 1.0})),
        ((PLAIN, {"A": 0.0}), (PLAIN, {"A": -0.0})),
        ((PLAIN, {"A": 1}), (PLAIN, {"A": True})),
        ((PLAIN, {"A": np.zeros(2)}), (PLAIN, {"A": np.ones(2)})),
        ((PLAIN, {"A": np.zeros(2)}), (PLAIN, {"A": np.zeros(2, np.float32)})),
        ((PLAIN, {"A": (1, (2, 3))}), (PLAIN, {"A": (1, (2, 4))})),
        (("def f(x):\n    return x + 16", {}), ("def f(x):\n    return x + 96", {})),
        (("def f(x, y=1):\n    return x + y", {}), ("def f(x, y=2):\n    return x + y", {})),
        (("def f(x):\n    return np.sin(x)", {}), ("def f(x):\n    return np.cos(x)", {})),
        (("def g(): return 1\ndef f(): return g()", {}), ("def g(): return 2\ndef f(): return g()", {})),
        (
            ("def make(n):\n    def f(x): return x + n\n    return f\nf = make(1)", {}),
            ("def make(n):\n    def f(x): return x + n\n    return f\nf = make(2)", {}),
        ),
        (("def f(x):\n    return [y + 1 for y in x]", {}), ("def f(x):\n    return [y + 2 for y in x]", {})),
    ],
)
def test_what_makes_other_code_is_told_apart(one: tuple[str, Any], other: tuple[str, Any]) -> None:
    assert described(one[0], **one[1]) != described(other[0], **other[1])


def test_options_of_the_compiler_make_other_code() -> None:
    def plain(x: float) -> float:
        return x

    options: list[dict[str, Any]] = [{}, {"fastmath": True}, {"boundscheck": True}, {"error_model": "numpy"}]
    assert len({b"\\0".join(_described(njit(**option)(plain), {})) for option in options}) == 4


def test_what_cannot_be_told_is_not_kept() -> None:
    with pytest.raises(Untellable):
        described("def f():\n    return A", A=object())


def test_a_function_is_compiled_once_and_another_of_its_name_is_not_taken_for_it() -> None:
    codes: list[bytes] = []
    for code, told in ((b"", "hits 0, misses 4"), (None, "hits 4, misses 0"), (b"damaged", "hits 0, misses 4")):
        with KernelHost(DRIVER, core=None, deadline=Deadline.after(100)) as host:
            host.load(COMPILING.encode(), "kernel.py", code=codes[0] if code is None else code, shift=3)
            with pytest.raises(KernelFault, match=told) as caught:
                host.build(INSTANCE)
            assert caught.value.failure.kind is FaultKind.RAISED
            codes.append(host.code())
    assert codes[0]


def test_a_process_that_tells_lies_of_its_code_is_believed_no_more_than_there_is_room() -> None:
    source = (
        kernels.PURE_PYTHON
        + """
import sys
frame = sys._getframe()
while "self" not in frame.f_locals or type(frame.f_locals["self"]).__name__ != "Child":
    frame = frame.f_back
frame.f_locals["self"].compiled = lambda: bytes(65 << 20)
"""
    )
    with KernelHost(DRIVER, core=None, deadline=Deadline.after(100)) as host:
        host.load(source.encode(), "kernel.py")
        assert host.code() == b""
