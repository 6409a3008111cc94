"""The quantizer does what literal loops over float32 values do, bit for bit."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from pytest_lance_ar.targets.common.inputs import DISTRIBUTIONS, EXTREMES, Stream, vectors
from pytest_lance_ar.targets.common.pq import quantizer
from pytest_lance_ar.targets.common.pq.shape import PqShape

Float32 = NDArray[np.float32]
Codes = NDArray[np.uint8]

# Small integers make exact ties; the sum of squares of 2^50 stays finite.
values = st.one_of(st.integers(-2, 2).map(float), st.floats(-(2.0**50), 2.0**50, width=32), st.floats(-1, 1, width=32))


def literal_codes(base: Float32, codebook: Float32) -> Codes:
    """The nearest centroid by a scalar float32 loop; a later one must be strictly nearer."""
    num_sub_vectors, num_centroids, dsub = codebook.shape
    codes = np.empty((len(base), num_sub_vectors), np.uint8)
    for n in range(len(base)):
        for m in range(num_sub_vectors):
            nearest = np.float32(np.inf)
            for k in range(num_centroids):
                total = np.float32(0)
                for d in range(dsub):
                    difference = np.float32(base[n, m * dsub + d] - codebook[m, k, d])
                    total = np.float32(total + np.float32(difference * difference))
                if total < nearest:
                    nearest = total
                    codes[n, m] = k
    return codes


def literal_start(base: Float32, shape: PqShape, stream: Stream) -> Float32:
    dsub = shape.sub_vector_dim
    picks = [stream.distinct(len(base), shape.num_centroids) for _ in range(shape.num_sub_vectors)]
    return np.array([base[pick, m * dsub : (m + 1) * dsub] for m, pick in enumerate(picks)])


def literal_training(base: Float32, shape: PqShape, stream: Stream) -> Float32:
    codebook = literal_start(base, shape, stream)
    dsub = shape.sub_vector_dim
    for _ in range(2):
        codes = literal_codes(base, codebook)
        for m in range(shape.num_sub_vectors):
            for k in range(shape.num_centroids):
                members = base[codes[:, m] == k, m * dsub : (m + 1) * dsub].astype(np.float64)
                if len(members):
                    total = np.zeros(dsub)
                    for member in members:
                        total = total + member
                    codebook[m, k] = (total / len(members)).astype(np.float32)
    return codebook


@st.composite
def problems(draw: st.DrawFn) -> tuple[Float32, Float32]:
    """Vectors (N, dim) and a codebook (M, K, dsub) whose centroids are partly vectors again."""
    parts, dsub = draw(st.integers(1, 3)), draw(st.integers(1, 9))
    centroids, count = draw(st.integers(1, 13)), draw(st.integers(0, 5))
    base = draw(hnp.arrays(np.float32, (count, parts * dsub), elements=values))
    return base, draw(hnp.arrays(np.float32, (parts, centroids, dsub), elements=values))


@settings(max_examples=60)
@given(problem=problems())
def test_encode_is_the_literal_argmin(problem: tuple[Float32, Float32]) -> None:
    base, codebook = problem
    codes = quantizer.encode(base, codebook)
    assert codes.dtype == np.uint8
    np.testing.assert_array_equal(codes, literal_codes(base, codebook))


@pytest.mark.parametrize("distribution", ["clustered", "uniform", "sparse", "mostly_zero"])
@pytest.mark.parametrize("shape", [PqShape(32, 4, 256), PqShape(27, 27, 60), PqShape(16, 1, 5)], ids=str)
def test_codes_for_timing_are_of_centroids_as_near(distribution: str, shape: PqShape) -> None:
    base = vectors(distribution, 9001, shape.dim, seed=7, role="base")  # more than one step, and a part of one
    codebook = quantizer.trained_codebook(base[:500], shape, Stream(7))
    codes, exact = quantizer.encode_for_timing(base, codebook), quantizer.encode(base, codebook)
    assert codes.dtype == np.uint8
    assert (codes != exact).mean() < 1e-3
    parts, of_part = base.reshape(len(base), shape.num_sub_vectors, -1), np.arange(shape.num_sub_vectors)
    near, nearest = (((parts - codebook[of_part, some]) ** 2).sum(axis=2) for some in (codes, exact))
    assert (near - nearest).max() < 1e-5 * max(1, np.square(codebook).sum(axis=2).max())


@pytest.mark.parametrize("dsub", range(1, 10))
@pytest.mark.parametrize("centroids", [3, 37])
def test_encode_on_dense_data(dsub: int, centroids: int) -> None:
    # Drawn arrays are mostly one repeated value; here all differ, and their magnitudes do.
    rng = np.random.default_rng(dsub)
    base = (rng.standard_normal((6, 2 * dsub)) * 10.0 ** rng.integers(-3, 4, (6, 2 * dsub))).astype(np.float32)
    codebook = rng.standard_normal((2, centroids, dsub)).astype(np.float32)
    np.testing.assert_array_equal(quantizer.encode(base, codebook), literal_codes(base, codebook))


@pytest.mark.parametrize("nearest", [0, 1, 127, 128, 254, 255])
def test_every_byte_is_a_code(nearest: int) -> None:
    codebook = np.full((1, 256, 2), 5, np.float32)
    codebook[0, nearest] = 1
    assert quantizer.encode(np.zeros((1, 2), np.float32), codebook).tolist() == [[nearest]]


@pytest.mark.parametrize("first", [0, 100, 254])
def test_the_first_of_equal_centroids_wins(first: int) -> None:
    codebook = np.full((1, 256, 3), 5, np.float32)
    codebook[0, first:] = 1
    # As near, but not the same: a tie of the sums.
    codebook[0, first + 1] = -1
    assert quantizer.encode(np.zeros((1, 3), np.float32), codebook).tolist() == [[first]]


@pytest.mark.parametrize("zeros", range(6))
@pytest.mark.parametrize(
    ("tied", "exact"),
    [
        # FMA keeps the low bits of the second square.
        ((2.0**-12, 1 + 2.0**-12, 0.0), (0.0, 1 + 2.0**-12, 0.0)),
        # Summed backwards, in pairs or in float64, the two small squares count.
        ((1.0, 2.0**-12, 2.0**-12), (1.0, 0.0, 0.0)),
    ],
    ids=["fma", "order"],
)
def test_ties_are_those_of_sequential_float32(
    zeros: int, tied: tuple[float, float, float], exact: tuple[float, float, float]
) -> None:
    # Zeros before and behind move the terms through the unrolled loop and its remainder.
    for before in range(zeros + 1):
        behind = zeros - before
        codebook = np.array([[[0.0] * before + [*entry] + [0.0] * behind for entry in (tied, exact)]], np.float32)
        codes = quantizer.encode(np.zeros((1, 3 + zeros), np.float32), codebook)
        assert codes.tolist() == [[0]], before


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("shape", [PqShape(6, 3, 5), PqShape(7, 1, 12), PqShape(4, 4, 3), PqShape(18, 2, 2)], ids=str)
def test_training_is_a_sample_and_two_lloyd_iterations(distribution: str, shape: PqShape) -> None:
    base = vectors(distribution, 25, shape.dim, seed=1, role="base")
    codebook = quantizer.trained_codebook(base, shape, Stream(2))
    assert codebook.dtype == np.float32
    assert codebook.flags.c_contiguous
    assert codebook.tobytes() == literal_training(base, shape, Stream(2)).tobytes()


@given(
    base=hnp.arrays(np.float32, st.tuples(st.integers(1, 9), st.just(6)), elements=values),
    parts=st.sampled_from([1, 2, 3, 6]),
    centroids=st.integers(1, 7),
    seed=st.integers(0, 1000),
)
def test_training_on_drawn_vectors(base: Float32, parts: int, centroids: int, seed: int) -> None:
    shape = PqShape(6, parts, centroids)
    codebook = quantizer.trained_codebook(base, shape, Stream(seed))
    assert codebook.tobytes() == literal_training(base, shape, Stream(seed)).tobytes()


def test_training_moves_centroids_twice() -> None:
    base = vectors("gaussian", 40, 4, seed=1, role="base")
    shape = PqShape(4, 1, 4)
    start = literal_start(base, shape, Stream(2))
    codebook = quantizer.trained_codebook(base, shape, Stream(2))

    def error(centroids: Float32) -> float:
        codes = quantizer.encode(base, centroids)[:, 0]
        return float(((base - centroids[0, codes]) ** 2).sum())

    assert error(codebook) < error(start)


def test_a_centroid_without_members_stays() -> None:
    # Five centroids of three vectors: the last two repeat the first two, and lose every tie against them.
    base = np.array([[0, 0], [1, 5], [9, 1]], np.float32)
    shape = PqShape(2, 2, 5)
    start = literal_start(base, shape, Stream(0))
    np.testing.assert_array_equal(start[:, 3:], start[:, :2])
    np.testing.assert_array_equal(quantizer.trained_codebook(base, shape, Stream(0)), start)


def test_means_are_summed_in_float64() -> None:
    # In float32 a one is lost beside 2^24, and the mean falls short.
    base = np.array([[2.0**24], [1], [1], [2]], np.float32)
    assert quantizer.trained_codebook(base, PqShape(1, 1, 1), Stream(0)).tolist() == [[[2.0**22 + 1]]]


def test_training_leaves_the_vectors_alone() -> None:
    base = vectors("uniform", 20, 4, seed=0, role="base")
    before = base.copy()
    quantizer.encode(base, quantizer.trained_codebook(base, PqShape(4, 2, 6), Stream(0)))
    np.testing.assert_array_equal(base, before)


@pytest.mark.parametrize("distribution", [*DISTRIBUTIONS, *EXTREMES])
def test_what_matrix_products_leave_open_is_decided_by_the_sums(distribution: str) -> None:
    """As many centroids as there can be, many near ties, and values of every kind."""
    shape = PqShape(20, 4, 256)
    base = vectors(distribution, 300, shape.dim, seed=3, role="base")
    codebook = quantizer.trained_codebook(base, shape, Stream(3))
    parts = base.reshape(len(base), 4, 1, 5)
    sums = np.zeros((len(base), 4, 256), np.float32)
    for d in range(5):
        difference = parts[..., d] - codebook[:, :, d]
        sums += difference * difference
    np.testing.assert_array_equal(quantizer.encode(base, codebook), sums.argmin(axis=2))


def test_many_vectors_are_coded_like_few() -> None:
    """What is done in pieces has no seams."""
    base = vectors("integers", 2600, 4, seed=4, role="base")
    codebook = quantizer.trained_codebook(base[:300], PqShape(4, 2, 200), Stream(4))
    pieces = [quantizer.encode(base[start : start + 13], codebook) for start in range(0, len(base), 13)]
    np.testing.assert_array_equal(quantizer.encode(base, codebook), np.concatenate(pieces))


def test_numba_has_no_part_in_it() -> None:
    commands = [
        "import sys",
        "from pytest_lance_ar.targets.pq_l2.target import TARGET",
        "TARGET.workload(TARGET.combos[0], 1, 0)",
        "assert 'numba' not in sys.modules",
    ]
    subprocess.run([sys.executable, "-c", "\n".join(commands)], check=True)
