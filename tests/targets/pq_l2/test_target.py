"""The target's lists name what is really there: its tests, its battery, its workloads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pytest_lance_ar.targets import pq_l2
from pytest_lance_ar.targets.common import inputs
from pytest_lance_ar.targets.common.pq import cases, quantizer, reference, target
from pytest_lance_ar.targets.common.pq.suite import EXAMPLES
from pytest_lance_ar.targets.common.pq.target import BATTERY_DISTRIBUTIONS, ODD_SHAPES, SHAPES
from pytest_lance_ar.targets.pq_l2.metric import L2
from pytest_lance_ar.targets.pq_l2.target import TARGET
from pytest_lance_ar.targets.protocol import Combo, Target

CONTRACT_SHAPES = ["(128,16,256)", "(256,16,256)", "(768,96,256)"]
CONTRACT_DISTRIBUTIONS = ["gaussian", "uniform", "sparse", "large_dynamic_range", "mostly_zero"]
EARLIER = "test_earlier_falsifying_examples"
TRAINED = 300  # vectors of a workload here: few, and enough for 256 centroids


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The suite's tests as pytest finds them in a process of its own, far from this project's configuration."""
    empty = tmp_path_factory.mktemp("project")
    config = empty / "pytest.ini"
    config.write_text("[pytest]\n")
    options = [
        "--collect-only",
        "-q",
        "-p",
        "pytest_lance_ar.plugin.suite",
        "-p",
        "no:cacheprovider",
        "-c",
        str(config),
    ]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(TARGET.suite)],
        cwd=empty,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return [line.partition("::")[2] for line in result.stdout.splitlines() if "::" in line]


def test_suite_tests_are_what_pytest_collects(collected: list[str]) -> None:
    assert len(set(collected)) == len(collected)
    assert set(collected) == TARGET.suite_tests


def test_every_test_that_draws_has_a_number_of_examples(collected: list[str]) -> None:
    assert {name.partition("[")[0] for name in collected} - {EARLIER} == set(EXAMPLES)
    assert all(count > 0 for count in EXAMPLES.values())


def test_the_battery_is_five_distributions_by_three_shapes(collected: list[str]) -> None:
    battery = [name for name in collected if name.startswith("test_battery[")]
    assert set(battery) == {f"test_battery[{s}-{d}]" for s in CONTRACT_SHAPES for d in CONTRACT_DISTRIBUTIONS}
    assert len(battery) == 15


def test_shapes_and_distributions_are_those_of_the_contract() -> None:
    assert [str(shape) for shape in SHAPES] == CONTRACT_SHAPES
    assert list(BATTERY_DISTRIBUTIONS) == CONTRACT_DISTRIBUTIONS
    assert set(BATTERY_DISTRIBUTIONS) <= set(inputs.DISTRIBUTIONS)


def test_the_odd_shapes_are_odd_in_each_way_that_the_contract_names() -> None:
    shapes = list(ODD_SHAPES.values())
    assert any(shape.num_centroids & (shape.num_centroids - 1) for shape in shapes)
    assert any(shape.num_centroids == 1 for shape in shapes)
    assert any(shape.sub_vector_dim == 1 for shape in shapes)
    assert any(shape.num_sub_vectors % 2 and shape.num_sub_vectors > 1 for shape in shapes)
    assert not set(shapes) & set(SHAPES)


@pytest.mark.parametrize("name", ODD_SHAPES)
def test_an_odd_shape_is_what_it_is_called(name: str) -> None:
    shape = ODD_SHAPES[name]
    quantity, _, value = name.partition("_is_")
    numbers = {"K": shape.num_centroids, "M": shape.num_sub_vectors, "dsub": shape.sub_vector_dim, "dim": shape.dim}
    assert numbers[quantity] == int(value)


def test_tails_of_every_length_modulo_eight_are_met() -> None:
    assert {shape.sub_vector_dim % 8 for shape in (*SHAPES, *ODD_SHAPES.values())} == set(range(8))


def test_trap_shapes_are_odd_shapes() -> None:
    assert set(target.TRAP_SHAPES) <= set(ODD_SHAPES)


def test_what_the_core_asks_of_a_target() -> None:
    as_target: Target = TARGET
    assert as_target.name == "pq_l2"
    assert as_target.kernel_class == "PqKernel"
    assert as_target.suite.is_file()
    assert as_target.suite.parent == Path(pq_l2.__file__).parent
    assert as_target.driver == "pytest_lance_ar.targets.pq_l2.driver"


