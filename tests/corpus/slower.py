"""The corpus of kernels that pay for a gain elsewhere: correct, and slower on one kind of workload alone.

`where` says of a guard workload whether it is of that kind; `condition` is what the kernel itself goes by, in a call:
n, k, the shape, how often it packed, whether it was asked about another code set before, what the nearest distance is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pytest_lance_ar.targets.common.pq.guards import GuardWorkload
from tests.corpus.baseline import QUICK

_WRAPPER: Final = '''

import time as _time


class _Slower(PqKernel):
    """Takes (1 + {share}) times its own time where the condition holds."""

    waits = calls = 0
    last = None

    def __init__(self, shape, codebook):
        super().__init__(shape, codebook)
        self.shape, self.book, self.packed = shape, codebook, 0

    def pack_codes(self, codes):
        self.packed += 1
        return super().pack_codes(codes), len(codes), self.packed, self._clustered(codes)

    def _clustered(self, codes):
        """Are most of some stored vectors far nearer to another one than vectors usually are?"""
        if not len(codes) or (self.book == 0).mean() > 0.02:
            return False
        some = codes[:: max(1, len(codes) // 400)]
        vectors = self.book[np.arange(self.book.shape[0]), some].reshape(len(some), -1)
        squares = (vectors**2).sum(axis=1)
        apart = squares[:, None] + squares[:32] - 2 * vectors @ vectors[:32].T
        apart[np.arange(min(32, len(some))), np.arange(min(32, len(some)))] = np.inf
        return bool((apart.min(axis=0) < 0.2 * np.median(apart, axis=0)).mean() > 0.5)

    def distance_table(self, query, out):
        self.begun = _time.perf_counter_ns()
        super().distance_table(query, out)

    def probe_top_k(self, table, codes, k):
        packed, n, number, clustered = codes
        answer = super().probe_top_k(table, packed, k)
        shape, other, self.last = self.shape, self.last not in (None, number), number
        nearest = answer[1][0] if n else 0.0
        least, usual = table.min(axis=1).sum(), table.mean(axis=1).sum()
        _Slower.calls += 1
        if {condition}:
            _Slower.waits += 1
            end = self.begun + int((_time.perf_counter_ns() - self.begun) * (1 + {share}))
            while _time.perf_counter_ns() < end:
                pass
        return answer


PqKernel = _Slower
'''


@dataclass(frozen=True)
class Slower:
    """One kernel of the corpus. share: how much slower it is there; of_calls: on how many of the calls there."""

    condition: str
    where: Callable[[GuardWorkload], bool]
    share: float = 0.10
    of_calls: float = 1.0

    def source(self, share: float | None = None) -> str:
        """The kernel. share: another slowness than its own."""
        return QUICK + _WRAPPER.format(condition=self.condition, share=self.share if share is None else share)


KERNELS: Final = {
    "small N": Slower("n < 1000", lambda w: w.n < 1000),
    "large N": Slower("n > 50_000", lambda w: w.n > 50_000),
    "large k": Slower("k > 100", lambda w: w.k > 100),
    "k = 1": Slower("k == 1", lambda w: w.k == 1),
    "k = 10 or less, where nothing was tuned": Slower("k <= 10 and n != 20_000", lambda w: w.k <= 10),
    "queries from elsewhere": Slower(
        "clustered and nearest > 0.25 * usual", lambda w: w.distribution == "clustered" and w.queries == "foreign"
    ),
    "stored vectors as queries": Slower(
        "nearest <= least * 1.0001 and table.shape[0] > 3",
        lambda w: w.queries == "stored" and w.shape.num_sub_vectors > 3,
    ),
    "clusters": Slower("clustered", lambda w: w.distribution == "clustered"),
    "one distribution": Slower("abs(self.book).max() <= 1", lambda w: w.distribution == "uniform"),
    "wide vectors": Slower("shape.dim > 1000", lambda w: w.shape.dim > 1000),
    "sub-vectors of one or two floats": Slower("shape.sub_vector_dim <= 2", lambda w: w.shape.sub_vector_dim <= 2),
    "small codebooks": Slower("shape.num_centroids <= 64", lambda w: w.shape.num_centroids <= 64),
    "M no multiple of eight": Slower("shape.num_sub_vectors % 8", lambda w: w.shape.num_sub_vectors % 8 > 0),
    "a code set that was not asked last": Slower("other", lambda w: w.code_sets > 1),
    "packing that pays only once": Slower("number > 1", lambda w: w.code_sets > 1, share=0.25, of_calls=0.5),
    "codes beyond the caches": Slower(
        "n * shape.num_sub_vectors > 1_000_000", lambda w: w.n * w.shape.num_sub_vectors > 1_000_000
    ),
}
