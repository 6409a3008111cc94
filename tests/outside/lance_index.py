"""Real Lance's product quantizer, given our codebook: its codes and the distance that it gives every vector."""

from __future__ import annotations

import tempfile
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
from lance.file import LanceFileReader
from numpy.typing import NDArray

from pytest_lance_ar.targets.common.inputs import Float32
from tests.outside.examples import Example


def codes_and_distances(example: Example) -> tuple[NDArray[np.uint8], Float32]:
    """Codes (N, M) of the example's vectors, and distances (Q, N) of its queries.

    One partition whose centroid is zero makes IVF_PQ plain PQ: the residual is the vector. Searched for all N
    neighbours, Lance returns its own ADC distance of every row.
    """
    count, dim = example.vectors.shape
    with tempfile.TemporaryDirectory() as directory:
        column = pa.FixedSizeListArray.from_arrays(pa.array(example.vectors.reshape(-1)), dim)
        dataset = lance.write_dataset(pa.table({"vec": column}), f"{directory}/vectors.lance")
        dataset = dataset.create_index(
            "vec",
            "IVF_PQ",
            metric=example.metric,
            num_partitions=1,
            num_sub_vectors=example.shape.num_sub_vectors,
            ivf_centroids=np.zeros((1, dim), np.float32),
            pq_codebook=example.codebook,
        )
        distances = np.full((len(example.queries), count), np.nan, np.float32)
        for place, query in zip(distances, example.queries, strict=True):
            nearest = {"column": "vec", "q": query, "k": count, "nprobes": 1}
            found = dataset.to_table(columns=["_distance"], with_row_id=True, nearest=nearest)
            place[found["_rowid"].to_numpy()] = found["_distance"].to_numpy()
        (index,) = Path(directory).glob("vectors.lance/_indices/*/auxiliary.idx")
        return _stored_codes(index, example.shape.num_sub_vectors), distances


def _stored_codes(index: Path, num_sub_vectors: int) -> NDArray[np.uint8]:
    """The codes in an index file, by row: they are stored transposed, in the order of `_rowid`."""
    stored = LanceFileReader(str(index)).read_all().to_table()
    rows = stored["_rowid"].to_numpy()
    transposed = stored["__pq_code"].combine_chunks().flatten().to_numpy().reshape(num_sub_vectors, len(rows))
    codes = np.empty((len(rows), num_sub_vectors), np.uint8)
    codes[rows] = transposed.T
    return codes
