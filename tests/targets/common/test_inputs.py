"""Inputs are the same bits everywhere, and follow the distribution they are named for."""

from __future__ import annotations

import hashlib
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pytest_lance_ar.targets.common.inputs import DISTRIBUTIONS, EXTREMES, Stream, vectors
from pytest_lance_ar.targets.common.pq.quantizer import sampled_codebook
from pytest_lance_ar.targets.common.pq.shape import PqShape

Float32 = NDArray[np.float32]

# Computed once. A machine, numpy release or edit that changes one bit makes another experiment of every stored seed.
DIGESTS = {
    "gaussian": "9d36dda25bdf4205a2ded886c275c284163795600f62b44cbc4d28879be6b3fb",
    "uniform": "1f9cbc0e44717124f566d9bfdee8f6437291bfe46f8da11f048c5864e6a95469",
    "sparse": "22abfb549c3c7b34a3b1405a118f1c59f65c262b62dd2fbb161d3ca42eff9c72",
    "large_dynamic_range": "5a353829e23cb39f0691bdfa94ba9fdb905c1a8ef2d83c5820ea385926277751",
    "mostly_zero": "39011dcb1ad1a00f076d046374b7660a3451646a5ef49007022d47bb0a4098cc",
    "clustered": "c62e94324d6dba1511e5d8035c4a777a5de380a66bab6989beb4336986b9f822",
    "integers": "f9e25cc9af2af72b9b531b118aeb669c945e92d2225b3861711a3d22ea2b228e",
    "signs": "7ddb28071c0e2dab9d4f6597b17aeee96a1507588e4819eb6c9dec2ec4693d07",
    "close": "8fc457f71413d6c53c341264197b675ced71c9eb9ca3a1c32cbdf33135deea01",
    "offset": "3206b37d9541b7803126521873e8f284030227c7831f68c3946551f7d58ee753",
    "far": "162782a23cd239c130ff663bc3185960dd746d0699c6f35abacdd8d684144eb1",
    "outlier": "1cabb25d87e586e470a17051c7e141c633c769168337727228d0b6ff063a2f1c",
    "scales": "f42611cf989eeeb555f34155d2bcaf40c1a8bf184c958bbd8626b4e7d7826020",
    "tiny": "e76d4b8d4f525acd3e0aedc1dfd21c5dc7cc2d81ca980c58bed08a68d55c4882",
    "huge": "825a73699100d0479bc5b5215b4f0aa9135795249c43c4e69605e5a2a09aa51f",
    "unit": "28c32a650dab8d17897b994e949b8bc09e1479d4f4e9dace519c1351e28dec17",
    "denormal": "5f879e83bef9dd6c3ffdfbae2921a6c72dd76969fc8840cc36479287402e1969",
}
NORMAL_DIGEST = "d0262cb84c96ea52d4f524946783b14ae59469572753e56cab22e5f655af28e1"
WORDS_DIGEST = "6e283afb253086b8f048a7ccc1d3c2ac03f8dc8cad01cda97a97224c6ff82cf8"
CODEBOOK_DIGEST = "f7da82d03711db702dbda39dad8a211b1cc9c0a576485a2a7973cd6a92fd39df"

seeds = st.integers(0, 2**64 - 1)
counts = st.integers(0, 300)


def digest(*arrays: NDArray[np.generic]) -> str:
    """Digest of the values as little-endian bytes, whatever the machine's own order."""
    return hashlib.sha256(b"".join(a.astype(a.dtype.newbyteorder("<")).tobytes() for a in arrays)).hexdigest()


def sample(distribution: str, count: int = 400, dim: int = 250) -> Float32:
    return vectors(distribution, count, dim, seed=20, role="base")


def test_every_distribution_has_a_digest() -> None:
    assert set(DIGESTS) == {*DISTRIBUTIONS, *EXTREMES}


@pytest.mark.parametrize("distribution", DISTRIBUTIONS + EXTREMES)
def test_a_seed_stands_for_these_very_bits(distribution: str) -> None:
    # Odd sizes: words of 64 bits are cut into halves and quarters.
    drawn = [vectors(distribution, 37, 11, seed=seed, role=role) for seed in (0, 2**32 - 1) for role in ("base", "q")]
    assert digest(*drawn) == DIGESTS[distribution]


