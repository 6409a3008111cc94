"""What is judged: squared L2 distances of one uint8 query to many uint8 vectors, exact in uint32."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.targets.mismatch import Mismatch
from pytest_lance_ar.targets.protocol import Arrays, Case, Combo, Guard, Instance, PackInstance, StillFails, Target

Bytes = NDArray[np.uint8]

MAX_DIM = 4096
DISTRIBUTIONS = ("uniform", "sparse", "extreme")
SPEED_VECTORS, SPEED_DIMS, SPEED_DISTRIBUTIONS = 2_000, (128, 768), ("uniform", "sparse")
BYTES_PER_NS = 768
"""More than any core reads: two loads of 64 bytes a cycle, at 6 GHz."""
GUARDS = 6


# Inputs.


def drawn(distribution: str, shape: tuple[int, int], rng: np.random.Generator) -> Bytes:
    """Vectors: uint8, of this shape (count, dim). uniform: all bytes alike; sparse: nine of ten are 0; extreme: 0 or
    255, whose distances are the largest."""
    values = rng.integers(0, 256, shape, dtype=np.uint8)
    if distribution == "sparse":
        return values * (rng.random(shape) < 0.1)
    return np.where(values < 128, np.uint8(0), np.uint8(255)) if distribution == "extreme" else values


# Reference and equivalence.


def reference(query: Bytes, vectors: Bytes) -> NDArray[np.uint32]:
    differences = vectors.astype(np.int64) - query
    return np.square(differences).sum(axis=1).astype(np.uint32)


@dataclass(frozen=True)
class Answers:
    """Compares the answers to `queries` with the reference. It can be pickled, as a workload's must be."""

    vectors: Bytes
    queries: Bytes

    def check(self, i: int, outputs: Arrays, _rtol: float) -> Mismatch | None:
        expected, got = reference(self.queries[i], self.vectors), outputs["distances"]
        wrong = np.flatnonzero(expected != got)
        if not len(wrong):
            return None
        at = int(wrong[0])
        error = abs(int(expected[at]) - int(got[at]))
        return Mismatch("distances", (at,), str(expected[at]), str(got[at]), abs_error=float(error))


def instance_of(dim: int, sets: list[tuple[Bytes, Bytes]]) -> Instance:
    """One kernel object that serves (vectors, queries) pairs."""
    return Instance(params={"dim": dim}, arrays={}, packs=[_pack(vectors, queries) for vectors, queries in sets])


def _pack(vectors: Bytes, queries: Bytes) -> PackInstance:
    return PackInstance(
        params={},
        arrays={"vectors": vectors},
        calls=[{"query": query} for query in queries],
        outputs={"distances": ("uint32", (len(vectors),))},
        check=Answers(vectors, queries).check,
    )


# Cases and workloads.


@dataclass(frozen=True)
class Literal:
    """A case that is small enough to be printed."""

    vectors: tuple[tuple[int, ...], ...]
    query: tuple[int, ...]

    @property
    def spec(self) -> str:
        return json.dumps({"vectors": self.vectors, "query": self.query}, separators=(",", ":"))

    @property
    def where(self) -> str:
        return f"vectors {[*map(list, self.vectors)]}, query {list(self.query)}"

    def instance(self) -> Instance:
        dim = len(self.query)
        vectors, query = np.array(self.vectors, np.uint8).reshape(-1, dim), np.array([self.query], np.uint8)
        return instance_of(dim, [(vectors, query)])


@dataclass(frozen=True)
class Drawn:
    """Inputs drawn by seed: a case of the suite, a guard workload, or what a combo is timed on."""

    distribution: str
    seed: int
    n: int
    dim: int
    sets: int = 1
    batch: ClassVar[int] = 1

    @property
    def spec(self) -> str:
        return " ".join(f"{name}={value}" for name, value in vars(self).items())

    @property
    def where(self) -> str:
        return f"N {self.n}, dim {self.dim}, {self.distribution}, seed {self.seed}, {self.sets} sets"

    @property
    def name(self) -> str:
        return f"({self.n},{self.dim}), {self.distribution}"

    def instance(self, calls: int = 3) -> Instance:
        rng = np.random.default_rng(self.seed)
        shapes = [((self.n * (i + 1), self.dim), (calls, self.dim)) for i in range(self.sets)]
        return instance_of(self.dim, [(self._of(stored, rng), self._of(asked, rng)) for stored, asked in shapes])

    def _of(self, shape: tuple[int, int], rng: np.random.Generator) -> Bytes:
        return drawn(self.distribution, shape, rng)


