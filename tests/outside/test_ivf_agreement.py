"""The reference of whole IVF_PQ queries against others with the same centroids and codebook: the same rows, and the
same distances up to rounding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.ivf_pq_l2.reference import Index
from tests.outside.examples import rounding_bound
from tests.outside.ivf import NAMES, VISITS, compare, example

pytestmark = pytest.mark.slow


@pytest.fixture(params=["lance", "faiss"])
def other(request: pytest.FixtureRequest) -> str:
    """An implementation that is not ours. Skips the test where it is not installed."""
    pytest.importorskip(request.param, reason=f"{request.param} is not installed: the extra [{request.param}]")
    return str(request.param)


@pytest.mark.parametrize(("shape", "name"), NAMES, ids=str)
def test_the_references_answers_are_theirs(other: str, shape: PqShape, name: str) -> None:
    found = compare(example(shape, name), other)
    assert found[VISITS[0]][0] < found[VISITS[-1]][0]
    for visits, (_, difference) in found.items():
        assert difference.relative <= rounding_bound(shape), f"{visits} partitions visited"


@pytest.mark.parametrize("what", ["centroids", "codes", "row_ids"])
def test_a_wrong_reference_would_be_noticed(other: str, what: str) -> None:
    ours = example(*NAMES[0])
    index = ours.index
    changed = {
        "centroids": index.centroids + np.float32(1e-3),
        "codes": np.roll(index.codes, 1, axis=0),
        "row_ids": np.roll(index.row_ids, 1),
    }

    class Wrong(Index):
        """Answers as the changed arrays have it; the other one is asked with the right ones."""

        def answers(self, *arguments):  # type: ignore[no-untyped-def]
            return replace(index, **{what: changed[what]}).answers(*arguments)

    wrong = replace(ours, index=Wrong(**{f: getattr(index, f) for f in index.__dataclass_fields__}))
    try:
        found = compare(wrong, other)
    except AssertionError:
        return  # other rows
    assert max(difference.relative for _, difference in found.values()) > rounding_bound(ours.shape)
