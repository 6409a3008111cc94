"""A kernel is compiled in one process and nowhere else, whichever side it is on."""

from __future__ import annotations

import pytest

from pytest_lance_ar.host.parent import KernelFault, KernelHost
from pytest_lance_ar.speed import foundry
from pytest_lance_ar.speed.foundry import Foundry, stand_ins
from pytest_lance_ar.targets.pq_l2.target import TARGET
from pytest_lance_ar.targets.protocol import Arrays
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.kernel_source import Kernel
from tests import kernels

QUICK = Kernel("quick.py", kernels.PURE_PYTHON.encode())


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[KernelHost]:
    hosts: list[KernelHost] = []

    class Noted(KernelHost):
        def code(self) -> bytes:
            hosts.append(self)
            return super().code()

    monkeypatch.setattr(foundry, "KernelHost", Noted)
    return hosts


def forged(source: str, seconds: float = 100.0) -> tuple[Foundry, Kernel]:
    kernel = Kernel("kernel.py", source.encode())
    one = Foundry(TARGET, deadline=Deadline.after(seconds), known={})
    one.forge(kernel)
    return one, kernel


def test_a_stand_in_has_the_shape_of_what_is_timed() -> None:
    instances = stand_ins(TARGET)
    assert [each.params["shape"] for each in instances] == [(128, 16, 256), (256, 16, 256), (768, 96, 256)]
    instance, timed = instances[0], TARGET.workload(TARGET.combos[0], 1, 0)
    for one, other in ((instance, timed), (instance.packs[0], timed.packs[0])):
        assert _kinds(one.arrays) == _kinds(other.arrays)


def _kinds(arrays: Arrays) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {name: (str(array.dtype), array.shape) for name, array in arrays.items()}


def test_known_code_is_not_made_again(started: list[KernelHost]) -> None:
    one = Foundry(TARGET, deadline=Deadline.after(100), known={QUICK.sha256: b"code"})
    one.forge(QUICK)
    assert one.code_of(QUICK) == b"code"
    assert started == []


def test_code_is_that_of_the_very_source() -> None:
    one = Foundry(TARGET, deadline=Deadline.after(0), known={QUICK.sha256: b"code"})
    assert one.code_of(Kernel("quick.py", QUICK.source + b"\n")) == b""


def test_a_kernel_is_compiled_once_and_its_process_is_gone(started: list[KernelHost]) -> None:
    one, kernel = forged(kernels.PURE_PYTHON)
    one.forge(kernel)
    assert len(started) == 1
    assert one.code_of(kernel)
    assert set(one.costs[kernel.sha256]) == {"start", "compile"}
    assert min(one.costs[kernel.sha256].values()) > 0


def test_a_kernel_that_fails_is_left_to_those_who_examine_it() -> None:
    one, kernel = forged("raise ValueError")
    assert one.code_of(kernel) == b""


def test_a_kernel_that_never_comes_back_is_not_waited_for_twice() -> None:
    one, kernel = forged("while True:\n    pass", seconds=4.0)
    with pytest.raises(KernelFault, match="time budget ran out"):
        one.code_of(kernel)
