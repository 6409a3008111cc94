"""Guard workloads: what a gain must not be paid for with. A family that nobody can tune to, drawn anew for every gain.

The family, COUNT workloads a draw, which the seed alone decides:

- N: log-uniform from 200 to 200,000, one from each of COUNT equal parts of that range;
- shape: dim from 32 to 2,048 and dsub from 1 to 64, log-uniform and spread alike, M at most 512; K from 16 to 256, 256
  in six and 16 in two of them. A code set has at most MAX_LOOK_UPS codes, so large N go with small M;
- k: 1, 10, 100 or 1,000, each in three or four of them;
- data: the battery's distributions, clustered, and Student's t with two and with three degrees of freedom;
- queries: own (like the stored vectors), foreign (from another seed of the same distribution: with clustered data from
  other clusters) or stored (a stored vector itself), each in four or five of them;
- code sets: two of one kernel object, asked in turns, in three of them; else one.

Among them always: one small partition (N from 400 to 600), k = 1,000 on 5,000 vectors or more, two with foreign queries
on clustered data, one shape above 1,000 dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.targets.mismatch import Mismatch
from pytest_lance_ar.targets.pq_l2 import cases, inputs
from pytest_lance_ar.targets.pq_l2.inputs import Float32, Stream
from pytest_lance_ar.targets.pq_l2.shape import PqShape
from pytest_lance_ar.targets.protocol import Arrays, Instance, PackInstance

COUNT: Final = 14
SIZES: Final = (200, 200_000)
DIMS: Final = (32, 2048)
SUB_DIMS: Final = (1, 64)
CENTROIDS: Final = (16, 256)
MAX_SUB_VECTORS: Final = 512
MAX_LOOK_UPS: Final = 3_000_000
"""N x M: a scalar scan takes about 2 ms of them."""

KS: Final = (1,) * 3 + (10,) * 3 + (100,) * 4 + (1000,) * 4
QUERIES: Final = ("own",) * 5 + ("foreign",) * 5 + ("stored",) * 4
DATA: Final = (
    *("clustered",) * 4,
    *("gaussian", "uniform", "sparse") * 2,
    *("large_dynamic_range", "mostly_zero", "student_t2", "student_t3"),
)
CODE_SETS: Final = (1,) * 11 + (2,) * 3
FULL_CENTROIDS: Final = (256,) * 6 + (16,) * 2
SMALL: Final = (400, 600)
MANY: Final = 5_000
WIDE: Final = 1024
WIDE_MAX: Final = 40_000
"""Vectors that a wide shape may have, for M to be no less than a sixteenth of the largest dsub would need."""

POOL: Final = 1024
"""Vectors that a codebook is trained with. A stored vector takes each of its sub-vectors from one of them, of the same
cluster if there are clusters: the sub-vectors of one vector are independent otherwise, so the distribution is kept."""
LLOYD_ITERATIONS: Final = 1
"""One less than the battery has: it is what a draw takes longest for."""
NEAR: Final = np.float32(2.0**-9)
"""How far beside a stored vector a query lies, as a share, when each has been asked for already."""
CALL_NS: Final = 60_000
MAX_BATCH: Final = 16
"""Queries that are answered in one go, so that a call takes about CALL_NS and the round trip is a small part of it."""
LOOK_UP_NS: Final = 0.4
TABLE_NS: Final = 0.15
"""About what a look-up, and a multiply-add of the table, take: it only chooses the batch."""

T = TypeVar("T", int, float, str)
NOTHING: Final[Mapping[int, Any]] = {}


@dataclass(frozen=True)
class GuardWorkload:
    """One workload of the family, or any other of this form.

    shape: of the vectors; n: stored vectors a code set; queries: "own", "foreign" or "stored"; code_sets: 1 or 2.
    """

    shape: PqShape
    distribution: str
    seed: int
    n: int
    k: int
    queries: str = "own"
    code_sets: int = 1

    @property
    def name(self) -> str:
        """In words, for the report."""
        text = f"{self.shape}, {self.distribution}, N {self.n}, k {self.k}"
        text += f", {self.queries} queries" if self.queries != "own" else ""
        return text + (f", {self.code_sets} code sets" if self.code_sets > 1 else "")

    @property
    def spec(self) -> str:
        """One line from which `parse` rebuilds this very workload."""
        numbers = ",".join(map(str, _numbers(self.shape)))
        text = f"shape={numbers} distribution={self.distribution} seed={self.seed} n={self.n} k={self.k}"
        text += f" queries={self.queries}" if self.queries != "own" else ""
        return text + (f" code_sets={self.code_sets}" if self.code_sets > 1 else "")

    @property
    def batch(self) -> int:
        """Queries a call."""
        ns = LOOK_UP_NS * self.n * self.shape.num_sub_vectors + TABLE_NS * self.shape.num_centroids * self.shape.dim
        return max(1, min(MAX_BATCH, round(CALL_NS / ns)))

    def instance(self, calls: int) -> Instance:
        """One kernel object and its code sets, each with so many calls of `batch` queries."""
        from pytest_lance_ar.targets.pq_l2 import quantizer

        pool = vectors(self.distribution, POOL, self.shape.dim, seed=self.seed, role="base")
        codebook = quantizer.trained_codebook(pool, self.shape, Stream(self.seed, "codebook"), LLOYD_ITERATIONS)
        coded = quantizer.encode(pool, codebook)
        packs = []
        for number in range(self.code_sets):
            chosen = self._chosen(number)
            codes = np.ascontiguousarray(coded[chosen, np.arange(self.shape.num_sub_vectors)])
            packs.append((codes, self._queries(pool, chosen, calls * self.batch, number)))
        instance = cases.instance_of(self.shape, codebook, packs, self.k, many_calls=True)
        if self.batch == 1:
            return instance
        return replace(instance, packs=[_batched(pack, self.batch) for pack in instance.packs])

    def _chosen(self, number: int) -> NDArray[np.int64]:
        """From which vector of the pool each sub-vector of each stored vector comes: (N, M)."""
        stream, shape = Stream(self.seed, "stored", number), (self.n, self.shape.num_sub_vectors)
        drawn = stream.u32(self.n * self.shape.num_sub_vectors).reshape(shape).astype(np.int64)
        if self.distribution != "clustered":
            return drawn % POOL
        cluster = inputs.clusters(POOL, self.shape.dim, seed=self.seed, role="base")
        order, sizes = np.argsort(cluster, kind="stable"), np.bincount(cluster, minlength=inputs.NUM_CLUSTERS)
        starts = np.cumsum(sizes) - sizes
        own = cluster[stream.below(POOL, self.n)]  # a cluster of each vector, none of them empty
        return np.asarray(order[starts[own][:, np.newaxis] + drawn % sizes[own][:, np.newaxis]])

    def _queries(self, pool: Float32, chosen: NDArray[np.int64], count: int, number: int) -> Float32:
        """float32 (count, dim), all different."""
        role, dim = f"query {number}", self.shape.dim
        if self.queries != "stored":
            seed = self.seed + (self.queries == "foreign")
            return vectors(self.distribution, count, dim, seed=seed, role=role)
        stream, m = Stream(self.seed, role), self.shape.num_sub_vectors
        which = chosen[stream.distinct(self.n, count)]
        stored = pool.reshape(POOL, m, -1)[which, np.arange(m)].reshape(count, dim)
        again = stored[self.n :]
        again *= np.float32(1) + NEAR * stream.normal(again.size).reshape(again.shape)
        return np.ascontiguousarray(stored)


def parse(spec: str) -> GuardWorkload:
    """Rebuild a workload from its spec. Raises ValueError."""
    try:
        fields: dict[str, Any] = dict(item.split("=", 1) for item in spec.split())
        shape = PqShape(*(int(number) for number in fields.pop("shape").split(",")))
        fields.update({name: int(fields[name]) for name in ("seed", "n", "k", "code_sets") if name in fields})
        workload = GuardWorkload(shape=shape, **fields)
        if workload.distribution not in DATA:
            raise ValueError(f"distribution is one of {', '.join(dict.fromkeys(DATA))}")
        if workload.queries not in QUERIES:
            raise ValueError(f"queries is one of {', '.join(dict.fromkeys(QUERIES))}")
        if not (1 <= workload.n <= 10_000_000 and workload.k >= 1 and workload.code_sets in (1, 2)):
            raise ValueError("n is from 1 to 10,000,000, k at least 1, code_sets 1 or 2")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"not a workload: {spec!r} ({error}); one reads like "
            "'shape=128,16,256 distribution=clustered seed=7 n=700 k=100 queries=foreign code_sets=2'"
        ) from error
    return workload


def family(seed: int) -> tuple[GuardWorkload, ...]:
    """COUNT workloads, the corners first: small, large k, foreign queries on clusters twice, wide. See the head."""
    stream, (low, high) = Stream(seed, "guards"), SMALL
    sizes = sorted(_spread(SIZES, COUNT, stream))
    # The part of the range that has a small partition in its middle gives way to one.
    place = min(range(COUNT), key=lambda i: abs(math.log(sizes[i] ** 2 / (low * high))))
    sizes[place] = low + float(stream.below(high - low + 1, 1)[0])
    centroids = [*FULL_CENTROIDS, *(round(value) for value in _spread(CENTROIDS, COUNT - len(FULL_CENTROIDS), stream))]
    sizes = _dealt(
        sizes, stream, {0: lambda n: low <= n <= high, 1: lambda n: n >= MANY, 4: lambda n: n <= WIDE_MAX and n > high}
    )
    dims = _dealt(_spread(DIMS, COUNT, stream), stream, {4: lambda dim: dim >= WIDE})
    sub_dims = _dealt(_spread(SUB_DIMS, COUNT, stream), stream)
    centroids = _dealt(centroids, stream)
    ks = _dealt(KS, stream, {1: lambda k: k == max(KS)})
    data = _dealt(DATA, stream, dict.fromkeys((2, 3), lambda name: name == "clustered"))
    queries = _dealt(QUERIES, stream, dict.fromkeys((2, 3), lambda kind: kind == "foreign"))
    code_sets, seeds = _dealt(CODE_SETS, stream), stream.u64(COUNT) >> np.uint64(16)
    return tuple(
        GuardWorkload(
            shape=_shape(sizes[i], dims[i], sub_dims[i], centroids[i], wide=i == 4),
            distribution=data[i],
            seed=int(seeds[i]),
            n=round(sizes[i]),
            k=ks[i],
            queries=queries[i],
            code_sets=code_sets[i],
        )
        for i in range(COUNT)
    )


def vectors(distribution: str, count: int, dim: int, *, seed: int, role: str) -> Float32:
    """As `inputs.vectors`; student_tV is Student's t with V degrees of freedom, of infinite variance for V = 2."""
    if not distribution.startswith("student_t"):
        return inputs.vectors(distribution, count, dim, seed=seed, role=role)
    freedom, size = int(distribution.removeprefix("student_t")), count * dim
    stream = Stream(seed, distribution, dim, role)
    squares = np.square(stream.normal(freedom * size)).reshape(freedom, size).mean(axis=0)
    return np.ascontiguousarray((stream.normal(size) / np.sqrt(squares)).reshape(count, dim), dtype=np.float32)


