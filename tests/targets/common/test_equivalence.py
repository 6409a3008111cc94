"""Answers that equal the reference's pass, ties in any order; all others fail, and the first wrong element is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from pytest_lance_ar.targets.common.equivalence import (
    MAX_ABS_ERR,
    MAX_SHARE,
    TOPK_DIST_TOL,
    compare_array,
    compare_top_k,
    ulps_apart,
)
from pytest_lance_ar.targets.common.pq import reference
from pytest_lance_ar.targets.mismatch import Mismatch

Float32 = NDArray[np.float32]
Ids = NDArray[np.int64]
Position = tuple[int, ...]

IDS, DISTANCES = "probe_top_k ids", "probe_top_k distances"
BAD = [np.nan, np.inf, -np.inf]

# Up to 100, where float32 resolves the tolerance; small integers make exact ties.
values = st.one_of(st.integers(0, 4).map(float), st.floats(0, 100, width=32))
tables = hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 5)), elements=values)
all_distances = hnp.arrays(np.float32, st.integers(1, 12), elements=values)
ks = st.integers(1, 14)
errors = st.one_of(st.floats(2e-4, 1e3), st.floats(-1e3, -2e-4))


def f32(*numbers: float | np.float32) -> Float32:
    return np.array(numbers, np.float32)


def i64(*numbers: int) -> Ids:
    return np.array(numbers, np.int64)


def step(value: np.float32, towards: float) -> np.float32:
    neighbour: np.float32 = np.nextafter(value, np.float32(towards))
    return neighbour


def up(value: float) -> np.float32:
    return step(np.float32(value), np.inf)


def fails(mismatch: Mismatch | None, what: str, index: Position) -> Mismatch:
    """The mismatch, which must name this place."""
    assert mismatch is not None, "passed"
    assert (mismatch.what, mismatch.index) == (what, index)
    return mismatch


def error_at(expected: Float32, got: Float32, index: Position) -> float:
    return abs(float(got[index]) - float(expected[index]))


def tolerance(answer: Float32) -> float:
    return min(1e-4, 1e-5 * float(answer.max()))


def test_the_tolerances_are_those_of_the_contract() -> None:
    assert MAX_ABS_ERR == TOPK_DIST_TOL == 1e-4
    assert MAX_SHARE == 1e-5


@given(table=tables)
def test_the_reference_table_passes(table: Float32) -> None:
    assert compare_array("distance_table", table, table.copy()) is None


@given(table=tables, data=st.data())
def test_a_table_within_the_tolerance_passes(table: Float32, data: st.DataObject) -> None:
    noise = data.draw(hnp.arrays(np.float64, table.shape, elements=st.floats(-0.9, 0.9))) * tolerance(table)
    assert compare_array("distance_table", table, (table + noise).astype(np.float32)) is None


@settings(max_examples=60)
@given(table=tables, data=st.data())
def test_the_first_wrong_entry_is_named(table: Float32, data: st.DataObject) -> None:
    wrong = data.draw(st.dictionaries(st.integers(0, table.size - 1), errors, min_size=1))
    got = table.copy()
    for place, error in wrong.items():
        got.flat[place] += np.float32(error)
    index = tuple(int(i) for i in np.unravel_index(min(wrong), table.shape))
    mismatch = fails(compare_array("distance_table", table, got), "distance_table", index)
    assert (mismatch.expected, mismatch.got) == (str(table[index]), str(got[index]))
    assert mismatch.abs_error == error_at(table, got, index)
    assert mismatch.ulps == ulps_apart(table[index], got[index])


@pytest.mark.parametrize("sign", [1, -1])
def test_the_tolerance_ends_between_two_floats(sign: int) -> None:
    last = np.float32(1e-4)  # just below the real 1e-4
    assert compare_array("distance_table", f32(0, 10), f32(sign * last, 10)) is None
    fails(compare_array("distance_table", f32(0, 10), f32(sign * up(1e-4), 10)), "distance_table", (0,))
    assert compare_top_k(f32(0, 10), 2, i64(0, 1), f32(sign * last, 10)) is None
    fails(compare_top_k(f32(0, 10), 2, i64(0, 1), f32(sign * up(1e-4), 10)), DISTANCES, (0,))


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e-12, 1e-30])
def test_where_all_values_are_small_the_tolerance_is_a_share_of_the_largest(scale: float) -> None:
    """By powers of two, so that no rounding is in it."""
    unit = np.float32(2.0 ** np.floor(np.log2(scale)))
    within, beyond = np.float32(2.0**-17) * unit, np.float32(2.0**-16) * unit  # 0.76e-5 and 1.5e-5 of the largest
    assert compare_array("distance_table", f32(0, unit), f32(within, unit)) is None
    mismatch = fails(compare_array("distance_table", f32(0, unit), f32(beyond, unit)), "distance_table", (0,))
    assert mismatch.allowed == 1e-5 * float(unit)
    assert str(mismatch).endswith(f"; allowed is {1e-5 * float(unit):.2g}, 1e-5 x the largest value of the answer")
    assert compare_top_k(f32(0, unit), 2, i64(0, 1), f32(within, unit)) is None
    assert fails(compare_top_k(f32(0, unit), 2, i64(0, 1), f32(beyond, unit)), DISTANCES, (0,)).allowed
    # The answer to k = 1 is a zero: what is far away allows nothing.
    assert fails(compare_top_k(f32(0, unit), 1, i64(0), f32(within)), DISTANCES, (0,)).allowed == 0


def test_what_fails_the_first_tolerance_is_told_as_ever() -> None:
    mismatch = fails(compare_array("distance_table", f32(0, 1), f32(0.5, 1)), "distance_table", (0,))
    assert mismatch.allowed is None
    assert "allowed" not in str(mismatch)


@pytest.mark.parametrize("lost", [np.float16, "flush"])
def test_denormal_distances_are_compared_as_well(lost: Any) -> None:
    table = f32(3e-41, 1e-40, 7e-42)
    assert compare_array("distance_table", table, table.copy()) is None
    got = np.zeros_like(table) if lost == "flush" else table.astype(lost).astype(np.float32)
    assert fails(compare_array("distance_table", table, got), "distance_table", (0,)).allowed is not None


@given(table=tables, bad=st.sampled_from(BAD), data=st.data())
def test_a_table_entry_that_is_not_finite_fails(table: Float32, bad: float, data: st.DataObject) -> None:
    index = data.draw(st.tuples(*(st.integers(0, size - 1) for size in table.shape)))
    got = table.copy()
    got[index] = bad
    mismatch = fails(compare_array("distance_table", table, got, rtol=1.0), "distance_table", index)
    assert mismatch.got == str(np.float32(bad))
    assert mismatch.ulps is None
    assert not mismatch.rounding_only


@pytest.mark.parametrize("bad", BAD)
def test_what_is_not_finite_never_matches_itself(bad: float) -> None:
    fails(compare_array("distance_table", f32(bad), f32(bad), rtol=1e-6), "distance_table", (0,))


wrong_tables: list[tuple[Any, str]] = [
    (None, "a NoneType"),
    ([[1.0, 2.0]], "a list"),
    (np.ma.masked_array(np.ones((1, 2), np.float32)), "a MaskedArray"),
    (np.ones((1, 2), np.float64), "float64 with shape (1, 2)"),
    (np.ones((1, 2), np.float16), "float16 with shape (1, 2)"),
    (np.ones((1, 2), ">f4"), ">f4 with shape (1, 2)"),
    (np.ones((2, 1), np.float32), "float32 with shape (2, 1)"),
    (np.ones(2, np.float32), "float32 with shape (2,)"),
    (np.ones((1, 3), np.float32), "float32 with shape (1, 3)"),
    (np.ones((0, 2), np.float32), "float32 with shape (0, 2)"),
]


@pytest.mark.parametrize(("got", "words"), wrong_tables, ids=[words for _, words in wrong_tables])
def test_what_is_no_such_table_fails(got: Any, words: str) -> None:
    mismatch = fails(compare_array("distance_table", np.ones((1, 2), np.float32), got), "distance_table", ())
    assert mismatch.expected == "a numpy array of float32 with shape (1, 2)"
    assert mismatch.got == words
    assert mismatch.abs_error is None


@given(distances=all_distances, k=ks)
def test_the_reference_answer_passes(distances: Float32, k: int) -> None:
    assert compare_top_k(distances, k, *reference.top_k(distances, k)) is None


@given(distances=all_distances, k=ks, data=st.data())
def test_exact_ties_may_stand_in_any_order(distances: Float32, k: int, data: st.DataObject) -> None:
    order = np.array(data.draw(st.permutations(range(len(distances)))))
    ids = order[np.argsort(distances[order], kind="stable")][:k].astype(np.int64)
    assert compare_top_k(distances, k, ids, distances[ids]) is None


def test_an_exact_tie_may_take_the_last_place() -> None:
    distances = f32(1, 2, 2, 2, 0)
    for last in (1, 2, 3):
        assert compare_top_k(distances, 3, i64(4, 0, last), f32(0, 1, 2)) is None


@settings(max_examples=60)
@given(distances=all_distances, k=ks, data=st.data())
def test_a_kernel_that_is_a_little_off_passes(distances: Float32, k: int, data: st.DataObject) -> None:
    share = tolerance(reference.top_k(distances, k)[1])
    noise = data.draw(hnp.arrays(np.float64, distances.shape, elements=st.floats(-0.9, 0.9))) * share
    own = (distances + noise).astype(np.float32)
    assert compare_top_k(distances, k, *reference.top_k(own, k)) is None


@given(base=st.floats(10, 100, width=32), gap=st.floats(0, 9e-5), swapped=st.booleans())
def test_near_ties_may_be_swapped(base: float, gap: float, swapped: bool) -> None:
    low, high = np.float32(base), np.float32(base + gap)
    ids = i64(1, 0, 2) if swapped else i64(0, 1, 2)
    assert compare_top_k(f32(low, high, 200), 3, ids, f32(low, high, 200)) is None
    assert compare_top_k(f32(low, high, 200), 1, ids[:1], f32(low)) is None


@given(base=st.floats(0, 100, width=32), gap=st.floats(2e-4, 50))
def test_what_does_not_tie_may_not_be_swapped(base: float, gap: float) -> None:
    distances = f32(base, base + gap, 200)
    mismatch = fails(compare_top_k(distances, 3, i64(1, 0, 2), distances), DISTANCES, (0,))
    assert "the reference distance of the id" in mismatch.expected


@settings(max_examples=60)
@given(distances=all_distances, k=ks, data=st.data())
def test_the_first_wrong_distance_is_named(distances: Float32, k: int, data: st.DataObject) -> None:
    ids, nearest = reference.top_k(distances, k)
    wrong = data.draw(st.dictionaries(st.integers(0, len(ids) - 1), errors, min_size=1))
    got = nearest.copy()
    for place, error in wrong.items():
        got[place] += np.float32(error)
    index = (min(wrong),)
    mismatch = fails(compare_top_k(distances, k, ids, got), DISTANCES, index)
    assert mismatch.expected == f"{nearest[index]!s} (the reference distance of the id)"
    assert mismatch.got == str(got[index])
    assert mismatch.abs_error == error_at(nearest, got, index)
    assert mismatch.ulps == ulps_apart(nearest[index], got[index])


@settings(max_examples=60)
@given(order=st.permutations(range(10)), data=st.data())
def test_a_missed_nearer_neighbour_fails(order: list[int], data: st.DataObject) -> None:
    distances = np.array(order, np.float32)
    chosen = sorted(data.draw(st.sets(st.sampled_from(range(10)), min_size=1, max_size=9)))
    assume(chosen != list(range(len(chosen))))
    ids = i64(*(order.index(distance) for distance in chosen))
    missed = next(i for i, distance in enumerate(chosen) if distance != i)
    mismatch = fails(compare_top_k(distances, len(chosen), ids, f32(*chosen)), DISTANCES, (missed,))
    assert mismatch.expected == f"{float(missed)} (the reference's distance at this place)"
    assert mismatch.got == str(float(chosen[missed]))


def test_a_neighbour_missed_by_less_than_the_tolerance_passes() -> None:
    assert compare_top_k(f32(16, 16.00009, 50), 1, i64(1), f32(16.00009)) is None
    fails(compare_top_k(f32(16, 16.00011, 50), 1, i64(1), f32(16.00011)), DISTANCES, (0,))


def test_distances_must_not_fall() -> None:
    # Each value is right within the tolerance, at its id and at its place: only the order is wrong.
    distances = f32(1, 1.00005, 1.00002)
    mismatch = fails(compare_top_k(distances, 3, i64(0, 1, 2), distances), DISTANCES, (2,))
    assert mismatch.expected == "ascending order, at least 1.00005"
    assert mismatch.got == "1.00002"
    fails(compare_top_k(f32(1, 1), 2, i64(0, 1), f32(up(1), 1)), DISTANCES, (1,))


@given(distances=all_distances, k=ks, bad=st.sampled_from(BAD), data=st.data())
def test_a_distance_that_is_not_finite_fails(distances: Float32, k: int, bad: float, data: st.DataObject) -> None:
    ids, nearest = reference.top_k(distances, k)
    place = data.draw(st.integers(0, len(ids) - 1))
    got = nearest.copy()
    got[place] = bad
    mismatch = fails(compare_top_k(distances, k, ids, got, rtol=1.0), DISTANCES, (place,))
    assert mismatch.ulps is None
    assert not mismatch.rounding_only


@given(
    distances=all_distances,
    k=ks,
    outside=st.one_of(st.integers(12, 2**63 - 1), st.integers(-(2**63), -1)),
    data=st.data(),
)
def test_an_id_out_of_range_fails(distances: Float32, k: int, outside: int, data: st.DataObject) -> None:
    ids, nearest = reference.top_k(distances, k)
    places = data.draw(st.sets(st.integers(0, len(ids) - 1), min_size=1))
    ids[list(places)] = outside
    mismatch = fails(compare_top_k(distances, k, ids, nearest), IDS, (min(places),))
    assert mismatch.expected == f"an id in [0, {len(distances)})"
    assert mismatch.got == str(outside)


@pytest.mark.parametrize("outside", [3, -1, -3])
def test_ids_end_where_the_vectors_do(outside: int) -> None:
    # numpy would read -1 and -3 as ids of vectors that have the very distances reported.
    fails(compare_top_k(f32(1, 2, 1), 2, i64(0, outside), f32(1, 1)), IDS, (1,))


def test_an_id_may_come_once() -> None:
    mismatch = fails(compare_top_k(f32(1, 1, 1, 2), 3, i64(1, 0, 1), f32(1, 1, 1)), IDS, (2,))
    assert mismatch.expected == "every id once"
    assert mismatch.got == "1 a second time"


@given(distances=hnp.arrays(np.float32, st.integers(2, 12), elements=values), data=st.data())
def test_a_duplicate_fails_wherever_it_stands(distances: Float32, data: st.DataObject) -> None:
    ids, nearest = reference.top_k(distances, len(distances))
    first, second = sorted(data.draw(st.lists(st.integers(0, len(ids) - 1), min_size=2, max_size=2, unique=True)))
    ids[second] = ids[first]
    fails(compare_top_k(distances, len(ids), ids, nearest), IDS, (second,))


def test_the_first_of_two_duplicates_is_named() -> None:
    fails(compare_top_k(f32(1, 1, 1, 1), 4, i64(1, 2, 2, 1), f32(1, 1, 1, 1)), IDS, (2,))


wrong_answers: list[tuple[Any, Any, str, str]] = [
    (i64(0), f32(1), IDS, "int64 with shape (1,)"),
    (i64(0, 1, 2), f32(1, 2, 3), IDS, "int64 with shape (3,)"),
    (i64(0, 1).reshape(1, 2), f32(1, 2), IDS, "int64 with shape (1, 2)"),
    (i64(0, 1).astype(np.int32), f32(1, 2), IDS, "int32 with shape (2,)"),
    (i64(0, 1).astype(np.uint64), f32(1, 2), IDS, "uint64 with shape (2,)"),
    (f32(0, 1), f32(1, 2), IDS, "float32 with shape (2,)"),
    ([0, 1], f32(1, 2), IDS, "a list"),
    (None, f32(1, 2), IDS, "a NoneType"),
    (i64(0, 1), f32(1), DISTANCES, "float32 with shape (1,)"),
    (i64(0, 1), f32(1, 2, 3), DISTANCES, "float32 with shape (3,)"),
    (i64(0, 1), f32(1, 2).reshape(2, 1), DISTANCES, "float32 with shape (2, 1)"),
    (i64(0, 1), f32(1, 2).astype(np.float64), DISTANCES, "float64 with shape (2,)"),
    (i64(0, 1), (1.0, 2.0), DISTANCES, "a tuple"),
    (i64(0, 1), np.ma.masked_array(f32(1, 2)), DISTANCES, "a MaskedArray"),
]


@pytest.mark.parametrize(("ids", "distances", "what", "got"), wrong_answers)
def test_what_is_no_such_answer_fails(ids: Any, distances: Any, what: str, got: str) -> None:
    mismatch = fails(compare_top_k(f32(1, 2, 3), 2, ids, distances), what, ())
    dtype = "int64" if what == IDS else "float32"
    assert mismatch.expected == f"a numpy array of {dtype} with shape (2,)"
    assert mismatch.got == got


def test_no_vectors_no_answer() -> None:
    assert compare_top_k(f32(), 10, i64(), f32()) is None
    fails(compare_top_k(f32(), 10, i64(0), f32(1)), IDS, ())
    fails(compare_top_k(f32(), 10, i64(), f32(1)), DISTANCES, ())
    fails(compare_top_k(f32(), 10, i64(), f32().astype(np.float64)), DISTANCES, ())


def test_fewer_vectors_than_k() -> None:
    assert compare_top_k(f32(2, 1), 10, i64(1, 0), f32(1, 2)) is None
    fails(compare_top_k(f32(2, 1), 10, i64(1), f32(1)), IDS, ())


def test_rtol_is_a_share_of_the_reference() -> None:
    table, got = f32(1, 1000), f32(1, 1000.0009)  # off by 9.2e-4
    fails(compare_array("distance_table", table, got), "distance_table", (1,))
    fails(compare_array("distance_table", table, got, rtol=9e-7), "distance_table", (1,))
    assert compare_array("distance_table", table, got, rtol=1e-6) is None
    fails(compare_array("distance_table", f32(1, 1), f32(1, 1.0009), rtol=1e-6), "distance_table", (1,))


def test_rtol_is_no_second_helping() -> None:
    # Off by 1.04e-3: more than 1e-6 of 1000, less than that and 1e-4 together.
    fails(compare_array("distance_table", f32(1000), f32(1000.00104), rtol=1e-6), "distance_table", (0,))
    # Small values keep the absolute tolerance.
    assert compare_array("distance_table", f32(0, 10), f32(9e-5, 10.00009), rtol=1e-6) is None


def test_rtol_holds_for_top_k_at_both_comparisons() -> None:
    distances = f32(1000, 1000.0009, 5000)
    off = f32(1000.0009)
    fails(compare_top_k(distances, 1, i64(0), off), DISTANCES, (0,))
    assert compare_top_k(distances, 1, i64(0), off, rtol=1e-6) is None
    mismatch = fails(compare_top_k(distances, 1, i64(1), off), DISTANCES, (0,))
    assert "at this place" in mismatch.expected
    assert compare_top_k(distances, 1, i64(1), off, rtol=1e-6) is None
    fails(compare_top_k(distances, 1, i64(2), f32(5000), rtol=1e-6), DISTANCES, (0,))


@pytest.mark.parametrize(
    ("got", "rounding_only"),
    [
        (f32(1, 1000.0009), True),
        (f32(1.00009, 1000.0009), True),
        (f32(1, 1000.002), False),
        (f32(1.0002, 1000), False),
        (f32(1.0002, 1000.0009), False),
        (f32(np.nan, 1000.0009), False),
    ],
)
def test_rounding_is_told_apart(got: Float32, rounding_only: bool) -> None:
    for mismatch in (
        compare_array("distance_table", f32(1, 1000), got),
        compare_top_k(f32(1, 1000), 2, i64(0, 1), got),
    ):
        assert mismatch is not None
        assert mismatch.rounding_only is rounding_only


def test_a_value_far_behind_the_first_wrong_one_is_no_rounding() -> None:
    mismatch = fails(compare_array("distance_table", f32(1000, 1000), f32(1000.0009, 7)), "distance_table", (0,))
    assert not mismatch.rounding_only


@pytest.mark.parametrize("ids", [i64(0, 0), i64(0, 9)], ids=["duplicate", "outside"])
def test_wrong_ids_are_no_rounding(ids: Ids) -> None:
    assert not fails(compare_top_k(f32(1, 1), 2, ids, f32(1, 1)), IDS, (1,)).rounding_only


def test_a_missed_neighbour_is_no_rounding() -> None:
    # The distance of id 1 is off by rounding, and id 0 is nearer by far: no --lance-ar-rtol lets this pass.
    got = f32(4096.001)
    assert compare_top_k(f32(0, 4096), 1, i64(1), got, rtol=1e-6) is not None
    mismatch = compare_top_k(f32(0, 4096), 1, i64(1), got)
    assert mismatch is not None
    assert not mismatch.rounding_only


def test_the_sentence_names_place_values_and_size() -> None:
    table = np.ones((2, 3), np.float32)
    got = table.copy()
    got[1, 2] = 1.5
    assert str(compare_array("distance_table", table, got)) == (
        "distance_table[1, 2]: expected 1.0, got 1.5, abs error 0.5, 4194304 ulps"
    )


finite = st.floats(width=32, allow_nan=False, allow_infinity=False).map(np.float32)


@given(start=finite, steps=st.integers(0, 40), upwards=st.booleans())
def test_ulps_count_the_steps(start: np.float32, steps: int, upwards: bool) -> None:
    end = start
    for _ in range(steps):
        end = step(end, np.inf if upwards else -np.inf)
    assume(bool(np.isfinite(end)))
    assert ulps_apart(start, end) == ulps_apart(end, start) == steps


@given(below=st.integers(0, 30), above=st.integers(0, 30))
def test_ulps_across_zero(below: int, above: int) -> None:
    low = high = np.float32(0)
    for _ in range(below):
        low = step(low, -np.inf)
    for _ in range(above):
        high = step(high, np.inf)
    assert ulps_apart(low, high) == ulps_apart(high, low) == below + above


def test_ulps_of_what_has_none() -> None:
    one = np.float32(1)
    assert ulps_apart(np.float32(0.0), np.float32(-0.0)) == 0
    assert ulps_apart(one, np.float32(2)) == 2**23
    for bad in map(np.float32, BAD):
        assert ulps_apart(one, bad) is None
        assert ulps_apart(bad, one) is None
        assert ulps_apart(bad, bad) is None