def test_all_quantiles_are_these_very_bits() -> None:
    values = Stream(0, "digest").normal(400_000)  # enough to meet nearly each of the 65,536 quantiles
    assert digest(values) == NORMAL_DIGEST


def test_no_quantile_depends_on_how_libm_rounds() -> None:
    # inv_cdf calls the platform's log: the float32 is the same everywhere when an error of many ulps cannot change it.
    exact = np.array([NormalDist().inv_cdf(0.5 + (i + 0.5) / 65536) for i in range(32768)])
    spare = 64 * np.spacing(exact)
    np.testing.assert_array_equal((exact - spare).astype(np.float32), (exact + spare).astype(np.float32))
    drawn = Stream(3).normal(10)
    halves = Stream(3)
    first, second = halves.u16(10).astype(np.int64), halves.u16(10).astype(np.int64)
    table = np.concatenate([-exact[::-1], exact]).astype(np.float32)
    np.testing.assert_array_equal(drawn, (table[first] + table[second]) * np.float32(0.70710678))


def test_words_of_every_width_are_these_very_bits() -> None:
    stream = Stream(5, "words", 1)
    drawn = (stream.u64(3), stream.u32(3), stream.u16(5), stream.below(1000, 7), stream.distinct(9, 9), stream.u64(1))
    assert digest(*drawn) == WORDS_DIGEST


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_same_seed_same_bits(distribution: str) -> None:
    first, second = (vectors(distribution, 20, 16, seed=3, role="base") for _ in range(2))
    assert first.tobytes() == second.tobytes()
    assert not np.shares_memory(first, second)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_another_seed_or_role_other_values(distribution: str) -> None:
    drawn = [
        vectors(distribution, 20, 64, seed=seed, role=role).tobytes()
        for seed in (0, 1, 2**32)
        for role in ("base", "query", "query 1")
    ]
    assert len(set(drawn)) == len(drawn)


def test_another_distribution_other_values() -> None:
    drawn = {name: vectors(name, 20, 64, seed=0, role="base") for name in DISTRIBUTIONS}
    assert len({values.tobytes() for values in drawn.values()}) == len(DISTRIBUTIONS)
    # Not the gaussian's own values with holes either: each distribution has a stream of its own.
    for name in ("sparse", "mostly_zero"):
        kept = drawn[name] != 0
        assert kept.any()
        assert not np.isin(drawn[name][kept], drawn["gaussian"][kept]).all()


@pytest.mark.parametrize("distribution", DISTRIBUTIONS + EXTREMES)
@pytest.mark.parametrize(("count", "dim"), [(0, 4), (1, 1), (1, 7), (5, 3)])
def test_what_kernels_get_is_contiguous_float32(distribution: str, count: int, dim: int) -> None:
    values = vectors(distribution, count, dim, seed=1, role="base")
    assert type(values) is np.ndarray
    assert values.dtype == np.dtype(np.float32)
    assert values.shape == (count, dim)
    assert values.flags.c_contiguous
    assert np.isfinite(values).all()


def test_an_unknown_distribution_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"unknown distribution 'gausian'; choose one of .*gaussian.*clustered"):
        vectors("gausian", 1, 1, seed=0, role="base")


# Each bound below leaves ten standard errors or more at this fixed seed and 100,000 values.


def test_gaussian() -> None:
    values = sample("gaussian")
    assert abs(values.mean()) < 0.03
    assert abs(values.std() - 1) < 0.03
    for sd, share in ((1, 0.3173), (2, 0.0455)):
        assert abs((np.abs(values) > sd).mean() - share) < 0.015
    assert np.abs(values).max() > 3.5


def test_uniform() -> None:
    values = sample("uniform")
    assert values.min() >= -1
    assert values.max() < 1
    assert abs(values.mean()) < 0.03
    shares = np.histogram(values, bins=10, range=(-1, 1))[0] / values.size
    assert np.abs(shares - 0.1).max() < 0.01


@pytest.mark.parametrize(("distribution", "density"), [("sparse", 0.10), ("mostly_zero", 0.01)])
def test_most_values_are_zero(distribution: str, density: float) -> None:
    values = sample(distribution)
    kept = values[values != 0]
    assert abs(kept.size / values.size - density) < 0.2 * density + 0.002
    assert abs(kept.mean()) < 0.2
    assert abs(kept.std() - 1) < 0.15
    # Drawn for each value: neither whole columns nor the same number in each row.
    assert len(np.unique((values != 0).sum(axis=1))) > 1
    assert len(np.unique((values != 0).sum(axis=0))) > 1


