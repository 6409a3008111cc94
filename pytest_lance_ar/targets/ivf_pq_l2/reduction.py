"""Looks for the smallest case that still fails, as literal data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.targets.common.extent import bisected
from pytest_lance_ar.targets.common.inputs import Float32
from pytest_lance_ar.targets.common.pq import sessions
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.common.reduction import LITERAL_LIMIT, Axis, smallest
from pytest_lance_ar.targets.ivf_pq_l2.cases import Asked, DrawnCase, LiteralCase, instance_of
from pytest_lance_ar.targets.ivf_pq_l2.reference import Index
from pytest_lance_ar.targets.protocol import Case, Instance, StillFails

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class ArrayCase:
    """Inputs as arrays, of one query. partition: int64 (N,), that of each vector, ascending; visited: int64."""

    codebook: Float32
    centroids: Float32
    codes: NDArray[np.uint8]
    row_ids: Ints
    partition: Ints
    queries: Float32
    visited: Ints
    k: int

    @property
    def spec(self) -> str:
        return self.literal().spec

    @property
    def where(self) -> str:
        return self.literal().where

    def literal(self) -> LiteralCase:
        return LiteralCase.of(self._asked())

    def instance(self) -> Instance:
        num_sub_vectors, num_centroids, dsub = self.codebook.shape
        return instance_of(PqShape(num_sub_vectors * dsub, num_sub_vectors, num_centroids), [self._asked()])

    def _asked(self) -> Asked:
        sizes = np.bincount(self.partition, minlength=len(self.centroids))
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        index = Index(self.codebook, self.centroids, self.codes, self.row_ids, offsets)
        return Asked(index, self.queries, [self.visited] * len(self.queries), self.k)


def reduced(case: Case, still_fails: StillFails) -> tuple[Case, str]:
    """The smallest case found that still fails, literal if it is small enough to print, and in a sentence from which
    sizes on there is a failure: "" when it fails at any."""
    if isinstance(case, sessions.Session):
        return sessions.reduced(case, still_fails)
    sentence = ""
    if isinstance(case, DrawnCase):
        case, sentence = bisected(case, still_fails)
    start = next((alone for alone in _alone(case) if still_fails(alone)), None)
    if start is None:
        return case, sentence
    found = smallest(start, still_fails, AXES, floats=("codebook", "centroids", "queries"), integers=("codes",))
    if found.codes.size + found.codebook.size + found.centroids.size > LITERAL_LIMIT:
        return case, sentence
    literal = found.literal()
    return (literal if len(literal.spec) <= LITERAL_LIMIT else case), sentence


def _alone(case: Case) -> Iterator[ArrayCase]:
    """Each query of a case by itself, on the index that it is asked of."""
    instance = case.instance()
    codebook, centroids = (np.asarray(instance.arrays[name]) for name in ("codebook", "centroids"))
    for pack in instance.packs:
        arrays: dict[str, Any] = dict(pack.arrays)
        sizes = np.diff(arrays["offsets"])
        partition = np.repeat(np.arange(len(sizes)), sizes)
        for call in pack.calls:
            visited = np.asarray(call["partitions"])[: int(call["visits"][0]) if "visits" in call else None]
            query = np.asarray(call["query"])[np.newaxis]
            rows = arrays["codes"], arrays["row_ids"], partition
            yield ArrayCase(codebook, centroids, *rows, query, visited, pack.params["k"])


def _with_partitions(case: ArrayCase, kept: Ints) -> ArrayCase:
    number = np.full(len(case.centroids), -1)
    number[kept] = np.arange(len(kept))
    rows, visited = number[case.partition] >= 0, number[case.visited]
    if not (visited >= 0).any():
        visited = np.zeros(1, np.int64)
    return replace(
        _with_rows(case, np.flatnonzero(rows)),
        centroids=np.ascontiguousarray(case.centroids[kept]),
        partition=number[case.partition[rows]],
        visited=visited[visited >= 0],
    )


def _with_rows(case: ArrayCase, kept: Ints) -> ArrayCase:
    codes = np.ascontiguousarray(case.codes[kept])
    return replace(case, codes=codes, row_ids=case.row_ids[kept], partition=case.partition[kept])


def _with_sub_vectors(case: ArrayCase, kept: Ints) -> ArrayCase:
    chosen = np.arange(case.queries.shape[1]).reshape(len(case.codebook), -1)[kept].reshape(-1)
    return replace(
        case,
        codebook=np.ascontiguousarray(case.codebook[kept]),
        codes=np.ascontiguousarray(case.codes[:, kept]),
        centroids=np.ascontiguousarray(case.centroids[:, chosen]),
        queries=np.ascontiguousarray(case.queries[:, chosen]),
    )


def _with_centroids(case: ArrayCase, kept: Ints) -> ArrayCase:
    """Codes of a centroid that is gone become those of the first that stays."""
    renamed = np.zeros(case.codebook.shape[1], np.uint8)
    renamed[kept] = np.arange(len(kept))
    return replace(case, codebook=np.ascontiguousarray(case.codebook[:, kept]), codes=renamed[case.codes])


def _with_dimensions(case: ArrayCase, kept: Ints) -> ArrayCase:
    chosen = np.arange(case.queries.shape[1]).reshape(len(case.codebook), -1)[:, kept].reshape(-1)
    return replace(
        case,
        codebook=np.ascontiguousarray(case.codebook[:, :, kept]),
        centroids=np.ascontiguousarray(case.centroids[:, chosen]),
        queries=np.ascontiguousarray(case.queries[:, chosen]),
    )


AXES: Final[tuple[Axis[ArrayCase] | None, ...]] = (
    None,
    Axis(lambda case: len(case.centroids), _with_partitions),
    Axis(lambda case: len(case.visited), lambda case, kept: replace(case, visited=case.visited[kept])),
    Axis(lambda case: case.codebook.shape[0], _with_sub_vectors),
    Axis(lambda case: case.codebook.shape[1], _with_centroids),
    Axis(lambda case: case.codebook.shape[2], _with_dimensions),
    Axis(lambda case: len(case.codes), _with_rows, least=0),
)
