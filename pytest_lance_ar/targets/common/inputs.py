"""Inputs that are the same, bit for bit, on every machine.

Every value is made from the raw 64-bit words of PCG64 by integer arithmetic, table look-ups and single IEEE-754
operations: no BLAS, no SIMD transcendental, nor a sampler whose stream may change with a numpy release. libm is asked
for the table of quantiles alone, and none of those lies so near a float32 rounding boundary that its last bit matters.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

DISTRIBUTIONS: Final = ("gaussian", "uniform", "sparse", "large_dynamic_range", "mostly_zero", "clustered")
EXTREMES: Final = (
    "integers",
    "signs",
    "close",
    "offset",
    "far",
    "outlier",
    "scales",
    "tiny",
    "huge",
    "unit",
    "denormal",
)
"""Values that arithmetic goes wrong on; see `_extreme`. Squared distances of up to 4,096 dimensions stay finite."""

HEAVY_TAILED: Final = ("student_t2", "student_t3")
"""Student's t with two and with three degrees of freedom; the variance of the first is infinite."""

SPARSE_DENSITY: Final = 0.10
MOSTLY_ZERO_DENSITY: Final = 0.01
NUM_CLUSTERS: Final = 32
CLUSTER_SD: Final = np.float32(0.10)
MAGNITUDES: Final = np.array([1e-3, 1.0, 1e3], dtype=np.float32)
SCALES: Final = np.array([0.0, 2.0**-140, 1e-22, 1e-3, 1.0, 1e3], dtype=np.float32)

_U16: Final = 1 << 16
_SQRT_HALF: Final = np.float32(0.70710678)