def parse(spec: str) -> Literal | Drawn:
    """Rebuild a case from its spec. Raises ValueError."""
    try:
        if spec.startswith("{"):
            data = json.loads(spec)
            literal = Literal(tuple(tuple(map(int, row)) for row in data["vectors"]), tuple(map(int, data["query"])))
            literal.instance()
            if not literal.query or any(len(row) != len(literal.query) for row in literal.vectors):
                raise ValueError("all vectors and the query have one length, at least 1")
            return literal
        fields: dict[str, Any] = dict(item.split("=", 1) for item in spec.split())
        case = Drawn(**{name: value if name == "distribution" else int(value) for name, value in fields.items()})
        if case.distribution not in DISTRIBUTIONS or case.seed < 0 or case.n < 0 or case.dim < 1 or case.sets < 1:
            raise ValueError(f"one of {', '.join(DISTRIBUTIONS)}; seed and n from 0, dim and sets from 1")
        return case
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"not a case: {spec!r} ({error})") from error


def least(high: int, low: int, fails: Callable[[int], bool]) -> int:
    """The least size that fails, where all above it do; `high` is known to."""
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fails(middle) else (middle + 1, high)
    return high


class U8L2(Target):
    """The target `u8_l2`."""

    api = 1
    name = "u8_l2"
    kernel_class = "U8L2Kernel"
    driver = "u8_l2.driver"
    steps: ClassVar[Mapping[str, str]] = {"distances": "distances"}
    suite = Path(__file__).with_name("suite.py")
    suite_tests = frozenset(
        [
            "test_earlier_falsifying_examples",
            "test_small",
            *(f"test_drawn[{distribution}]" for distribution in DISTRIBUTIONS),
            "test_ends_of_the_domain",
        ]
    )
    combos = tuple(Combo(f"({SPEED_VECTORS},{dim})", data) for dim in SPEED_DIMS for data in SPEED_DISTRIBUTIONS)

    def workload(self, combo: Combo, queries: int, seed: int) -> Instance:
        n, dim = _sizes(combo)
        return Drawn(combo.distribution, seed, n, dim).instance(queries)

    def floor_ns(self, combo: Combo) -> float:
        """Every byte of the vectors must be read."""
        n, dim = _sizes(combo)
        return n * dim / BYTES_PER_NS

    def parse_case(self, spec: str) -> Case:
        return parse(spec)

    def reduced(self, case: Case, still_fails: StillFails) -> tuple[Case, str]:
        if not isinstance(case, Drawn):
            return case, ""  # Hypothesis has shrunk it
        case = replace(case, sets=least(case.sets, 1, lambda sets: still_fails(replace(case, sets=sets))))
        case = replace(case, n=least(case.n, 0, lambda n: still_fails(replace(case, n=n))))
        case = replace(case, dim=least(case.dim, 1, lambda dim: still_fails(replace(case, dim=dim))))
        return case, f"smaller sizes pass: it takes N {case.n} and dim {case.dim}"

    def guards(self, seed: int) -> tuple[Guard, ...]:
        """dim from 16 to 4,096 and N from 50 to 4,000, log-uniform, with 50,000 bytes or more."""
        rng = np.random.default_rng(seed)
        dims = [round(16 * 256 ** rng.random()) for _ in range(GUARDS)]
        counts = [ceil(max(50, 50_000 / dim) ** (1 - share) * 4000**share) for dim in dims for share in [rng.random()]]
        kinds, seeds = rng.choice(DISTRIBUTIONS, GUARDS), rng.integers(0, 2**32, GUARDS)
        return tuple(
            Drawn(str(kind), int(own), n, dim) for kind, own, n, dim in zip(kinds, seeds, counts, dims, strict=True)
        )

    def parse_guard(self, spec: str) -> Guard:
        case = parse(spec)
        if not isinstance(case, Drawn):
            raise ValueError(f"not a workload: {spec!r}")
        return case


def _sizes(combo: Combo) -> tuple[int, int]:
    n, dim = map(int, combo.shape.strip("()").split(","))
    return n, dim


TARGET = U8L2()
