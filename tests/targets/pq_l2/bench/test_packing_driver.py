"""How much memory packed codes hold."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pytest_lance_ar.targets.pq_l2.bench.packing_driver import Driver, held_bytes

TEN = np.zeros(10, np.uint8)
LOOP: list[Any] = [TEN]
LOOP.append(LOOP)


class Slotted:
    __slots__ = ("codes", "unset")

    def __init__(self) -> None:
        self.codes = TEN


@dataclass(frozen=True)
class Packed:
    codes: Any
    lists: Any


@pytest.mark.parametrize(
    ("value", "held"),
    [
        (TEN, 10),
        (np.zeros((4, 5), np.float32), 80),
        ((TEN, TEN.copy(), 7, None, "text"), 20),
        ((TEN, TEN), 10),
        (TEN[:3], 10),
        ((TEN[:3], TEN.reshape(2, 5)), 10),
        ({"a": [TEN], "b": b"123"}, 13),
        (Packed(TEN, (np.zeros(3, np.int64),)), 34),
        (Slotted(), 10),
        (SimpleNamespace(codes=TEN, module=np, function=held_bytes), 10),
        (np.array([TEN.copy(), None], dtype=object), 26),
        (LOOP, 10),
        (None, 0),
    ],
)
def test_held_bytes(value: object, held: int) -> None:
    assert held_bytes(value) == held


@pytest.mark.parametrize(
    ("pack_codes", "held"), [(lambda codes: (codes.T.copy(), codes.astype(np.uint16)), 60), (None, 20)]
)
def test_a_call_tells_what_packing_held(pack_codes: Any, held: int) -> None:
    methods = {"distance_table": print, "probe_top_k": print, **({"pack_codes": pack_codes} if pack_codes else {})}
    module = ModuleType("kernel")
    vars(module)["PqKernel"] = lambda _shape, _codebook: SimpleNamespace(**methods)
    driver = Driver(module, {"shape": (4, 2, 16)}, {"codebook": None})
    outputs = {"bytes": np.full((), -1, np.int64)}
    driver.pack({}, {"codes": np.zeros((10, 2), np.uint8)}, {}, outputs)()
    assert outputs["bytes"] == held
