"""`bench --data FILE.npz`: a user's own codebook, codes and queries, as numpy's `savez` writes them.

- codebook: float32 (M, K, dsub), K at most 256, finite
- codes: uint8 (N, M), every one below K
- queries: float32 (Q, M x dsub), finite

An index over residuals belongs in here as one partition: its codes, and the queries less its centroid.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.targets.common.inputs import Float32
from pytest_lance_ar.targets.common.pq.answers import instance_of
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.pq_l2.metric import L2
from pytest_lance_ar.targets.protocol import Instance

ARRAYS: Final = {"codebook": (np.float32, 3), "codes": (np.uint8, 2), "queries": (np.float32, 2)}
"""dtype and dimensions."""
_AXES: Final = {"codebook": "(M, K, dsub)", "codes": "(N, M)", "queries": "(Q, dim)"}


@dataclass(frozen=True)
class OwnData:
    """A user's code set, as a workload of the benchmark. data: what the table calls it."""

    data: str
    codebook: Float32 = field(repr=False)
    codes: NDArray[np.uint8] = field(repr=False)
    queries: Float32 = field(repr=False)
    k: int

    @property
    def shape(self) -> PqShape:
        parts, centroids, dsub = self.codebook.shape
        return PqShape(parts * dsub, parts, centroids)

    @property
    def count(self) -> int:
        return len(self.codes)

    @property
    def name(self) -> str:
        return f"{self.shape} {self.data}, N {self.count:,}"

    def instance(self, queries: int, _seed: int) -> Instance:
        """The instance with so many calls. Where there are fewer queries, they are asked again, from the first on."""
        asked = self.queries[np.arange(queries) % len(self.queries)]
        return instance_of(L2, self.shape, self.codebook, [(self.codes, asked)], self.k)


def read(path: Path, k: int) -> OwnData:
    """Raises OSError, and ValueError with a sentence that says what is wrong."""
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise ValueError("it holds one array; write it with numpy.savez(FILE, codebook=, codes=, queries=)")
        with loaded as file:
            found = {name: _array(file, name) for name in ARRAYS}
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no file for --data: {error}") from error
    codebook, codes, queries = found.values()
    problem = _problem(codebook, codes, queries, k)
    if problem:
        raise ValueError(f"{path} is no file for --data: {problem}")
    codebook, codes, queries = map(np.ascontiguousarray, (codebook, codes, queries))
    return OwnData(path.name, codebook, codes, queries, k)


def _array(file: Any, name: str) -> NDArray[Any]:
    kind, dimensions = ARRAYS[name]
    if name not in file:
        raise ValueError(f"it has no array {name!r}, but {', '.join(sorted(file)) or 'none'}")
    array = np.asarray(file[name])
    if array.dtype != kind or array.ndim != dimensions:
        wanted = f"{np.dtype(kind)} of shape {_AXES[name]}"
        raise ValueError(f"{name} must be {wanted}, not {array.dtype} of shape {array.shape}")
    return array


def _problem(codebook: Float32, codes: NDArray[np.uint8], queries: Float32, k: int) -> str:
    """What does not fit together; "" when all does."""
    parts, centroids, dsub = codebook.shape
    if not 1 <= centroids <= 256 or min(parts, dsub) < 1:
        return f"codebook has shape {codebook.shape}; M and dsub are at least 1, K from 1 to 256"
    if codes.shape[1] != parts:
        return f"codes has {codes.shape[1]} columns, and codebook M = {parts}"
    if queries.shape[1] != parts * dsub:
        return f"queries has {queries.shape[1]} columns, and codebook M x dsub = {parts * dsub}"
    if not len(codes) or not len(queries):
        return "there must be a code and a query at the least"
    if codes.max() >= centroids:
        return f"codes has the value {codes.max()}, and codebook K = {centroids}"
    if not np.isfinite(codebook).all() or not np.isfinite(queries).all():
        return "codebook and queries must be finite"
    return f"k is {k}, and must be from 1 to N = {len(codes)}" if not 1 <= k <= len(codes) else ""
