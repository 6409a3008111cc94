"""Looks for the smallest case that still fails, as literal data.

First a few cases that are small from the start, then the failing arrays, cut down axis by axis (Zeller & Hildebrandt,
"Simplifying and isolating failure-inducing input", 2002) and value by value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.targets.pq_l2 import cases, extent
from pytest_lance_ar.targets.pq_l2.inputs import Float32
from pytest_lance_ar.targets.pq_l2.sessions import Session
from pytest_lance_ar.targets.pq_l2.shape import PqShape
from pytest_lance_ar.targets.protocol import Case, Instance, StillFails

FEW_VALUES: Final = 64
"""So many numbers are simplified one by one."""


@dataclass(frozen=True)
class ArrayCase:
    """Inputs as arrays: codebook float32 (M, K, dsub), codes uint8 (N, M), queries float32 (Q, dim)."""

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

    def literal(self) -> cases.LiteralCase:
        return cases.LiteralCase.of(self.codebook, self.codes, self.queries, self.k)

    def instance(self) -> Instance:
        num_sub_vectors, num_centroids, dsub = self.codebook.shape
        shape = PqShape(num_sub_vectors * dsub, num_sub_vectors, num_centroids)
        return cases.instance_of(shape, self.codebook, [(self.codes, self.queries)], self.k)


def reduced(case: Case, still_fails: StillFails) -> tuple[Case, str]:
    """The smallest case found that still fails, literal if it is small enough to print, and in a sentence from which
    sizes on there is a failure: "" when it fails at any."""
    if isinstance(case, Session):
        return extent.of_session(case, still_fails)
    sentence = ""
    start = next((small for small in small_cases() if still_fails(small)), None)
    if start is None:
        if isinstance(case, cases.DrawnCase):
            case, sentence = extent.of_drawn(case, still_fails)
        start = next((alone for alone in _alone(case) if still_fails(alone)), None)
    if start is None:
        return case, sentence
    smallest = _Reduction(start, still_fails).smallest()
    text = smallest.codes.size + smallest.codebook.size + smallest.queries.size
    if text > cases.LITERAL_LIMIT:  # every number takes a character at least
        return case, sentence
    literal = smallest.literal()
    return (literal if len(literal.spec) <= cases.LITERAL_LIMIT else case), sentence


def small_cases() -> Iterator[ArrayCase]:
    """Cases as small as can be, of integers first: one sub-vector, one dimension, one vector, and up from there."""
    for parts, dsub, centroids in product((1, 2), repeat=3):
        n = centroids
        for values in ((0, 1, 3, -2, 2), (0.1, 30.1, -7.3, 2.5, 1000.3)):
            cycle = np.array(values, np.float32)
            codebook = np.resize(cycle, (parts, centroids, dsub))
            codes = (np.arange(n * parts).reshape(n, parts)[::-1] % centroids).astype(np.uint8)
            yield ArrayCase(codebook, codes, np.resize(cycle[::-1], (1, parts * dsub)), 1)


def _alone(case: Case) -> Iterator[ArrayCase]:
    """Each code set of a case by itself."""
    instance = case.instance()
    for pack in instance.packs:
        queries = np.array([call["query"] for call in pack.calls])
        yield ArrayCase(
            np.asarray(instance.arrays["codebook"]), np.asarray(pack.arrays["codes"]), queries, pack.params["k"]
        )


class _Reduction:
    """A case that fails, made smaller step by step as long as it does."""

    def __init__(self, case: ArrayCase, still_fails: StillFails) -> None:
        self.case = case
        self._still_fails = still_fails

    def smallest(self) -> ArrayCase:
        while True:
            before = self.case
            self._drop(len(before.queries), lambda case, kept: replace(case, queries=case.queries[kept]))
            self._lower_k()
            self._drop(before.codebook.shape[0], _with_sub_vectors)
            self._drop(before.codebook.shape[1], _with_centroids)
            self._drop(before.codebook.shape[2], _with_dimensions)
            self._drop(len(before.codes), lambda case, kept: replace(case, codes=case.codes[kept]))
            self._simplify()
            if self.case is before:
                return before

    def _try(self, candidate: ArrayCase) -> bool:
        if self._still_fails(candidate):
            self.case = candidate
            return True
        return False

    def _drop(self, count: int, with_kept: Callable[[ArrayCase, NDArray[np.int64]], ArrayCase]) -> None:
        """Drop ever smaller runs of an axis of `count` elements."""
        kept = np.arange(count)
        size = max(count - 1, 1)
        while size and (len(kept) <= cases.LITERAL_LIMIT or size > len(kept) // 16):  # else it stays too large
            start = 0
            while start < len(kept):
                fewer = np.delete(kept, slice(start, start + size))
                candidate = with_kept(self.case, np.flatnonzero(np.isin(kept, fewer)))
                if _is_case(candidate) and self._try(candidate):
                    kept = fewer
                else:
                    start += size
            size //= 2

    def _lower_k(self) -> None:
        low = 1
        while low < self.case.k:
            if self._try(replace(self.case, k=low)):
                return
            low = min(low * 2, self.case.k - 1) if low < self.case.k - 1 else self.case.k

    def _simplify(self) -> None:
        """Simpler numbers: all at once, then one by one."""
        simpler: tuple[Callable[[Float32], Float32], ...] = (np.zeros_like, np.sign, np.rint)
        for simple in simpler:
            self._change(simple)
        if self.case.codebook.size + self.case.queries.size + self.case.codes.size > FEW_VALUES:
            return
        for name in ("codes", "codebook", "queries"):
            array = getattr(self.case, name)
            for index in np.ndindex(array.shape):
                for value in _simpler(float(array[index])):
                    changed = getattr(self.case, name).copy()
                    changed[index] = value
                    if self._try(replace(self.case, **{name: changed})):
                        break

    def _change(self, simple: Callable[[Float32], Float32]) -> None:
        both = replace(self.case, codebook=simple(self.case.codebook), queries=simple(self.case.queries))
        for candidate in (
            both,
            replace(self.case, codebook=both.codebook),
            replace(self.case, queries=both.queries),
        ):
            same = _same(candidate.codebook, self.case.codebook) and _same(candidate.queries, self.case.queries)
            if not same and self._try(candidate):
                return


def _simpler(value: float) -> Iterator[float]:
    """Numbers that read more easily than this one, the easiest first; none for 0."""
    seen = {0.0: None, 1.0: None, float(np.float32(np.rint(value))): None, float(np.float32(f"{value:.2g}")): None}
    for number in seen:
        if number == value:
            return
        if abs(number) <= abs(value) or number == 1.0:
            yield number


def _same(a: Float32, b: Float32) -> bool:
    return a.tobytes() == b.tobytes()


def _is_case(case: ArrayCase) -> bool:
    return all((*case.codebook.shape, len(case.queries)))


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