def test_large_dynamic_range_has_three_magnitudes_side_by_side() -> None:
    values = np.abs(sample("large_dynamic_range"))
    classes = [(values < 6e-3), (values >= 6e-3) & (values < 6), (values >= 6)]
    for members, magnitude in zip(classes, (1e-3, 1.0, 1e3), strict=True):
        assert abs(members.mean() - 1 / 3) < 0.02
        assert members.any(axis=1).all()
        assert abs(np.sqrt((values[members].astype(np.float64) ** 2).mean()) / magnitude - 1) < 0.05


def test_clusters_are_shared_by_base_and_query() -> None:
    dim = 64
    base = vectors("clustered", 400, dim, seed=9, role="base")
    query = vectors("clustered", 100, dim, seed=9, role="query")

    def near(a: Float32, b: Float32) -> NDArray[np.bool_]:
        gap = a[:, np.newaxis].astype(np.float64) - b
        # Per dimension: 2 x 0.10^2 within a cluster, about 2 between two centres.
        return np.asarray((gap**2).mean(axis=2) < 0.2)

    members = np.unique(near(base, base), axis=0)
    assert len(members) == 32
    assert members.sum(axis=0).tolist() == [1] * len(base)
    assert near(query, base).any(axis=1).all()
    others = vectors("clustered", 100, dim, seed=10, role="query")
    assert not near(others, base).any()

    centres = np.array([base[cluster].mean(axis=0) for cluster in members])
    assert abs(centres.std() - 1) < 0.15
    noise = np.concatenate([base[cluster] - centre for cluster, centre in zip(members, centres, strict=True)])
    assert abs(noise.std() - 0.10) < 0.01


@pytest.mark.parametrize("distribution", EXTREMES)
def test_squared_distances_of_extremes_stay_finite(distribution: str) -> None:
    base = vectors(distribution, 60, 4096, seed=3, role="base")
    for query in vectors(distribution, 3, 4096, seed=3, role="query"):
        assert np.isfinite(((base - query) ** 2).sum(axis=1, dtype=np.float32)).all()


def test_extremes_are_what_they_are_called() -> None:
    drawn = {name: vectors(name, 200, 64, seed=3, role="base") for name in EXTREMES}
    assert set(np.unique(drawn["integers"]).tolist()) == {-2, -1, 0, 1, 2}
    zeros = drawn["integers"][drawn["integers"] == 0]
    assert 0 < np.signbit(zeros).sum() < zeros.size
    assert set(np.unique(drawn["signs"]).tolist()) == {-1, 1}
    assert np.abs(drawn["close"]).max() < 1e-2
    assert abs(drawn["offset"].mean() - 4096) < 1
    far_query = vectors("far", 5, 64, seed=3, role="query 0")
    assert np.abs(drawn["far"] - 1000).max() < 0.1
    assert np.abs(far_query).max() < 10
    norms = np.sort(np.linalg.norm(drawn["outlier"], axis=1))
    assert norms[-1] > 1000 * norms[-2]
    smallest = np.finfo(np.float32).smallest_normal
    assert 0 < (drawn["tiny"].astype(np.float64) ** 2).max() < 100 * smallest
    assert np.abs(drawn["huge"]).max() > 1e16
    scaled = [vectors("scales", 50, 64, seed=seed, role="base") for seed in range(9)]
    assert any((values == np.float32(7.5)).all(axis=0).any() for values in scaled)  # a constant column
    assert any(((values != 0) & (np.abs(values) < smallest)).any() for values in scaled)
    np.testing.assert_allclose(np.linalg.norm(drawn["unit"].astype(np.float64), axis=1), 1, rtol=1e-6)
    squares = drawn["denormal"] ** 2
    assert 0 < squares.max() < smallest
    assert np.median(squares) > 0


@given(seed=seeds, count=st.integers(1, 9))
def test_a_stream_is_its_seed_and_its_tags(seed: int, count: int) -> None:
    tags: list[tuple[object, ...]] = [(), ("a",), ("a", "b"), ("ab",), ("b", "a"), (1, 2), (12,)]
    names = [(number, tag) for number in (seed, seed + 1) for tag in tags]
    first = [Stream(number, *tag).u64(count).tobytes() for number, tag in names]
    assert first == [Stream(number, *tag).u64(count).tobytes() for number, tag in names]
    assert len(set(first)) == len(names)