class Stream:
    """A stream of random words that belongs to one purpose: the seed and the tags choose it."""

    def __init__(self, seed: int, *tags: object) -> None:
        name = "\x1f".join(map(str, (seed, *tags))).encode()
        self._words = np.random.PCG64(int.from_bytes(hashlib.blake2b(name, digest_size=16).digest(), "little"))

    def u64(self, count: int) -> NDArray[np.uint64]:
        return np.asarray(self._words.random_raw(count), dtype="<u8")

    def u32(self, count: int) -> NDArray[np.uint32]:
        return self.u64(-(-count // 2)).view("<u4")[:count]

    def u16(self, count: int) -> NDArray[np.uint16]:
        return self.u64(-(-count // 4)).view("<u2")[:count]

    def below(self, bound: int, count: int) -> NDArray[np.int64]:
        """`count` integers in [0, bound); the bias of the modulus is below bound / 2^32."""
        return np.asarray(self.u32(count) % np.uint32(bound), dtype=np.int64)

    def distinct(self, bound: int, count: int) -> NDArray[np.int64]:
        """`count` integers in [0, bound), all different while there are enough of them."""
        order = np.argsort(self.u64(bound), kind="stable")
        return np.asarray(order[np.arange(count) % bound])

    def orders(self, bound: int, count: int) -> NDArray[np.int64]:
        """What `count` calls of `distinct(bound, bound)` return: (count, bound)."""
        return np.argsort(self.u64(count * bound).reshape(count, bound), axis=1, kind="stable")

    def bytes_below(self, bound: int, count: int) -> NDArray[np.uint8]:
        """`count` integers in [0, bound), bound at most 256: cheap, where there are millions of them. The bias is below
        bound / 2^16, and none where the bound is a power of two."""
        if bound == 256:
            return self.u64(-(-count // 8)).view(np.uint8)[:count]
        return np.asarray(self.u16(count).astype(np.uint32) * np.uint32(bound) >> np.uint32(16), dtype=np.uint8)

    def normal(self, count: int) -> Float32:
        """N(0,1): the sum of two values from a table of 65,536 quantiles, over the square root of two."""
        table = _normal_quantiles()  # as long as 16 bits reach: no index is to be looked at, none wraps
        values: Float32 = table.take(self.u16(count), mode="wrap")
        values += table.take(self.u16(count), mode="wrap")
        values *= _SQRT_HALF
        return values

    def uniform(self, count: int) -> Float32:
        """Uniform on [-1, 1), on a grid of 2^-23: exact in float32."""
        bits = (self.u32(count) >> np.uint32(8)).astype(np.float32)
        return np.asarray(bits * np.float32(2.0**-23) - np.float32(1.0), dtype=np.float32)

    def chosen(self, share: float, count: int) -> NDArray[np.bool_]:
        """True for `share` of the places, to the nearest 1/65,536."""
        return np.asarray(self.u16(count) < np.uint16(min(round(share * _U16), _U16 - 1)))


@lru_cache(maxsize=1)
def _normal_quantiles() -> Float32:
    inverse = NormalDist().inv_cdf
    upper = np.array([inverse(0.5 + (i + 0.5) / _U16) for i in range(_U16 // 2)], dtype=np.float32)
    table = np.concatenate([-upper[::-1], upper])
    table.setflags(write=False)
    return table


def vectors(distribution: str, count: int, dim: int, *, seed: int, role: str) -> Float32:
    """Draw `count` vectors of `dim` floats: float32 (count, dim), C-contiguous.

    `role` ("base", "query", ...) chooses an independent stream; vectors of all roles under one seed share their
    clusters, their scales and their constant columns. Raises ValueError for a distribution that is none of
    `DISTRIBUTIONS`, `EXTREMES` and `HEAVY_TAILED`.
    """
    if distribution in HEAVY_TAILED:
        return _student_t(distribution, count, dim, seed, role)
    if distribution in EXTREMES:
        return _extreme(distribution, count, dim, seed, role)
    if distribution not in DISTRIBUTIONS:
        raise ValueError(f"unknown distribution {distribution!r}; choose one of {', '.join(DISTRIBUTIONS + EXTREMES)}")
    stream = Stream(seed, distribution, dim, role)
    size = count * dim
    match distribution:
        case "uniform":
            values = stream.uniform(size)
        case "sparse":
            values = stream.normal(size) * stream.chosen(SPARSE_DENSITY, size)
        case "mostly_zero":
            values = stream.normal(size) * stream.chosen(MOSTLY_ZERO_DENSITY, size)
        case "large_dynamic_range":
            values = stream.normal(size) * MAGNITUDES[stream.below(len(MAGNITUDES), size)]
        case "clustered":
            centres = Stream(seed, distribution, dim, "centres").normal(NUM_CLUSTERS * dim).reshape(NUM_CLUSTERS, dim)
            member = _clusters(stream, count)
            noise = stream.normal(size).reshape(count, dim) * CLUSTER_SD
            values = centres[member] + noise
        case _:
            values = stream.normal(size)
    return np.ascontiguousarray(values.reshape(count, dim), dtype=np.float32)


def clusters(count: int, dim: int, *, seed: int, role: str) -> NDArray[np.int64]:
    """Of which cluster each of such clustered vectors is: (count,)."""
    return _clusters(Stream(seed, "clustered", dim, role), count)


def _clusters(stream: Stream, count: int) -> NDArray[np.int64]:
    return stream.below(NUM_CLUSTERS, count)


def _extreme(distribution: str, count: int, dim: int, seed: int, role: str) -> Float32:
    """Adversarial values: float32 (count, dim), finite."""
    stream = Stream(seed, distribution, dim, role)
    normal = stream.normal(count * dim).reshape(count, dim)
    match distribution:
        case "integers":  # exact ties, exact zeros, and zeros of either sign
            values = (stream.below(5, count * dim) - 2).astype(np.float32).reshape(count, dim)
            values = np.where((values == 0) & (normal < 0), np.float32(-0.0), values)
        case "signs":  # -1 or 1: a few distances, all far apart, and the largest there can be
            values = np.where(normal < 0, np.float32(-1.0), np.float32(1.0))
        case "close":  # terms of which no single one counts
            values = normal * np.float32(2.0**-11)
        case "offset":  # far from the origin, near each other: what expands the square cancels
            values = normal + np.float32(4096.0)
        case "far":  # the query is far from all: distances tie but for their last bits
            values = normal if role.startswith("query") else normal * np.float32(2.0**-7) + np.float32(1000.0)
        case "outlier":  # one vector is far from all others, which are all one quantisation step
            factor = np.ones((count, 1), np.float32)
            factor[stream.below(max(count, 1), 1)[:count]] = 1e4
            values = normal * factor
        case "scales":  # runs of columns with a magnitude of their own, among them none
            columns = Stream(seed, distribution, dim, "columns")
            run = np.arange(dim) // (1 + int(columns.below(8, 1)[0]))
            scale = SCALES[columns.below(len(SCALES), dim)][run]
            values = np.where(scale == 0, np.float32(7.5), normal * scale)  # constant columns
        case "tiny":  # squares are denormal, or zero
            values = (
                normal
                * np.float32(2.0**-76)
                * MAGNITUDES[stream.below(len(MAGNITUDES), count * dim)].reshape(count, dim)
            )
        case "unit":  # unit norm, as most embeddings have
            # One addition after the other: in another order the last bit of a norm might differ.
            norms = np.sqrt(np.add.accumulate(normal.astype(np.float64) ** 2, axis=1)[:, -1:])
            values = (normal / np.maximum(norms, np.finfo(np.float64).tiny)).astype(np.float32)
        case "denormal":  # no square is zero for its size, and none is normal
            values = normal * np.float32(2.0**-69)
        case _:  # huge: squares near the top of float32
            values = normal * np.float32(1e16)
    return np.ascontiguousarray(values, dtype=np.float32)


def _student_t(distribution: str, count: int, dim: int, seed: int, role: str) -> Float32:
    """float32 (count, dim)."""
    freedom, size = int(distribution.removeprefix("student_t")), count * dim
    stream = Stream(seed, distribution, dim, role)
    squares = np.square(stream.normal(freedom * size)).reshape(freedom, size).mean(axis=0)
    return np.ascontiguousarray((stream.normal(size) / np.sqrt(squares)).reshape(count, dim), dtype=np.float32)
