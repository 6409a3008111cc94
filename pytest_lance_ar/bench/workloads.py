"""What the benchmark times: code sets and queries, by section."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from pytest_lance_ar.bench import partitions
from pytest_lance_ar.bench.embeddings import DIM, word_embeddings
from pytest_lance_ar.targets.common import inputs
from pytest_lance_ar.targets.common.inputs import Float32, Stream
from pytest_lance_ar.targets.common.pq import cases, quantizer
from pytest_lance_ar.targets.common.pq.answers import instance_of
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.common.pq.target import SHAPES, SPEED_K, SPEED_VECTORS
from pytest_lance_ar.targets.pq_l2.metric import L2
from pytest_lance_ar.targets.pq_l2.target import SPEED_DISTRIBUTIONS, TARGET
from pytest_lance_ar.targets.protocol import Instance

REAL: Final = "embeddings"
HEAVY_TAILED: Final = ("student_t2", "student_t3", "lognormal")
OTHER_SHAPES: Final = (PqShape(96, 12), PqShape(1536, 192), PqShape(100, 20, 200), PqShape(64, 8, 16))
SIZES: Final = (20_000, 200_000, 1_000_000)
_CHUNK: Final = 25_000
"""Vectors in memory at a time, and a thread."""


class Timeable(Protocol):
    """What the benchmark can time. data: what its table calls the data; count: stored vectors."""

    @property
    def shape(self) -> PqShape: ...

    @property
    def data(self) -> str: ...

    @property
    def count(self) -> int: ...

    @property
    def name(self) -> str: ...

    def instance(self, queries: int, seed: int) -> Instance:
        """One pack with so many calls."""
        ...


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
        return instance_of(L2, self.shape, codebook, [(np.concatenate(codes), asked)], SPEED_K, many_calls=True)

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


def instances(workloads: Sequence[Timeable], queries: int, seed: int) -> list[Instance]:
    """Build all, on two cores."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        return list(pool.map(lambda workload: workload.instance(queries, seed), workloads))


@dataclass(frozen=True)
class Section:
    """Workloads that belong into one table. driver, faiss_driver: how contestants are asked, where not as in a duel."""

    title: str
    workloads: tuple[Timeable, ...]
    by_size: bool = False
    driver: str = TARGET.driver
    faiss_driver: str = "pytest_lance_ar.bench.faiss_driver"


def sections(quick: bool = False) -> dict[str, Section]:
    """Every section that the benchmark has, by the option that asks for it. quick: nothing that takes long to build."""
    speed = SPEED_DISTRIBUTIONS
    sizes = SIZES[:2] if quick else SIZES
    real = [] if word_embeddings() is None else [PqShape(DIM, 16), PqShape(DIM, 32)]
    return {
        "combos": Section("The gate's combos", tuple(Workload(shape, data) for shape in SHAPES for data in speed)),
        "sizes": Section(
            "From few vectors to many",
            tuple(Workload(SHAPES[0], data, count) for data in speed for count in sizes),
            by_size=True,
        ),
        "shapes": Section("Other shapes", tuple(Workload(shape, data) for shape in OTHER_SHAPES for data in speed)),
        "data": Section(
            "Other data",
            (
                *(Workload(shape, data) for shape in (SHAPES[0], SHAPES[2]) for data in HEAVY_TAILED),
                *(Workload(SHAPES[0], data) for data in ("gaussian", "large_dynamic_range", "mostly_zero")),
                *(Workload(shape, REAL) for shape in real),
            ),
        ),
        "lance": Section(
            f"As an IVF_PQ index asks: a query visits {partitions.PROBES} of {partitions.PARTITIONS} partitions",
            tuple(partitions.Partitioned(shape) for shape in (SHAPES[0], SHAPES[2])),
            driver=partitions.DRIVER,
            faiss_driver=partitions.FAISS_DRIVER,
        ),
    }
