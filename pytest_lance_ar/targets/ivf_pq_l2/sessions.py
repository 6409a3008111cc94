"""The life of one kernel object: indices that come and go by the dozen, and queries by the thousand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.targets.common import inputs
from pytest_lance_ar.targets.common.inputs import Float32, Stream
from pytest_lance_ar.targets.common.pq import quantizer, sessions
from pytest_lance_ar.targets.common.sessions import asked_again, changed_answer
from pytest_lance_ar.targets.ivf_pq_l2.cases import SPREAD, Asked, instance_of, row_ids_of, sizes_of
from pytest_lance_ar.targets.ivf_pq_l2.equivalence import compare_answer
from pytest_lance_ar.targets.ivf_pq_l2.reference import Index
from pytest_lance_ar.targets.mismatch import Mismatch
from pytest_lance_ar.targets.pq_l2.metric import L2
from pytest_lance_ar.targets.protocol import Arrays, Instance, PackInstance

NAMES: Final = {"ids": "search ids", "distances": "search distances", "count": "the number of row ids of search"}
PARTITIONS: Final = 9
VISITS: Final = 5
SMALL_VISITS: Final = 2
SMALL_K: Final = 3


class Session(sessions.Session):
    """A session of indices of PARTITIONS partitions, of which a query visits up to VISITS.

    n: vectors that the first index's largest partition has; k: of its queries. The others have up to as many.
    """

    @property
    def where(self) -> str:
        return (
            f"shape {self.shape}, {self.distribution}, seed {self.seed}, {PARTITIONS} partitions of up to {self.n}, k "
            f"{self.k}, one object with {self.packs} indices in turns and {self.calls} small queries"
        )

    def _object(self, role: str, calls: int) -> Instance:
        def vectors(count: int, role: str) -> Float32:
            return inputs.vectors(self.distribution, count, self.shape.dim, seed=self.seed, role=role)

        drawn = vectors(self.shape.num_centroids, f"{role}codebook")
        codebook = quantizer.sampled_codebook(drawn, self.shape, Stream(self.seed, f"{role}codebook"))
        centroids = vectors(PARTITIONS, f"{role}partitions") * SPREAD
        all_asked = []
        for number in range(self.packs):
            stream = Stream(self.seed, "session", role, number)
            twin = number // 2  # two after each other have one size
            sizes = sizes_of("skewed", PARTITIONS, max(self.n - (twin % 5) * (self.n // 6), 1), Stream(twin, "sizes"))
            offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
            count, parts = int(offsets[-1]), self.shape.num_sub_vectors
            codes = stream.below(self.shape.num_centroids, count * parts).astype(np.uint8).reshape(count, parts)
            index = Index(codebook, centroids, codes, row_ids_of(count, stream), offsets)
            visits = [stream.distinct(PARTITIONS, PARTITIONS)[: VISITS - number % 2 * i] for i in range(2)]
            all_asked.append(Asked(index, vectors(2, f"query {role}{number}"), visits, max(self.k - twin % 3, 1)))
        instance = instance_of(self.shape, all_asked)
        if calls:
            small = vectors(sessions.CYCLE, f"query {role}small")
            goes = -(-calls // sessions.IN_A_GO)
            turns = asked_again(sessions.CYCLE, min(calls, sessions.IN_A_GO), Stream(self.seed, "asked", role))
            pack = _small_queries(all_asked[0].index, small, turns, goes)
            instance = replace(instance, packs=[*instance.packs, pack])
        return instance


def _small_queries(index: Index, queries: Float32, turns: NDArray[np.int64], goes: int) -> PackInstance:
    """An index that is asked the same few queries over and over: they are compared with the reference the first time,
    and with the first time from then on. turns: which of them each call asks."""
    in_a_go = len(turns)
    visits = np.stack([np.roll(np.arange(PARTITIONS), i)[:SMALL_VISITS] for i in range(len(queries))])
    first: dict[str, NDArray[Any]] = {}

    def check(go: int, outputs: Arrays, rtol: float) -> Mismatch | None:
        for i in range(min(len(queries), in_a_go)) if not first else ():
            one = {name: array[i] for name, array in outputs.items()}
            if wrong := compare_answer(*index.answers(queries[i], visits[i]), SMALL_K, one, rtol):
                return wrong
        if not first:
            first.update({name: array[: len(queries)].copy() for name, array in outputs.items()})
        return changed_answer(first, turns, outputs, go * in_a_go, NAMES)

    asked: Arrays = {"query": np.ascontiguousarray(queries[turns]), "partitions": np.ascontiguousarray(visits[turns])}
    return PackInstance(
        params={"k": SMALL_K},
        arrays={"codes": index.codes, "row_ids": index.row_ids, "offsets": index.offsets},
        calls=[asked] * goes,
        outputs={
            "ids": ("int64", (in_a_go, SMALL_K)),
            "distances": ("float32", (in_a_go, SMALL_K)),
            "count": ("int64", (in_a_go, 1)),
        },
        check=check,
        repeats=in_a_go,
    )


def parse(spec: str) -> Session:
    """Rebuild a session from its text. Raises ValueError or TypeError when it is none."""
    return Session(**vars(sessions.parse(L2, spec)))


def drawn(seed: int) -> Session:
    """The session of a trial: so many packs and calls as no list has."""
    return Session(**vars(sessions.drawn(L2, seed)))
