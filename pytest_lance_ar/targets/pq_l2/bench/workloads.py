"""Code sets and queries of any size, shape and data, for the benchmark."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from pytest_lance_ar.targets.common import inputs
from pytest_lance_ar.targets.common.embeddings import word_embeddings
from pytest_lance_ar.targets.common.inputs import Float32, Stream
from pytest_lance_ar.targets.common.pq import cases, quantizer
from pytest_lance_ar.targets.common.pq.answers import instance_of
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.common.pq.target import SPEED_K, SPEED_VECTORS
from pytest_lance_ar.targets.pq_l2.metric import L2
from pytest_lance_ar.targets.protocol import Instance

REAL: Final = "embeddings"
HEAVY_TAILED: Final = ("student_t2", "student_t3", "lognormal")
_CHUNK: Final = 25_000
"""Vectors in memory at a time, and a thread."""


@dataclass(frozen=True)
class Workload:
    """One code set of `count` vectors, searched for the SPEED_K nearest."""

    shape: PqShape
    data: str
    count: int = SPEED_VECTORS

    @property
    def name(self) -> str:
        return f"{self.shape} {self.data}, N {self.count:,}"

    def instance(self, queries: int, seed: int) -> Instance:
        """The instance with so many queries. Up to _CHUNK vectors of a speed combo are those that the gate draws."""
        if self.data == REAL:
            words = word_embeddings()
            assert words is not None
            words = words[Stream(seed, REAL).distinct(len(words), queries + self.count)]
            asked, chunks = words[:queries], iter([words[queries:]])
        else:
            asked, chunks = drawn(self.data, queries, self.shape.dim, seed=seed, role="query"), self._chunks(seed)
        first = next(chunks)
        numbers = (self.shape.dim, self.shape.num_sub_vectors, self.shape.num_centroids)
        codebook = quantizer.trained_codebook(
            np.ascontiguousarray(first[: cases.FIXTURE_VECTORS]),
            self.shape,
            Stream(seed, "codebook", self.data, *numbers),
        )
        codes = [quantizer.encode(first, codebook), *(quantizer.encode(chunk, codebook) for chunk in chunks)]
        return instance_of(L2, self.shape, codebook, [(np.concatenate(codes), asked)], SPEED_K)

    def _chunks(self, seed: int) -> Iterator[Float32]:
        for number, start in enumerate(range(0, self.count, _CHUNK)):
            role = f"base {number}" if number else "base"
            yield drawn(self.data, min(_CHUNK, self.count - start), self.shape.dim, seed=seed, role=role)


def drawn(data: str, count: int, dim: int, *, seed: int, role: str) -> Float32:
    """Vectors of one of the gate's distributions or of HEAVY_TAILED: float32 (count, dim).

    student_tV: Student's t with V degrees of freedom, whose variance is infinite for V = 2; lognormal: exp(N(0,1)).
    """
    if data in inputs.DISTRIBUTIONS or data.startswith("student_t"):
        return inputs.vectors(data, count, dim, seed=seed, role=role)
    stream, size = Stream(seed, data, dim, role), count * dim
    if data == "lognormal":
        values = np.exp(stream.normal(size))
    else:
        raise ValueError(f"unknown data {data!r}")
    return np.ascontiguousarray(values.reshape(count, dim), dtype=np.float32)
