"""The tables and the JSON, from injected timings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pytest_lance_ar.bench.measure import BASELINE, KERNEL, Packing, Spread, Timed
from pytest_lance_ar.bench.table import as_json, as_text, document
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.pq_l2.bench.workloads import Workload


def timed(baseline: float, kernel: float, faiss: float | None = None, **options: Any) -> Timed:
    """Three rounds around the given nanoseconds; what disturbs a round disturbs all contestants."""
    ns = {KERNEL: kernel, BASELINE: baseline, **({} if faiss is None else {"faiss": faiss})}
    disturbance = np.log([1.0, 0.5, 3.0])
    own = {KERNEL: np.log([1.0, 0.8, 1.2]), BASELINE: np.zeros(3), "faiss": np.zeros(3)}
    workload = Workload(PqShape(8, 2, 16), options.pop("data", "uniform"), options.pop("count", 500))
    return Timed(workload, {name: np.log(value) + disturbance + own[name] for name, value in ns.items()}, **options)


def test_a_table_with_faiss() -> None:
    rows = [timed(4000, 1000, 5000), timed(2000, 500, 9000, data="sparse")]
    assert as_text("The title", rows).splitlines() == [
        "The title",
        "",
        "| workload         |   N | baseline ns | kernel ns |    kernel / baseline | faiss ns |       kernel / faiss |",
        "|------------------|----:|------------:|----------:|---------------------:|---------:|---------------------:|",
        "| (8,2,16) uniform | 500 |       4,000 |     1,000 | 0.250 [0.224, 0.274] |    5,000 | 0.200 [0.179, 0.219] |",
        "| (8,2,16) sparse  | 500 |       2,000 |       500 | 0.250 [0.224, 0.274] |    9,000 | 0.056 [0.050, 0.061] |",
        "| geomean          |     |       2,828 |       707 |                0.250 |    6,708 |                0.105 |",
        "",
        "kernel / baseline: geomean 0.250 (4.00 times as fast), worst 0.250 on (8,2,16) uniform, N 500",
        "kernel / faiss: geomean 0.105 (9.49 times as fast), worst 0.200 on (8,2,16) uniform, N 500",
    ]


def test_a_table_without_faiss() -> None:
    text = as_text("The title", [timed(400_000, 100_000)])
    assert "faiss" not in text
    assert "|     400,000 |   100,000 | 0.250 [0.224, 0.274] |\n" in text


def test_a_table_by_size() -> None:
    rows = [timed(4e5, 1e5, count=20_000, packing=Packing(0.0125, 2.5)), timed(2e7, 2e6, count=1_000_000)]
    text = as_text("Sizes", rows, by_size=True)
    assert "geomean  " not in text
    assert "| kernel ns/vector | pack s | bytes / code byte |\n" in text
    assert "|            5.000 |  0.013 |              2.50 |\n" in text
    assert "|            2.000 |        |                   |\n" in text


def test_the_table_and_the_json_say_the_same() -> None:
    rows = [timed(400_000, 100_000, 500_000, packing=Packing(0.5, 3.0)), timed(200_000, 50_000, 1_000_000)]
    found = document({"seed": 7}, {"combos": rows})
    assert found["schema"] == 1
    assert found["seed"] == 7
    section = found["sections"]["combos"]
    assert section == as_json(rows)
    text = as_text("", rows)
    for row in section["rows"]:
        assert (row["shape"], row["data"], row["n"]) == ("(8,2,16)", "uniform", 500)
        for ns in row["ns_per_query"].values():
            assert f" {ns:,.0f} |" in text
        for ratio in row["kernel_ratio"].values():
            assert f" {ratio['median']:.3f} [{ratio['low']:.3f}, {ratio['high']:.3f}] |" in text
    for rival, ratio in section["kernel_ratio_geomean"].items():
        assert f"kernel / {rival}: geomean {ratio:.3f} " in text
    assert [row["packing"] for row in section["rows"]] == [{"seconds": 0.5, "bytes_per_code_byte": 3.0}, None]


def test_a_ratio_is_of_blocks_in_the_same_round() -> None:
    # Rounds that are 1, 10 and 100 times as slow for both: the ratio does not see it.
    disturbance = np.log([1.0, 10.0, 100.0])
    one = Timed(
        Workload(PqShape(8, 2, 16), "uniform"),
        {KERNEL: np.log([2.0, 3.0, 4.0]) + disturbance, BASELINE: np.log(10) + disturbance},
    )
    ratio = one.ratio(KERNEL, BASELINE)
    assert ratio.median == pytest.approx(0.3)
    assert one.ns(KERNEL) == pytest.approx(30)
    assert one.ns(BASELINE) == pytest.approx(100)


def test_a_spread_is_the_quartiles() -> None:
    spread = Spread.of(np.log([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert (spread.low, spread.median, spread.high) == pytest.approx((2, 3, 4))
