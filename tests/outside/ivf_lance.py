"""A real Lance index, given our centroids and codebook: what a query finds in the partitions it visits."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("LANCE_IO_THREADS", "2")

import lance
import pyarrow as pa

from pytest_lance_ar.targets.common.inputs import Float32
from tests.outside.ivf import Example

FRAGMENT: Final = 1_000
"""Rows of a file: row ids are 2^32 x the file's number + the place in it."""


def answers(example: Example, all_visits: Sequence[int]) -> dict[int, list[tuple[NDArray[np.int64], Float32]]]:
    """By the number of partitions visited: row ids and distances of all vectors in them, a pair for each query."""
    ours = example.index
    count, dim = example.vectors.shape
    found: dict[int, list[tuple[NDArray[np.int64], Float32]]] = {}
    with tempfile.TemporaryDirectory() as directory:
        column = pa.FixedSizeListArray.from_arrays(pa.array(example.vectors.reshape(-1)), dim)
        table = pa.table({"vec": column})
        dataset = lance.write_dataset(table, f"{directory}/vectors.lance", max_rows_per_file=FRAGMENT)
        dataset = dataset.create_index(
            "vec",
            "IVF_PQ",
            metric="L2",
            num_partitions=len(ours.centroids),
            num_sub_vectors=example.shape.num_sub_vectors,
            ivf_centroids=ours.centroids,
            pq_codebook=ours.codebook,
        )
        for visits in all_visits:
            found[visits] = []
            for query in example.queries:
                nearest = {"column": "vec", "q": query, "k": count, "nprobes": visits, "minimum_nprobes": visits}
                nearest["maximum_nprobes"] = visits
                rows = dataset.to_table(columns=["_distance"], with_row_id=True, nearest=nearest)
                ids = rows["_rowid"].to_numpy().astype(np.int64)
                numbers = (ids >> 32) * FRAGMENT + (ids & 0xFFFFFFFF)
                found[visits].append((numbers, rows["_distance"].to_numpy()))
    return found
