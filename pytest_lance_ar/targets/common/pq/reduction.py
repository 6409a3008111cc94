"""Looks for the smallest case that still fails, as literal data.

First a few cases that are small from the start, then the failing arrays, cut down.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.targets.common.extent import bisected
from pytest_lance_ar.targets.common.inputs import Float32
from pytest_lance_ar.targets.common.pq import sessions
from pytest_lance_ar.targets.common.pq.answers import instance_of
from pytest_lance_ar.targets.common.pq.cases import DrawnCase, LiteralCase
from pytest_lance_ar.targets.common.pq.metric import Metric
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.common.reduction import LITERAL_LIMIT, Axis, smallest
from pytest_lance_ar.targets.protocol import Case, Instance, StillFails


@dataclass(frozen=True)
class ArrayCase:
    """Inputs as arrays: codebook float32 (M, K, dsub), codes uint8 (N, M), queries float32 (Q, dim)."""

    metric: Metric
    codebook: Float32
    codes: NDArray[np.uint8]
    queries: Float32
    k: int

    @property
    def spec(self) -> str:
        return self.literal().spec

    @property
    def where(self) -> str:
        return self.literal().where

    def literal(self) -> LiteralCase:
        return LiteralCase.of(self.metric, self.codebook, self.codes, self.queries, self.k)

    def instance(self) -> Instance:
        num_sub_vectors, num_centroids, dsub = self.codebook.shape
        shape = PqShape(num_sub_vectors * dsub, num_sub_vectors, num_centroids)
        return instance_of(self.metric, shape, self.codebook, [(self.codes, self.queries)], self.k)


def reduced(metric: Metric, case: Case, still_fails: StillFails) -> tuple[Case, str]:
    """The smallest case found that still fails, literal if it is small enough to print, and in a sentence from which
    sizes on there is a failure: "" when it fails at any."""
    if isinstance(case, sessions.Session):
        return sessions.reduced(case, still_fails)
    sentence = ""
    start = next((small for small in small_cases(metric) if still_fails(small)), None)
    if start is None:
        if isinstance(case, DrawnCase):
            case, sentence = bisected(case, still_fails)
        start = next((alone for alone in _alone(metric, case) if still_fails(alone)), None)
    if start is None:
        return case, sentence
    found = smallest(start, still_fails, AXES, floats=("codebook", "queries"), integers=("codes",))
    text = found.codes.size + found.codebook.size + found.queries.size
    if text > LITERAL_LIMIT:  # every number takes a character at least
        return case, sentence
    literal = found.literal()
    return (literal if len(literal.spec) <= LITERAL_LIMIT else case), sentence


def small_cases(metric: Metric) -> Iterator[ArrayCase]:
    """Cases as small as can be, of integers first: one sub-vector, one dimension, one vector, and up from there."""
    for parts, dsub, centroids in product((1, 2), repeat=3):
        n = centroids
        for values in ((0, 1, 3, -2, 2), (0.1, 30.1, -7.3, 2.5, 1000.3)):
            cycle = np.array(values, np.float32)
            codebook = np.resize(cycle, (parts, centroids, dsub))
            codes = (np.arange(n * parts).reshape(n, parts)[::-1] % centroids).astype(np.uint8)
            yield ArrayCase(metric, codebook, codes, np.resize(cycle[::-1], (1, parts * dsub)), 1)


def _alone(metric: Metric, case: Case) -> Iterator[ArrayCase]:
    """Each code set of a case by itself."""
    instance = case.instance()
    codebook = np.asarray(instance.arrays["codebook"])
    for pack in instance.packs:
        queries = np.array([call["query"] for call in pack.calls])
        yield ArrayCase(metric, codebook, np.asarray(pack.arrays["codes"]), queries, pack.params["k"])


def _with_sub_vectors(case: ArrayCase, kept: NDArray[np.int64]) -> ArrayCase:
    queries = case.queries.reshape(len(case.queries), len(case.codebook), -1)[:, kept]
    return replace(
        case,
        codebook=case.codebook[kept],
        codes=np.ascontiguousarray(case.codes[:, kept]),
        queries=np.ascontiguousarray(queries.reshape(len(queries), -1)),
    )


def _with_centroids(case: ArrayCase, kept: NDArray[np.int64]) -> ArrayCase:
    """Codes of a centroid that is gone become those of the first that stays."""
    renamed = np.zeros(case.codebook.shape[1], np.uint8)
    renamed[kept] = np.arange(len(kept))
    return replace(case, codebook=np.ascontiguousarray(case.codebook[:, kept]), codes=renamed[case.codes])


def _with_dimensions(case: ArrayCase, kept: NDArray[np.int64]) -> ArrayCase:
    queries = case.queries.reshape(len(case.queries), len(case.codebook), -1)[:, :, kept]
    return replace(
        case,
        codebook=np.ascontiguousarray(case.codebook[:, :, kept]),
        queries=np.ascontiguousarray(queries.reshape(len(queries), -1)),
    )


AXES: Final[tuple[Axis[ArrayCase] | None, ...]] = (
    Axis(lambda case: len(case.queries), lambda case, kept: replace(case, queries=case.queries[kept])),
    None,
    Axis(lambda case: case.codebook.shape[0], _with_sub_vectors),
    Axis(lambda case: case.codebook.shape[1], _with_centroids),
    Axis(lambda case: case.codebook.shape[2], _with_dimensions),
    Axis(lambda case: len(case.codes), lambda case, kept: replace(case, codes=case.codes[kept]), least=0),
)
