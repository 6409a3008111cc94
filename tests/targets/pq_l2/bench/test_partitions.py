"""The view of an IVF_PQ index: what is in it, and that a kernel and faiss search it for the same."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from pytest_lance_ar.bench import measure
from pytest_lance_ar.bench.measure import BASELINE, KERNEL, Contestant, ContestantFailed, Plan
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.pq_l2.bench import partition_driver, partitions
from pytest_lance_ar.targets.pq_l2.bench.partitions import Partitioned
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.kernel_source import Kernel
from tests import kernels

SMALL = Partitioned(PqShape(8, 2, 256))
PLAIN = Kernel("kernel.py", kernels.PURE_PYTHON.encode())


def test_sizes_are_skewed_and_some_are_none() -> None:
    sizes = SMALL.sizes
    assert len(sizes) == partitions.PARTITIONS
    some = sizes[sizes > 0]
    assert len(sizes) - len(some) == partitions.EMPTY
    assert 140 <= some.min() < np.median(some) < some.mean() < some.max() <= 5000
    assert some.max() > 2000
    assert np.median(some) < 500
    assert SMALL.count == sizes.sum()


def test_a_query_visits_the_partitions_whose_centroids_are_nearest() -> None:
    instance = SMALL.instance(6, seed=3)
    (pack,) = instance.packs
    centroids = pack.arrays["centroids"]
    visited_empty = False
    for call in pack.calls:
        apart = ((call["query"] - centroids) ** 2).sum(axis=1)
        probes = call["probes"]
        assert len(set(probes.tolist())) == len(probes) == partitions.PROBES
        assert apart[probes].max() <= np.sort(apart)[partitions.PROBES - 1] * 1.001
        visited_empty |= bool((pack.arrays["sizes"][probes] == 0).any())
    assert visited_empty
    assert instance.packs[0].arrays["codes"].shape == (SMALL.count, 2)


def asked(source: str, call: int = 0) -> object:
    """What the check says of a kernel's answer to one call."""
    instance = SMALL.instance(3, seed=3)
    (pack,) = instance.packs
    module = ModuleType("kernel")
    exec(source, module.__dict__)
    driver = partition_driver.Driver(module, dict(instance.params), dict(instance.arrays))
    inputs = {name: np.array(array) for name, array in pack.calls[call].items()}
    outputs = {name: np.zeros(shape, kind) for name, (kind, shape) in pack.outputs.items()}
    driver.pack(dict(pack.params), dict(pack.arrays), inputs, outputs)()
    return pack.check(call, outputs, 0.0)


def test_a_kernel_answers_for_all_partitions() -> None:
    assert asked(kernels.PURE_PYTHON) is None


@pytest.mark.parametrize(
    "wrong",
    [
        kernels.with_answer("ids, distance[ids] * np.float32(1.01)"),
        kernels.with_answer("ids[::-1].copy(), distance[ids]"),
    ],
)
def test_a_wrong_answer_in_a_partition_is_found(wrong: str) -> None:
    assert asked(wrong) is not None


def timed(*contestants: Contestant) -> list[measure.Timed]:
    return measure.measure(
        [SMALL], contestants, Plan(epochs=1, rounds=2), seed=1, core=None, deadline=Deadline.after(100)
    )


def test_contestants_are_timed_on_partitions() -> None:
    with_faiss = importlib.util.find_spec("faiss") is not None
    contestants = [Contestant(name, PLAIN, partitions.DRIVER) for name in (KERNEL, BASELINE)]
    if with_faiss:
        contestants.append(Contestant("faiss", Kernel("faiss", b""), partitions.FAISS_DRIVER, library=True))
    (one,) = timed(*contestants)
    assert set(one.logs) == {contestant.name for contestant in contestants}
    assert all(one.ns(name) > 0 for name in one.logs)


def test_a_kernel_that_is_wrong_on_partitions_gets_no_figure() -> None:
    wrong = Kernel("wrong.py", kernels.with_answer("ids, distance[ids] * np.float32(1.01)").encode())
    with pytest.raises(ContestantFailed, match=r"the kernel failed: .*20 of 64 partitions"):
        timed(Contestant(KERNEL, wrong, partitions.DRIVER))


def test_drivers_are_there() -> None:
    for name in (partitions.DRIVER, partitions.FAISS_DRIVER):
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert Path(spec.origin or "").is_file()
