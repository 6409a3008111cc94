"""Arrays lie against inaccessible memory, and who touches that is told of in a sentence."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from pytest_lance_ar.host import fences
from pytest_lance_ar.host.parent import KernelFault, KernelHost
from pytest_lance_ar.targets.common.pq.cases import DrawnCase
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.pq_l2.metric import L2
from pytest_lance_ar.targets.registry import targets
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.evidence import FaultKind
from tests.kernels import PURE_PYTHON, changed, with_table

pytestmark = pytest.mark.skipif(not fences.offered(), reason="this platform has no inaccessible memory")

DRIVER = targets()["pq_l2"].driver
CASES = [DrawnCase(L2, PqShape(8, 2, 16), "gaussian", seed=seed, n=30, k=5) for seed in range(12)]
BEHIND = "np.lib.stride_tricks.as_strided({0}, ({1}.size + 1,), ({1}.itemsize,))[-1]"
BEFORE = "np.lib.stride_tricks.as_strided({0}, (2,), (-{1}.itemsize,))[1]"


def of(array: str, place: str) -> str:
    return place.format(f"{array}.reshape(-1)", array)


def packing(statement: str) -> str:
    return f"{PURE_PYTHON}\n    def pack_codes(self, codes):\n        {statement}\n        return codes\n"


@pytest.fixture
def host() -> Iterator[KernelHost]:
    with KernelHost(DRIVER, core=None, deadline=Deadline.after(100), fenced=True) as host:
        yield host


def answer(host: KernelHost, *cases: DrawnCase) -> None:
    for case in cases:
        instance = case.instance()
        kernel = host.build(instance)
        pack, _ = host.pack(kernel, instance.packs[0])
        pack.call(0)
        assert instance.packs[0].check(0, pack.outputs, 0.0) is None


def fault_of(host: KernelHost, source: str) -> str:
    """The sentence that the first of some cases ends with."""
    host.load(source.encode(), "kernel.py")
    with pytest.raises(KernelFault) as caught:
        answer(host, *CASES)
    assert caught.value.failure.kind is FaultKind.DIED
    return caught.value.failure.sentence


def test_each_array_lies_against_a_fence_on_either_side() -> None:
    arrays = {name: ("float32", (size,)) for name, size in (("a", 3), ("b", 5000), ("c", 0), ("d", 1024))}
    sides: dict[str, set[str]] = {name: set() for name in arrays}
    for salt in range(20):
        layout, size = fences.layout_of(arrays, 0, bytes([salt]))
        ends = 0
        for name, (_, (count,), offset) in layout.items():
            first = offset // mmap.PAGESIZE * mmap.PAGESIZE
            stop = offset + 4 * count
            assert first >= ends + fences.FENCE
            ends = max(-(-stop // mmap.PAGESIZE) * mmap.PAGESIZE, first + mmap.PAGESIZE)
            assert offset == first or stop == ends
            sides[name].add("start" if offset == first else "end")
        assert size == ends + fences.FENCE
    assert sides["a"] == sides["b"] == {"start", "end"}


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (
            changed(PURE_PYTHON, "= codebook\n", f"= codebook\n        {of('codebook', BEHIND)}\n"),
            "PqKernel() read or wrote outside an array: byte 1 behind `codebook`",
        ),
        (packing(of("codes", BEFORE)), "pack_codes read or wrote outside an array: byte 1 before `codes`"),
        (
            changed(PURE_PYTHON, "        distance = np", f"        {of('codes', BEHIND)}\n        distance = np"),
            "probe_top_k read or wrote outside an array: byte 1 behind `codes`",
        ),
        (
            changed(PURE_PYTHON, "        out[:] = 0\n", f"        out[:] = 0\n        {of('query', BEFORE)}\n"),
            "distance_table read or wrote outside an array: byte 4 before `query`",
        ),
        (
            packing("codes.setflags(write=True); codes[:] = 0"),
            "pack_codes wrote to its input codes, which is read-only",
        ),
    ],
)
def test_a_touch_outside_names_the_call_and_the_array(host: KernelHost, source: str, sentence: str) -> None:
    assert fault_of(host, source) == sentence


def test_a_write_into_the_rest_of_a_page_is_seen(host: KernelHost) -> None:
    past = changed(PURE_PYTHON, "        distance = np", f"        {of('table', BEHIND)}\n        distance = np")
    past = past.replace("[-1]\n        distance", "[-1:] = 1\n        distance")
    host.load(past.encode(), "kernel.py")
    with pytest.raises(KernelFault) as caught:
        answer(host, *CASES)
    assert caught.value.failure.sentence in {
        "a call wrote outside an array: next to `out`, the distance table",
        "probe_top_k read or wrote outside an array: byte 1 behind `out`, the distance table",
    }


def test_an_empty_array_has_no_byte_to_touch(host: KernelHost) -> None:
    statement = "codes.size or np.lib.stride_tricks.as_strided(codes.reshape(-1), (1,), (1,))[0].item()"
    host.load(packing(statement).encode(), "kernel.py")
    answer(host, CASES[0])
    with pytest.raises(KernelFault, match="pack_codes read or wrote outside an array: byte 1 behind `codes`"):
        answer(host, replace(CASES[0], n=0))


def test_what_ends_elsewhere_is_told_as_before(host: KernelHost) -> None:
    assert fault_of(host, with_table("np.lib.stride_tricks.as_strided(query, (2,), (1 << 46,))[1]")).startswith(
        "the kernel's process was killed by SIG"
    )


def test_an_honest_kernel_meets_no_fence(host: KernelHost) -> None:
    host.load(PURE_PYTHON.encode(), "kernel.py")
    answer(host, *(replace(case, n=case.seed % 3) for case in CASES))


def test_calls_in_one_go_are_those_one_by_one(host: KernelHost) -> None:
    host.load(PURE_PYTHON.encode(), "kernel.py")
    instance = CASES[0].instance()
    (single,) = instance.packs
    queries = np.stack([call["query"] for call in single.calls])
    many = replace(
        single,
        calls=[{"query": queries}],
        outputs={name: (kind, (len(queries), *shape)) for name, (kind, shape) in single.outputs.items()},
        repeats=len(queries),
    )
    pack, _ = host.pack(host.build(instance), many)
    pack.call(0)
    for i in range(len(queries)):
        assert single.check(i, {name: array[i] for name, array in pack.outputs.items()}, 0.0) is None
