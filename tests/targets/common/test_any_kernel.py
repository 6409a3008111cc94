"""What targets share serves a kernel that is no product quantizer: here one that takes the k largest of some rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from pytest_lance_ar.targets.common.driver import class_of, must_have, top_k_taker
from pytest_lance_ar.targets.common.extent import bisected
from pytest_lance_ar.targets.common.guards import batch_of, batched
from pytest_lance_ar.targets.common.reduction import Axis, smallest
from pytest_lance_ar.targets.common.specs import fields_of, text_of
from pytest_lance_ar.targets.contract import ContractBroken
from pytest_lance_ar.targets.mismatch import Mismatch
from pytest_lance_ar.targets.protocol import Arrays, Case, Instance, PackInstance


@dataclass(frozen=True)
class Rows:
    """values: float32 (N, width)."""

    values: NDArray[np.float32]
    k: int = 5

    @property
    def spec(self) -> str:
        return str(self.values.tolist())

    @property
    def where(self) -> str:
        return self.spec

    def instance(self) -> Instance:
        raise NotImplementedError


@dataclass(frozen=True)
class Sizes:
    n: int
    width: int

    @property
    def spec(self) -> str:
        return f"n={self.n} width={self.width}"

    @property
    def where(self) -> str:
        return self.spec

    def instance(self) -> Instance:
        raise NotImplementedError

    @property
    def sizes(self) -> dict[str, int]:
        return {"n": self.n, "width": self.width}

    def at(self, axis: str, size: int) -> Sizes:
        return replace(self, **{axis: size})

    def room(self, axis: str) -> int:
        return 1000

    def simpler(self) -> Iterator[Sizes]:
        return iter(())

    def alias(self, axis: str, size: int) -> tuple[str, int, Sizes] | None:
        return ("bytes", 4, replace(self, n=size // 2)) if axis == "width" else None


def test_arrays_become_as_small_as_they_can_be() -> None:
    rows = Axis[Rows](
        lambda case: len(case.values), lambda case, kept: replace(case, values=case.values[kept]), least=0
    )
    columns = Axis[Rows](
        lambda case: case.values.shape[1], lambda case, kept: replace(case, values=case.values[:, kept]), least=1
    )

    def fails(case: Case, *, loosely: bool = False) -> bool:
        assert isinstance(case, Rows)
        assert case.values.shape[1] >= 1
        return bool((case.values > 2.5).sum() >= 2) and case.k >= 3

    values = np.random.default_rng(1).normal(size=(60, 7)).astype(np.float32) * 3
    found = smallest(Rows(values), fails, [rows, None, columns], floats=("values",), integers=())
    assert found.values.size <= 3
    assert found.k == 3 or found.k == 4
    assert set(found.values.ravel().tolist()) <= {0.0, 1.0, 3.0, 4.0, 5.0}


def test_the_sizes_at_which_it_fails_are_told() -> None:
    def fails(case: Case, *, loosely: bool = False) -> bool:
        assert isinstance(case, Sizes)
        return case.n > 37

    case, sentence = bisected(Sizes(500, 20), fails)
    assert case == Sizes(38, 1)
    assert sentence == "wrong for every n above 37"

    def fails_by_width(case: Case, *, loosely: bool = False) -> bool:
        assert isinstance(case, Sizes)
        return case.width > 8 or case.n == 4

    assert bisected(Sizes(3, 20), fails_by_width) == (Sizes(1, 9), "wrong for every bytes above 32")


def test_a_text_says_what_is_unusual_and_comes_back() -> None:
    assert text_of({"n": 3, "kind": "plain", "seed": 0}, {"kind": "plain", "seed": 1}) == "n=3 seed=0"
    assert fields_of("n=3 seed=0 kind=odd", ("n", "seed")) == {"n": 3, "seed": 0, "kind": "odd"}
    with pytest.raises(ValueError, match="x"):
        fields_of("n=x", ("n",))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([1, 2], "must return the tuple"),
        ((np.zeros(2, np.int32), np.zeros(2, np.float32)), "ids as int64 of shape (2,), not int32 of shape (2,)"),
        ((np.zeros(2, np.int64), np.zeros(3, np.float32)), "distances as float32 of shape (2,), not float32 of shape"),
        ((np.zeros(2, np.int64), 1.0), "not a float"),
    ],
)
def test_an_answer_of_another_form_is_told(answer: object, said: str) -> None:
    with pytest.raises(ContractBroken) as told:
        top_k_taker("largest", np.empty(2, np.int64), np.empty(2, np.float32))(answer)
    assert said in str(told.value)
    assert str(told.value).startswith("largest must return")


def test_a_right_answer_is_copied() -> None:
    ids, distances = np.empty(2, np.int64), np.empty(2, np.float32)
    top_k_taker("largest", ids, distances)((np.array([4, 1]), np.array([0.5, 2], np.float32)))
    assert ids.tolist() == [4, 1]
    assert distances.tolist() == [0.5, 2.0]


def test_a_kernel_without_its_class_or_a_method_is_told() -> None:
    with pytest.raises(ContractBroken, match="defines no RowsKernel"):
        class_of(pytest, "RowsKernel")
    with pytest.raises(ContractBroken, match="RowsKernel has no method largest"):
        must_have(object(), "RowsKernel", "largest")


def test_short_calls_are_made_in_one_go() -> None:
    seen: list[tuple[int, float]] = []

    def check(i: int, outputs: Arrays, rtol: float) -> Mismatch | None:
        seen.append((i, float(outputs["sum"])))
        return None

    calls = [{"row": np.full(2, i, np.float32)} for i in range(6)]
    pack = PackInstance(params={}, arrays={}, calls=calls, outputs={"sum": ("float32", ())}, check=check)
    (pack,) = batched(Instance(params={}, arrays={}, packs=[pack]), 3).packs
    assert [call["row"].tolist() for call in pack.calls] == [[[i, i] for i in range(3)], [[i, i] for i in range(3, 6)]]
    assert pack.outputs == {"sum": ("float32", (3,))}
    assert pack.repeats == 3
    assert pack.check(1, {"sum": np.array([6, 8, 10], np.float32)}, 0.0) is None
    assert seen == [(3, 6.0), (4, 8.0), (5, 10.0)]
    assert (batch_of(1e9), batch_of(20_000), batch_of(1)) == (1, 3, 16)