@given(seed=seeds, count=st.integers(1, 50))
def test_a_stream_goes_on(seed: int, count: int) -> None:
    stream = Stream(seed)
    parts = np.concatenate([stream.u64(count), stream.u64(count)])
    np.testing.assert_array_equal(parts, Stream(seed).u64(2 * count))


@given(seed=seeds, count=counts)
def test_narrow_words_are_parts_of_wide_ones(seed: int, count: int) -> None:
    wide = Stream(seed).u64(count).tolist()
    narrow, short = Stream(seed).u32(2 * count).tolist(), Stream(seed).u16(4 * count).tolist()
    assert narrow == [word >> shift & 0xFFFF_FFFF for word in wide for shift in (0, 32)]
    assert short == [word >> shift & 0xFFFF for word in wide for shift in (0, 16, 32, 48)]
    assert len(Stream(seed).u32(count)) == len(Stream(seed).u16(count)) == count


@given(seed=seeds, bound=st.integers(1, 2**32 - 1), count=counts)
def test_below_stays_below(seed: int, bound: int, count: int) -> None:
    drawn = Stream(seed).below(bound, count)
    assert drawn.dtype == np.int64
    assert drawn.shape == (count,)
    assert ((drawn >= 0) & (drawn < bound)).all()


def test_below_meets_every_number_about_as_often() -> None:
    counted = np.bincount(Stream(1).below(7, 70_000), minlength=7)
    assert counted.size == 7
    assert np.abs(counted / 10_000 - 1).max() < 0.1


@given(seed=seeds, bound=st.integers(1, 60), count=counts)
def test_distinct_repeats_nothing_while_it_can(seed: int, bound: int, count: int) -> None:
    drawn = Stream(seed).distinct(bound, count)
    assert drawn.shape == (count,)
    used = np.bincount(drawn, minlength=bound)
    assert used.size == bound
    assert used.max() - used.min() <= 1
    assert len(set(drawn[:bound].tolist())) == min(bound, count)


def test_distinct_is_a_fresh_order() -> None:
    first, second = Stream(1).distinct(50, 50), Stream(2).distinct(50, 50)
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(50))
    assert first.tolist() != second.tolist()


@pytest.mark.parametrize("share", [0.01, 0.10, 0.5, 0.99])
def test_chosen_takes_its_share(share: float) -> None:
    chosen = Stream(4).chosen(share, 100_000)
    assert chosen.dtype == np.bool_
    assert chosen.shape == (100_000,)
    assert abs(chosen.mean() / share - 1) < 0.15
    assert abs(chosen.mean() - share) < 0.02


def test_no_share_chooses_nothing() -> None:
    assert not Stream(4).chosen(0.0, 100_000).any()


@given(
    seed=seeds,
    parts=st.integers(1, 3),
    dsub=st.integers(1, 3),
    centroids=st.integers(1, 20),
    count=st.integers(1, 30),
)
def test_a_sampled_codebook_holds_parts_of_vectors(
    seed: int, parts: int, dsub: int, centroids: int, count: int
) -> None:
    shape = PqShape(parts * dsub, parts, centroids)
    # Each value tells the vector and the place that it came from.
    base = np.arange(count * shape.dim, dtype=np.float32).reshape(count, shape.dim)
    codebook = sampled_codebook(base, shape, Stream(seed))
    assert codebook.dtype == np.float32
    assert codebook.shape == (parts, centroids, dsub)
    for m in range(parts):
        chosen = codebook[m, :, 0].astype(np.int64) // shape.dim
        np.testing.assert_array_equal(codebook[m], base[chosen, m * dsub : (m + 1) * dsub])
        assert len(set(chosen.tolist())) == min(centroids, count)


def test_each_sub_space_samples_for_itself() -> None:
    base = vectors("gaussian", 30, 6, seed=0, role="base")
    codebook = sampled_codebook(base, PqShape(6, 3, 8), Stream(0, "codebook"))
    picked = [[base[:, 2 * m].tolist().index(first) for first in codebook[m, :, 0].tolist()] for m in range(3)]
    assert picked[0] != picked[1] != picked[2] != picked[0]
    assert digest(codebook) == CODEBOOK_DIGEST
