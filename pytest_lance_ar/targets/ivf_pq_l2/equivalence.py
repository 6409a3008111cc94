"""Equivalence of an answer over many partitions with the reference's: that of a plain top-K, and row ids besides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.targets.common.equivalence import compare_top_k
from pytest_lance_ar.targets.common.inputs import Float32
from pytest_lance_ar.targets.mismatch import Mismatch

ROW_IDS = "search row ids"


def compare_answer(
    row_ids: NDArray[np.int64], reference: Float32, k: int, outputs: Mapping[str, NDArray[Any]], rtol: float = 0.0
) -> Mismatch | None:
    """Compare what a call returned with the reference's row ids (n,) and distances (n,) of all n vectors visited.

    outputs: `count`, int64 (1,), and `ids`, int64, and `distances`, float32, of which so many count.
    """
    wanted, count = min(k, len(row_ids)), int(outputs["count"][0])
    if count != wanted:
        sentence = f"{wanted}, the smaller of k = {k} and the {len(row_ids)} vectors visited"
        return Mismatch("the number of row ids of search", (), sentence, str(count))
    ids, distances = outputs["ids"][:count], outputs["distances"][:count]
    order = np.argsort(row_ids, kind="stable")
    place = np.searchsorted(row_ids[order], ids)
    known = place < len(row_ids)
    known[known] = row_ids[order[place[known]]] == ids[known]
    if not known.all():
        i = int(np.argmin(known))
        return Mismatch(ROW_IDS, (i,), "the row id of a vector in the partitions visited", str(ids[i]))
    _, first, number = np.unique(ids, return_index=True, return_inverse=True)
    repeated = first[number] < np.arange(count)
    if repeated.any():
        i = int(np.argmax(repeated))
        return Mismatch(ROW_IDS, (i,), "every row id once", f"{ids[i]} a second time")
    return compare_top_k(reference, k, order[place].astype(np.int64), distances, rtol, what="search")
