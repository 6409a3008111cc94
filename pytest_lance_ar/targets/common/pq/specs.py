"""From a case's text to the case."""

from __future__ import annotations

import json

import numpy as np

from pytest_lance_ar.targets.common import inputs
from pytest_lance_ar.targets.common.pq import sessions
from pytest_lance_ar.targets.common.pq.cases import SCALABLE, SCALES, STRUCTURES, UNSCALABLE, DrawnCase, LiteralCase
from pytest_lance_ar.targets.common.pq.metric import Metric
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.common.specs import MISTAKES, fields_of
from pytest_lance_ar.targets.protocol import Case


def parse(metric: Metric, spec: str) -> Case:
    """Rebuild a case from its `spec`. Raises ValueError when it is none."""
    case: Case
    try:
        if spec.lstrip().startswith("{"):
            case = _parse_literal(metric, spec)
        elif spec.lstrip().startswith("session"):
            case = sessions.parse(metric, spec)
        else:
            case = _parse_drawn(metric, spec)
    except MISTAKES as error:
        raise ValueError(
            f"not a case: {spec!r} ({error}); a case reads like "
            "'shape=128,16,256 distribution=gaussian seed=7 n=40 k=10'"
        ) from error
    return case


def _parse_drawn(metric: Metric, spec: str) -> DrawnCase:
    fields = fields_of(spec, ("seed", "n", "k", "fixture", "code_sets", "queries", "scale"))
    case = DrawnCase(metric, PqShape.of(fields.pop("shape")), **fields)
    if case.distribution not in inputs.DISTRIBUTIONS + inputs.EXTREMES:
        raise ValueError(f"unknown distribution {case.distribution!r}")
    if case.structure not in STRUCTURES:
        raise ValueError(f"unknown structure {case.structure!r}")
    if case.scale not in SCALES or (case.scale and case.distribution not in SCALABLE):
        raise ValueError(f"scale must be in [{SCALES[0]}, {SCALES[-1]}], and 0 for {', '.join(UNSCALABLE)}")
    if case.n < 0 or case.k < 1 or min(case.code_sets, case.queries) < 1:
        raise ValueError("n must be at least 0, k, code_sets and queries at least 1")
    return case


def _parse_literal(metric: Metric, spec: str) -> LiteralCase:
    data = json.loads(spec)
    case = LiteralCase(
        metric,
        codebook=tuple(tuple(tuple(map(float, entry)) for entry in part) for part in data["codebook"]),
        codes=tuple(tuple(map(int, row)) for row in data["codes"]),
        queries=tuple(tuple(map(float, query)) for query in data["queries"]),
        k=int(data["k"]),
    )
    shape, codebook, queries = case.shape, np.array(case.codebook, np.float32), np.array(case.queries, np.float32)
    if codebook.shape != (shape.num_sub_vectors, shape.num_centroids, shape.sub_vector_dim):
        raise ValueError(f"a codebook of shape {codebook.shape} for {shape}")
    if queries.shape != (len(case.queries), shape.dim) or not (
        np.isfinite(codebook).all() and np.isfinite(queries).all()
    ):
        raise ValueError("queries and codebook must be finite, all queries of one length")
    if any(
        len(row) != shape.num_sub_vectors or not 0 <= min(row) <= max(row) < shape.num_centroids for row in case.codes
    ):
        raise ValueError(f"every row of codes must be {shape.num_sub_vectors} numbers in [0, {shape.num_centroids})")
    if case.k < 1:
        raise ValueError("k must be at least 1")
    return case
