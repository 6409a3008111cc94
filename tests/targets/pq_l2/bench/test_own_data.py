"""A user's own file: read as it is, or refused with a sentence that says what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_lance_ar.targets.common.pq import reference
from pytest_lance_ar.targets.pq_l2.bench import own_data
from pytest_lance_ar.targets.pq_l2.metric import L2

RNG = np.random.default_rng(1)
GOOD: dict[str, Any] = {
    "codebook": RNG.normal(size=(3, 8, 4)).astype(np.float32),
    "codes": RNG.integers(0, 8, (50, 3)).astype(np.uint8),
    "queries": RNG.normal(size=(5, 12)).astype(np.float32),
}


def saved(path: Path, **changes: Any) -> Path:
    arrays = {name: array for name, array in {**GOOD, **changes}.items() if array is not None}
    np.savez(path / "mine.npz", **arrays)
    return path / "mine.npz"


def test_a_file_becomes_a_workload(tmp_path: Path) -> None:
    own = own_data.read(saved(tmp_path), k=7)
    assert (str(own.shape), own.count, own.data, own.k) == ("(12,3,8)", 50, "mine.npz", 7)
    instance = own.instance(12, 0)
    (pack,) = instance.packs
    assert len(pack.calls) == 12
    np.testing.assert_array_equal(pack.calls[6]["query"], GOOD["queries"][1])
    np.testing.assert_array_equal(pack.arrays["codes"], GOOD["codes"])
    table = reference.distance_table(L2, GOOD["queries"][1], GOOD["codebook"])
    ids, distances = reference.top_k(reference.distances(table, GOOD["codes"]), 7)
    assert pack.check(6, {"table": table, "ids": ids, "distances": distances}, 0.0) is None


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"codes": None}, "it has no array 'codes', but codebook, queries"),
        (
            {"codebook": GOOD["codebook"].astype(float)},
            r"codebook must be float32 of shape \(M, K, dsub\), not",
        ),
        ({"codebook": GOOD["codebook"][0]}, "codebook must be float32 of shape"),
        ({"codes": GOOD["codes"].astype(np.int64)}, r"codes must be uint8 of shape \(N, M\), not int64"),
        ({"codes": GOOD["codes"][:, :2]}, "codes has 2 columns, and codebook M = 3"),
        ({"codes": GOOD["codes"] + 1}, "codes has the value 8, and codebook K = 8"),
        ({"codes": GOOD["codes"][:0]}, "there must be a code and a query at the least"),
        ({"queries": GOOD["queries"][:, :-1]}, "queries has 11 columns, and codebook M x dsub = 12"),
        ({"queries": GOOD["queries"][:0]}, "there must be a code and a query at the least"),
        ({"queries": GOOD["queries"] * np.nan}, "must be finite"),
        ({"queries": GOOD["queries"].astype(object)}, "allow_pickle|Object arrays"),
        ({"codebook": np.zeros((3, 300, 4), np.float32)}, "K from 1 to 256"),
        ({"codebook": np.zeros((3, 8, 0), np.float32)}, "M and dsub are at least 1"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"mine.npz is no file for --data: .*{sentence}|{sentence}"):
        own_data.read(saved(tmp_path, **changes), k=5)


@pytest.mark.parametrize("k", [0, 51])
def test_a_k_that_cannot_be_is_refused(tmp_path: Path, k: int) -> None:
    with pytest.raises(ValueError, match=f"k is {k}, and must be from 1 to N = 50"):
        own_data.read(saved(tmp_path), k=k)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"codebook,codes"])
def test_what_is_no_such_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"mine\.npz is no file for --data: "):
        own_data.read(path, k=5)


def test_one_array_alone_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "mine.npy", GOOD["codes"])
    with pytest.raises(ValueError, match="it holds one array; write it with"):
        own_data.read(tmp_path / "mine.npy", k=5)
