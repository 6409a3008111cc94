"""Guard workloads: calls so short that many of them are made in one go.

What a gain must not be paid for with is the target's to say: a family of workloads that the seed alone draws, its sizes
spread and dealt by `draw`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from pytest_lance_ar.targets.mismatch import Mismatch
from pytest_lance_ar.targets.protocol import Arrays, Instance, PackInstance

CALL_NS: Final = 60_000
MAX_BATCH: Final = 16
"""Queries that are answered in one go, so that a call takes about CALL_NS and the round trip is a small part of it."""


def batch_of(ns: float) -> int:
    """How many queries of about so many nanoseconds are answered in one go."""
    return max(1, min(MAX_BATCH, round(CALL_NS / ns)))


def batched(instance: Instance, batch: int) -> Instance:
    """The instance with its packs' calls made so many at a time."""
    return instance if batch == 1 else replace(instance, packs=[_batched(pack, batch) for pack in instance.packs])


def _batched(pack: PackInstance, batch: int) -> PackInstance:
    """The same calls, so many at a time: inputs and outputs get a first axis."""

    def check(i: int, outputs: Arrays, rtol: float) -> Mismatch | None:
        return next(filter(None, (pack.check(i * batch + j, _one(outputs, j), rtol) for j in range(batch))), None)

    calls = range(len(pack.calls) // batch)
    return replace(
        pack,
        calls=[_stacked(pack.calls[i * batch : (i + 1) * batch]) for i in calls],
        outputs={name: (kind, (batch, *shape)) for name, (kind, shape) in pack.outputs.items()},
        check=check,
        repeats=batch,
    )


def _one(outputs: Arrays, j: int) -> Arrays:
    return {name: array[j] for name, array in outputs.items()}


def _stacked(calls: Sequence[Arrays]) -> Arrays:
    return {name: np.stack([call[name] for call in calls]) for name in calls[0]}