def test_the_target_parses_its_cases() -> None:
    spec = "shape=12,3,10 distribution=gaussian seed=7 n=40 k=10"
    assert TARGET.parse_case(spec).spec == spec
    with pytest.raises(ValueError, match="not a case"):
        TARGET.parse_case("nonsense")


def test_speed_is_measured_as_the_contract_says() -> None:
    assert [combo.name for combo in TARGET.combos] == [
        f"{shape} {distribution}" for shape in CONTRACT_SHAPES for distribution in ("clustered", "uniform", "sparse")
    ]
    assert target.SPEED_VECTORS == 20_000
    assert target.SPEED_K == 10


@pytest.mark.parametrize("combo", TARGET.combos, ids=lambda combo: combo.name)
def test_a_workload_is_its_combo(combo: Combo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "SPEED_VECTORS", TRAINED)
    shape = next(shape for shape in SHAPES if str(shape) == combo.shape)
    dim, parts, centroids = shape.dim, shape.num_sub_vectors, shape.num_centroids
    workload = TARGET.workload(combo, queries=4, seed=11)

    assert workload.params == {"shape": (dim, parts, centroids)}
    codebook = workload.arrays["codebook"]
    assert codebook.dtype == np.float32
    assert codebook.shape == (parts, centroids, dim // parts)
    (pack,) = workload.packs
    assert pack.params == {"k": 10}
    codes = pack.arrays["codes"]
    assert codes.dtype == np.uint8
    assert codes.shape == (TRAINED, parts)
    base = inputs.vectors(combo.distribution, TRAINED, dim, seed=11, role="base")
    np.testing.assert_array_equal(codebook, cases.trained(base, shape, combo.distribution, 11))
    assert (codes != quantizer.encode(base, codebook)).mean() < 1e-3
    queries = inputs.vectors(combo.distribution, 4, dim, seed=11, role="query")
    np.testing.assert_array_equal([call["query"] for call in pack.calls], queries)
    assert len({query.tobytes() for query in queries}) == 4
    assert pack.outputs == {
        "table": ("float32", (parts, centroids)),
        "ids": ("int64", (10,)),
        "distances": ("float32", (10,)),
    }

    table = reference.distance_table(L2, queries[3], codebook)
    ids, distances = reference.top_k(reference.distances(table, codes), 10)
    answer: dict[str, NDArray[Any]] = {"table": table, "ids": ids, "distances": distances}
    assert pack.check(3, answer, 0.0) is None
    assert pack.check(3, {**answer, "distances": distances + np.float32(1)}, 0.0) is not None
    assert pack.check(2, answer, 0.0) is not None


def test_a_workload_is_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "SPEED_VECTORS", TRAINED)

    def drawn(seed: int) -> list[bytes]:
        workload = TARGET.workload(TARGET.combos[0], queries=2, seed=seed)
        (pack,) = workload.packs
        arrays = [workload.arrays["codebook"], pack.arrays["codes"], *(call["query"] for call in pack.calls)]
        return [array.tobytes() for array in arrays]

    first, again, other = drawn(1), drawn(1), drawn(2)
    assert first == again
    assert not set(first) & set(other)


def test_clustered_queries_are_near_the_vectors_they_search(monkeypatch: pytest.MonkeyPatch) -> None:
    # 32 clusters: a query's nearest vectors are of its own cluster, and far nearer than the others.
    monkeypatch.setattr(target, "SPEED_VECTORS", TRAINED)
    workload = TARGET.workload(Combo("(128,16,256)", "clustered"), queries=20, seed=3)
    (pack,) = workload.packs
    for call in pack.calls:
        table = reference.distance_table(L2, call["query"], workload.arrays["codebook"])
        distances = np.sort(reference.distances(table, pack.arrays["codes"]))
        assert distances[0] < 0.1 * np.median(distances)


def test_the_floor_is_what_the_table_costs_on_a_core_that_does_not_exist() -> None:
    floors = {combo.shape: TARGET.floor_ns(combo) for combo in TARGET.combos}
    assert floors == {"(128,16,256)": 384.0, "(256,16,256)": 768.0, "(768,96,256)": 2304.0}
