"""From a case's text to the case."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import numpy as np

from pytest_lance_ar.targets.common import inputs
from pytest_lance_ar.targets.common.pq.cases import SCALABLE, SCALES, UNSCALABLE
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.common.specs import MISTAKES, fields_of
from pytest_lance_ar.targets.ivf_pq_l2 import sessions
from pytest_lance_ar.targets.ivf_pq_l2.cases import FILLINGS, MAX_VISITS, STRUCTURES, WORDS, DrawnCase, LiteralCase
from pytest_lance_ar.targets.protocol import Case

NUMBERS = tuple(field.name for field in fields(DrawnCase) if field.name not in WORDS)


def parse(spec: str) -> Case:
    """Rebuild a case from its `spec`. Raises ValueError when it is none."""
    case: Case
    try:
        if spec.lstrip().startswith("{"):
            case = _parse_literal(spec)
        elif spec.lstrip().startswith("session"):
            case = sessions.parse(spec)
        else:
            case = _parse_drawn(spec)
    except MISTAKES as error:
        raise ValueError(
            f"not a case: {spec!r} ({error}); a case reads like "
            "'shape=128,16,256 distribution=gaussian seed=7 partitions=5 most=40 visits=3 k=10'"
        ) from error
    return case


def _parse_drawn(spec: str) -> DrawnCase:
    values = fields_of(spec, NUMBERS)
    case = DrawnCase(PqShape.of(values.pop("shape")), **values)
    for name, known in (
        ("distribution", inputs.DISTRIBUTIONS + inputs.EXTREMES),
        ("filling", FILLINGS),
        ("structure", STRUCTURES),
    ):
        if getattr(case, name) not in known:
            raise ValueError(f"unknown {name} {getattr(case, name)!r}")
    if case.scale not in SCALES or (case.scale and case.distribution not in SCALABLE):
        raise ValueError(f"scale must be in [{SCALES[0]}, {SCALES[-1]}], and 0 for {', '.join(UNSCALABLE)}")
    if case.most < 0 or min(case.partitions, case.k, case.indexes, case.queries) < 1:
        raise ValueError("most must be at least 0, partitions, k, indexes and queries at least 1")
    if not 1 <= case.visits <= MAX_VISITS:
        raise ValueError(f"visits must be from 1 to {MAX_VISITS}")
    return case


def _parse_literal(spec: str) -> LiteralCase:
    data = json.loads(spec)
    case = LiteralCase(**{name: value if name == "k" else _nested(value) for name, value in data.items()})
    asked, shape = case.asked(), case.shape
    index = asked.index
    if index.codebook.shape != (shape.num_sub_vectors, shape.num_centroids, shape.sub_vector_dim):
        raise ValueError(f"a codebook of shape {index.codebook.shape} for {shape}")
    if index.centroids.shape != (len(case.codes), shape.dim) or asked.queries.shape[1:] != (shape.dim,):
        raise ValueError("queries and the centroids of all partitions must be of one length")
    if not all(np.isfinite(array).all() for array in (index.codebook, index.centroids, asked.queries)):
        raise ValueError("queries, centroids and codebook must be finite")
    if any(not 0 <= code < shape.num_centroids for own in case.codes for row in own for code in row):
        raise ValueError(f"codes must be in [0, {shape.num_centroids})")
    ids = index.row_ids
    if [len(own) for own in case.codes] != [len(own) for own in case.row_ids] or len(set(ids.tolist())) != len(ids):
        raise ValueError("every vector must have a row id of its own")
    if (ids < 0).any() or type(case.k) is not int or case.k < 1:
        raise ValueError("row ids must be at least 0, k at least 1")
    visits = case.visits
    if len(visits) != len(case.queries) or not all(
        own and len(set(own)) == len(own) and 0 <= min(own) <= max(own) < len(case.codes) for own in visits
    ):
        raise ValueError("every query must visit one partition or more, each once")
    return case


def _nested(value: Any) -> Any:
    return tuple(map(_nested, value)) if isinstance(value, list) else value
