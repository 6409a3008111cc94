"""Tests of the target, and its suite against the kernel that stands in kernel/."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from u8_l2.suite import *  # noqa: F403 the suite, as part of these tests
from u8_l2.target import DISTRIBUTIONS, TARGET, Drawn, Literal, parse, reference


def test_the_reference_by_hand() -> None:
    vectors = np.array([[0, 255], [3, 4], [255, 255]], np.uint8)
    assert reference(np.array([0, 0], np.uint8), vectors).tolist() == [65025, 25, 130050]


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_one_wrong_distance_is_found(distribution: str) -> None:
    (pack,) = Drawn(distribution, seed=1, n=40, dim=9).instance().packs
    right = reference(pack.calls[0]["query"], pack.arrays["vectors"])
    assert pack.check(0, {"distances": right}, 0.0) is None
    wrong = right.copy()
    wrong[17] += 1
    mismatch = pack.check(0, {"distances": wrong}, 0.0)
    assert mismatch is not None
    assert mismatch.index == (17,)


@pytest.mark.parametrize("case", [Drawn("sparse", 5, 3, 7, 2), Literal(((1, 2), (3, 4)), (5, 6))])
def test_a_case_is_rebuilt_from_its_text(case: Drawn | Literal) -> None:
    assert parse(case.spec) == case


@pytest.mark.parametrize("spec", ["", "n=1", "distribution=no seed=1 n=1 dim=1", '{"vectors":[[1]],"query":[1,2]}'])
def test_what_is_no_case_is_refused(spec: str) -> None:
    with pytest.raises(ValueError, match="not a case"):
        parse(spec)


def test_a_failure_is_reduced_to_the_sizes_that_it_takes() -> None:
    def still_fails(case: Drawn, *, loosely: bool = False) -> bool:
        return case.n >= 5 and case.dim > 48

    case, extent = TARGET.reduced(Drawn("uniform", 1, 700, 300), still_fails)
    assert (case.n, case.dim) == (5, 49)
    assert "dim 49" in extent


def test_workloads_can_be_pickled_and_are_new_for_every_seed() -> None:
    for combo in TARGET.combos:
        one, other = (TARGET.workload(combo, 2, seed).packs[0] for seed in (1, 2))
        assert (one.calls[0]["query"] != other.calls[0]["query"]).any()
        assert len(pickle.loads(pickle.dumps(one)).calls) == 2
        assert TARGET.floor_ns(combo) > 0


def test_guards_are_drawn_from_their_family_and_rebuilt_from_their_text() -> None:
    for guard in TARGET.guards(7):
        assert TARGET.parse_guard(guard.spec) == guard
        (pack,) = guard.instance(2).packs
        assert 50_000 <= pack.arrays["vectors"].size <= 20_000_000
    assert TARGET.guards(7) != TARGET.guards(8)
