"""What the benchmark times."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_lance_ar.bench.workloads import instances
from pytest_lance_ar.targets.common.pq import reference, target
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.common.pq.target import SHAPES, SPEED_VECTORS
from pytest_lance_ar.targets.pq_l2.bench import sections, workloads
from pytest_lance_ar.targets.pq_l2.bench.sections import BENCHMARKS
from pytest_lance_ar.targets.pq_l2.bench.workloads import HEAVY_TAILED, REAL, Workload, drawn
from pytest_lance_ar.targets.pq_l2.metric import L2
from pytest_lance_ar.targets.pq_l2.target import TARGET


def test_the_combos_are_the_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    combos = BENCHMARKS.sections()["combos"].workloads
    assert [(str(one.shape), one.data, one.count) for one in combos] == [
        (combo.shape, combo.distribution, SPEED_VECTORS) for combo in TARGET.combos
    ]
    monkeypatch.setattr(target, "SPEED_VECTORS", 4096)
    ours, gates = (
        Workload(SHAPES[0], "clustered", 4096).instance(4, seed=5),
        TARGET.workload(TARGET.combos[0], 4, seed=5),
    )
    assert ours.params == gates.params
    np.testing.assert_array_equal(ours.arrays["codebook"], gates.arrays["codebook"])
    (our_pack,), (gates_pack,) = ours.packs, gates.packs
    np.testing.assert_array_equal(our_pack.arrays["codes"], gates_pack.arrays["codes"])
    np.testing.assert_array_equal(
        [call["query"] for call in our_pack.calls], [call["query"] for call in gates_pack.calls]
    )


@pytest.mark.parametrize("data", ["uniform", "student_t2"])
def test_a_large_set_is_made_of_different_chunks(monkeypatch: pytest.MonkeyPatch, data: str) -> None:
    monkeypatch.setattr(workloads, "_CHUNK", 300)
    (pack,) = Workload(PqShape(8, 2, 16), data, 1000).instance(3, seed=1).packs
    codes = pack.arrays["codes"]
    assert codes.shape == (1000, 2)
    assert len({codes[start : start + 100].tobytes() for start in (0, 300, 600, 900)}) == 4
    query, codebook = pack.calls[2]["query"], Workload(PqShape(8, 2, 16), data, 1000).instance(3, 1).arrays["codebook"]
    table = reference.distance_table(L2, query, codebook)
    ids, distances = reference.top_k(reference.distances(table, codes), 10)
    assert pack.check(2, {"table": table, "ids": ids, "distances": distances}, 0.0) is None
    assert pack.check(1, {"table": table, "ids": ids, "distances": distances}, 0.0) is not None


@pytest.mark.parametrize("data", HEAVY_TAILED)
def test_heavy_tailed_data_is_its_seed_and_has_heavy_tails(data: str) -> None:
    values = drawn(data, 2000, 16, seed=3, role="base")
    assert values.dtype == np.float32
    assert np.isfinite(values).all()
    np.testing.assert_array_equal(values, drawn(data, 2000, 16, seed=3, role="base"))
    assert not np.array_equal(values, drawn(data, 2000, 16, seed=3, role="query"))
    assert not np.array_equal(values, drawn(data, 2000, 16, seed=4, role="base"))
    # Of 32,000 normal values none lies beyond 5 sd; the interquartile range measures the sd of a normal middle.
    low, high = np.quantile(values, [0.25, 0.75])
    assert np.abs(values - np.median(values)).max() > 10 * (high - low) / 1.349


def test_student_t_has_its_quartiles() -> None:
    # The upper quartile of Student's t: 0.8165 with two degrees of freedom, 0.7649 with three.
    for data, quartile in (("student_t2", 0.8165), ("student_t3", 0.7649)):
        values = drawn(data, 20_000, 10, seed=1, role="base")
        assert np.quantile(values, 0.75) == pytest.approx(quartile, abs=0.01)


def test_unknown_data_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown data 'cauchy'"):
        drawn("cauchy", 1, 1, seed=0, role="base")


def test_real_embeddings_are_timed_where_they_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    words = np.random.default_rng(1).normal(size=(700, 256)).astype(np.float32)
    monkeypatch.setattr(workloads, "word_embeddings", lambda: words)
    monkeypatch.setattr(sections, "word_embeddings", lambda: words)
    some = BENCHMARKS.sections()["data"].workloads
    real = [one for one in some if isinstance(one, Workload) and one.data == REAL]
    assert {one.shape.dim for one in real} == {256}
    (instance,) = instances([Workload(real[0].shape, REAL, 600)], 50, seed=2)
    (pack,) = instance.packs
    assert pack.arrays["codes"].shape == (600, real[0].shape.num_sub_vectors)
    # A query is no stored vector: all 650 rows are different ones.
    queries = {call["query"].tobytes() for call in pack.calls}
    assert len(queries) == 50
    assert queries <= {word.tobytes() for word in words}

    monkeypatch.setattr(sections, "word_embeddings", lambda: None)
    assert not [one for one in BENCHMARKS.sections()["data"].workloads if one.data == REAL]


def test_quick_leaves_out_what_takes_long_to_build() -> None:
    assert max(one.count for one in BENCHMARKS.sections()["sizes"].workloads) == 1_000_000
    assert max(one.count for one in BENCHMARKS.sections(quick=True)["sizes"].workloads) == 200_000
