"""The reference is what its docstring says: one float32 operation after the other, in order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from pytest_lance_ar.targets.common.pq import reference
from pytest_lance_ar.targets.pq_l2.metric import L2

Float32 = NDArray[np.float32]
Codes = NDArray[np.uint8]

# Up to 2^50: squares reach 2^100, and sums of them stay finite. Small integers make exact ties.
values = st.one_of(st.integers(-3, 3).map(float), st.floats(-(2.0**50), 2.0**50, width=32), st.floats(-1, 1, width=32))
entries = st.one_of(st.integers(0, 3).map(float), st.floats(0, 2.0**100, width=32), st.floats(0, 1, width=32))


def scalar_table(query: Float32, codebook: Float32) -> Float32:
    num_sub_vectors, num_centroids, dsub = codebook.shape
    table = np.empty((num_sub_vectors, num_centroids), np.float32)
    for m in range(num_sub_vectors):
        for k in range(num_centroids):
            total = np.float32(0)
            for d in range(dsub):
                difference = np.float32(query[m * dsub + d] - codebook[m, k, d])
                total = np.float32(total + np.float32(difference * difference))
            table[m, k] = total
    return table


def scalar_distances(table: Float32, codes: Codes) -> Float32:
    distances = np.empty(len(codes), np.float32)
    for n, code in enumerate(codes):
        total = np.float32(0)
        for m, k in enumerate(code):
            total = np.float32(total + table[m, k])
        distances[n] = total
    return distances


def same_bits(a: Float32, b: Float32) -> bool:
    return a.dtype == b.dtype == np.float32 and a.shape == b.shape and a.tobytes() == b.tobytes()


@st.composite
def searches(draw: st.DrawFn) -> tuple[Float32, Float32]:
    """A query (dim,) and a codebook (M, K, dsub)."""
    parts, centroids, dsub = draw(st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 9)))
    query = draw(hnp.arrays(np.float32, parts * dsub, elements=values))
    return query, draw(hnp.arrays(np.float32, (parts, centroids, dsub), elements=values))


@st.composite
def coded(draw: st.DrawFn) -> tuple[Float32, Codes]:
    """A table (M, K) and codes (N, M)."""
    count, parts, centroids = draw(st.tuples(st.integers(0, 8), st.integers(1, 12), st.integers(1, 6)))
    table = draw(hnp.arrays(np.float32, (parts, centroids), elements=entries))
    return table, draw(hnp.arrays(np.uint8, (count, parts), elements=st.integers(0, centroids - 1)))


@settings(max_examples=60)
@given(search=searches())
def test_distance_table_is_the_scalar_loop(search: tuple[Float32, Float32]) -> None:
    query, codebook = search
    assert same_bits(reference.distance_table(L2, query, codebook), scalar_table(query, codebook))


@settings(max_examples=60)
@given(case=coded())
def test_distances_are_the_scalar_loop(case: tuple[Float32, Codes]) -> None:
    table, codes = case
    assert same_bits(reference.distances(table, codes), scalar_distances(table, codes))


@pytest.mark.parametrize("seed", range(5))
def test_dense_data_of_every_magnitude_is_the_scalar_loop(seed: int) -> None:
    # Drawn arrays are mostly one repeated value; these are all different, where each rounding counts.
    rng = np.random.default_rng(seed)
    parts, centroids, dsub, count = 5, 7, 9, 30
    codebook, query = (
        (rng.standard_normal(size) * 10.0 ** rng.integers(-9, 9, size)).astype(np.float32)
        for size in ((parts, centroids, dsub), (parts * dsub,))
    )
    table = reference.distance_table(L2, query, codebook)
    assert same_bits(table, scalar_table(query, codebook))
    codes = rng.integers(0, centroids, (count, parts)).astype(np.uint8)
    assert same_bits(reference.distances(table, codes), scalar_distances(table, codes))


def test_fused_multiply_add_would_give_other_bits() -> None:
    differences = [2.0**-12, 1 + 2.0**-12]
    query = np.array(differences, np.float32)
    (entry,) = reference.distance_table(L2, query, np.zeros((1, 1, 2), np.float32))[0]
    fused = np.float32(0)
    for difference in differences:
        fused = np.float32(float(fused) + difference * difference)  # exact in float64: rounded once, like FMA
    assert entry == np.float32(1 + 2.0**-11)
    assert fused == np.float32(1 + 2.0**-11 + 2.0**-23)


def test_another_order_or_a_wider_sum_would_give_other_bits() -> None:
    # 2^-24 is half an ulp of 1: added to 1 it is lost, twice, while the two of them together are not.
    query = np.array([1, 2.0**-12, 2.0**-12], np.float32)
    terms = query * query
    other = np.nextafter(np.float32(1), np.float32(2))
    assert reference.distance_table(L2, query, np.zeros((1, 1, 3), np.float32))[0, 0] == 1
    assert reference.distances(terms.reshape(3, 1), np.zeros((1, 3), np.uint8))[0] == 1
    assert np.float32(np.float32(terms[2] + terms[1]) + terms[0]) == other
    assert np.float32(terms.astype(np.float64).sum()) == other


def test_sub_vectors_meet_their_own_centroids_and_codes() -> None:
    query = np.array([0, 0, 10, 10], np.float32)
    codebook = np.array([[[1, 0], [2, 0], [0, 3]], [[10, 10], [11, 12], [10, 14]]], np.float32)
    table = reference.distance_table(L2, query, codebook)
    assert table.tolist() == [[1, 4, 9], [0, 5, 16]]
    codes = np.array([[0, 2], [2, 0], [1, 1], [0, 0]], np.uint8)
    assert reference.distances(table, codes).tolist() == [17, 9, 9, 1]


def test_results_are_read_only() -> None:
    table = reference.distance_table(L2, np.ones(4, np.float32), np.zeros((2, 3, 2), np.float32))
    distances = reference.distances(table, np.zeros((5, 2), np.uint8))
    with pytest.raises(ValueError, match="read-only"):
        table[0, 0] = 0
    with pytest.raises(ValueError, match="read-only"):
        distances[0] = 0


def test_inputs_stay_as_they_are() -> None:
    query, codebook = np.full(4, 2, np.float32), np.ones((2, 3, 2), np.float32)
    table = reference.distance_table(L2, query, codebook)
    codes = np.ones((5, 2), np.uint8)
    reference.distances(table, codes)
    assert (query == 2).all()
    assert (codebook == 1).all()
    assert (table == 2).all()
    assert (codes == 1).all()


def test_a_code_for_each_row_of_the_table() -> None:
    with pytest.raises(ValueError, match="zip"):
        reference.distances(np.ones((3, 2), np.float32), np.zeros((5, 2), np.uint8))


@given(distance=hnp.arrays(np.float32, st.integers(0, 30), elements=entries), k=st.integers(1, 40))
def test_top_k_is_sorted_by_distance_then_id(distance: Float32, k: int) -> None:
    ids, nearest = reference.top_k(distance, k)
    expected = sorted(range(len(distance)), key=lambda n: (distance[n], n))[:k]
    assert ids.dtype == np.int64
    assert ids.tolist() == expected
    assert same_bits(nearest, distance[expected])


def test_top_k_keeps_the_first_ids_among_ties() -> None:
    # Long enough for numpy's unstable sorts to leave their insertion sort.
    distance = np.tile(np.array([2, 1], np.float32), 500)
    ids, nearest = reference.top_k(distance, 600)
    assert ids.tolist() == [*range(1, 1000, 2), *range(0, 200, 2)]
    assert nearest.tolist() == [1] * 500 + [2] * 100


@settings(max_examples=60)
@given(search=searches(), data=st.data())
def test_the_vectorised_reference_is_the_scalar_one_bit_for_bit(
    search: tuple[Float32, Float32], data: st.DataObject
) -> None:
    query, codebook = search
    parts, centroids, _ = codebook.shape
    codes = data.draw(
        hnp.arrays(np.uint8, (data.draw(st.integers(0, 9)), parts), elements=st.integers(0, centroids - 1))
    )
    table = scalar_table(query, codebook)
    for few, block in ((1 << 16, 1 << 15), (0, 1 << 15), (0, 4)):  # at once, in one block, in blocks with a tail
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reference, "FEW", few)
            patch.setattr(reference, "BLOCK", block)
            searcher = reference.Searcher(L2, codebook, codes)
            assert same_bits(searcher.distance_table(query), table)
            assert same_bits(searcher.distances(table), scalar_distances(table, codes))
            some = np.flatnonzero(np.arange(len(codes)) % 3)[::-1]
            assert same_bits(searcher.distances(table, some), scalar_distances(table, codes[some]))


@pytest.mark.parametrize(("count", "parts"), [(1, 512), (2, 512), (200, 512), (131_073, 3)])
def test_many_terms_are_summed_in_order(count: int, parts: int) -> None:
    """Where numpy would rather sum pairwise."""
    rng = np.random.default_rng(count)
    table = (rng.random((parts, 256)) * 10.0 ** rng.integers(-3, 4, (parts, 1))).astype(np.float32)
    codes = rng.integers(0, 256, (count, parts)).astype(np.uint8)
    searcher = reference.Searcher(L2, np.zeros((parts, 256, 1), np.float32), codes)
    assert same_bits(searcher.distances(table), reference.distances(table, codes))
    some = slice(None, None, max(count // 3, 1))
    assert same_bits(np.ascontiguousarray(searcher.distances(table)[some]), scalar_distances(table, codes[some]))
