"""The answers to a kernel's calls: what a pack hands over, and what the reference says to each query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.targets.common.equivalence import Nearest, compare_array, compare_nearest, least
from pytest_lance_ar.targets.common.inputs import Float32
from pytest_lance_ar.targets.common.pq import reference, shortlist
from pytest_lance_ar.targets.common.pq.metric import Metric
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.mismatch import Mismatch
from pytest_lance_ar.targets.protocol import Arrays, Instance, PackInstance

Codes = NDArray[np.uint8]


def instance_of(
    metric: Metric,
    shape: PqShape,
    codebook: Float32,
    packs: Sequence[tuple[Codes, Float32]],
    k: int | Sequence[int],
    *,
    beside: Sequence[Instance] = (),
) -> Instance:
    """The instance of one kernel object that serves (codes, queries) pairs, all with one k or each with its own."""
    ks = [k] * len(packs) if isinstance(k, int) else k
    return Instance(
        params={"shape": shape.numbers},
        arrays={"codebook": codebook},
        packs=[_pack(metric, codebook, codes, queries, own) for (codes, queries), own in zip(packs, ks, strict=True)],
        beside=beside,
    )


def _pack(metric: Metric, codebook: Float32, codes: Codes, queries: Float32, k: int) -> PackInstance:
    n = min(k, len(codes))
    answers = _Answers(metric, codebook, codes, queries, k)
    return PackInstance(
        params={"k": k},
        arrays={"codes": codes},
        calls=[{"query": query} for query in queries],
        outputs={
            "table": ("float32", codebook.shape[:2]),
            "ids": ("int64", (n,)),
            "distances": ("float32", (n,)),
        },
        check=answers.check,
        bulky=frozenset(["table"]),
        foresee=answers.foresee,
    )


class _Answers:
    """The reference's answers to a pack's calls. It can be pickled: workloads are built in processes of their own."""

    def __init__(self, metric: Metric, codebook: Float32, codes: Codes, queries: Float32, k: int) -> None:
        self._metric = metric
        self._codebook = codebook
        self._codes = codes
        self._queries = queries
        self._n = min(k, len(codes))
        self._searcher: reference.Searcher | None = None
        self._known: dict[int, tuple[Float32, Nearest]] = {}

    def foresee(self, calls: Sequence[int]) -> None:
        """Of all distances only those are computed that can be among the n least."""
        if self._n == 0:
            return
        queries = self._queries[list(calls)]
        lists = shortlist.shortlists(self._metric, self._codebook, self._codes, queries, self._n)
        self._known = {call: self._answer(call, few) for call, few in zip(calls, lists, strict=True)}

    def check(self, i: int, outputs: Arrays, rtol: float) -> Mismatch | None:
        if i not in self._known:  # both sides of a duel answer the same query
            self._known = {i: self._answer(i)}
        return compare_answer(*self._known[i], outputs, rtol)

    def _answer(self, i: int, few: NDArray[np.intp] | None = None) -> tuple[Float32, Nearest]:
        """The table, and what is known of the distances. few: the vectors among which the nearest are."""
        if self._searcher is None:
            self._searcher = reference.Searcher(self._metric, self._codebook, self._codes)
        table = self._searcher.distance_table(self._queries[i])
        distances = partial(self._searcher.distances, table)
        if few is None:
            return table, Nearest.among(distances(), self._n)
        return table, Nearest(len(self._codes), least(distances(few), self._n), distances)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_searcher": None, "_known": {}}


def compare_answer(
    table: Float32, reference: Nearest, outputs: Mapping[str, NDArray[Any]], rtol: float = 0.0
) -> Mismatch | None:
    """Compare all that a call returned: `table` (which may be absent), `ids` and `distances`."""
    wrong_table = compare_array("distance_table", table, outputs["table"], rtol) if "table" in outputs else None
    wrong_top_k = compare_nearest(reference, outputs["ids"], outputs["distances"], rtol)
    if wrong_table and wrong_top_k and not wrong_top_k.rounding_only:
        return replace(wrong_table, rounding_only=False)
    return wrong_table or wrong_top_k