def _batched(pack: PackInstance, batch: int) -> PackInstance:
    """The same calls, so many at a time: inputs and outputs get a first axis."""

    def check(i: int, outputs: Arrays, rtol: float) -> Mismatch | None:
        return next(filter(None, (pack.check(i * batch + j, _one(outputs, j), rtol) for j in range(batch))), None)

    calls = range(len(pack.calls) // batch)
    return replace(
        pack,
        calls=[{"query": np.stack([call["query"] for call in pack.calls[i * batch : (i + 1) * batch]])} for i in calls],
        outputs={name: (kind, (batch, *shape)) for name, (kind, shape) in pack.outputs.items()},
        check=check,
        repeats=batch,
    )


def _one(outputs: Arrays, j: int) -> Arrays:
    return {name: array[j] for name, array in outputs.items()}


def _shape(n: float, dim: float, sub_dim: float, centroids: int, *, wide: bool) -> PqShape:
    """The shape nearest to what was drawn that N allows. wide: dim is kept, else dsub."""
    most = min(MAX_SUB_VECTORS, int(MAX_LOOK_UPS / n))
    dsub = max(round(sub_dim), math.ceil(DIMS[0] / most), math.ceil(dim / most) if wide else 1)
    parts = max(math.ceil(DIMS[0] / dsub), min(most, DIMS[1] // dsub, round(dim / dsub)))
    return PqShape(parts * dsub, parts, centroids)


def _spread(bounds: tuple[int, int], count: int, stream: Stream) -> list[float]:
    """Log-uniform on the bounds, one value in each of `count` equal parts."""
    low, high = bounds
    places = (np.arange(count) + (stream.uniform(count) + 1.0) / 2.0) / count
    return [low * (high / low) ** float(place) for place in places]


def _dealt(deck: Sequence[T], stream: Stream, wanted: Mapping[int, Callable[[T], bool]] = NOTHING) -> list[T]:
    """The deck shuffled, with a card that fits at every place that wants one."""
    left = [deck[i] for i in stream.distinct(len(deck), len(deck))]
    settled = {place: left.pop(next(i for i, card in enumerate(left) if fits(card))) for place, fits in wanted.items()}
    return [settled[place] if place in settled else left.pop() for place in range(len(deck))]


def _numbers(shape: PqShape) -> tuple[int, int, int]:
    return shape.dim, shape.num_sub_vectors, shape.num_centroids
