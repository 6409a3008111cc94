"""What tells one PQ target from another: the distance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pytest_lance_ar.targets.common.inputs import Float32


def as_drawn(vectors: Float32, _num_sub_vectors: int, _seed: int, _role: str) -> Float32:
    """For a metric of which the distributions try all that there is."""
    return vectors


@dataclass(frozen=True, repr=False)
class Metric:
    """How near a query is to a coded vector: a sum over dimensions, the nearer the lower.

    name: in words, for a report. term(query, centroids): what one dimension adds to a table entry, elementwise in
    float32, one operation after the other. operations: of the term, with its addition.
    midway(u, v, side): queries (Q, dim) to which the stored u and v, both (Q, dim), are nearly as near; side,
    -1 or 1 (Q, 1), tells which is a little nearer.
    products, squares: up to what all stored vectors share, their distances are `products` times the inner product with
    the query, and |x|^2 if `squares`; with `squares` they do not change when all vectors move together.
    posed(vectors, num_sub_vectors, seed, role): drawn vectors of a role in the position that the seed chooses.

    The functions are those of a module: cases travel between processes.
    """

    name: str
    term: Callable[[Float32, Float32], Float32]
    operations: int
    midway: Callable[[Float32, Float32, Float32], Float32]
    products: float
    squares: bool
    posed: Callable[[Float32, int, int, str], Float32] = as_drawn

    def __repr__(self) -> str:
        return self.name
