"""The share of a real query that a kernel can save, from times that are made up."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.pq_l2.bench import lance_share
from pytest_lance_ar.targets.pq_l2.bench.lance_share import PROBES, USUAL, share_of

SHAPE = PqShape(128, 16)


def asked(rest: float, each: float, noise: float = 0.0) -> NDArray[np.float64]:
    """Seconds of 60 queries by their probes, one in ten of them ten times as slow."""
    rng = np.random.default_rng(1)
    seconds = (rest + each * np.array(PROBES)) * np.exp(rng.normal(0, noise, (60, len(PROBES))))
    return np.where(rng.random(seconds.shape) < 0.1, 10 * seconds, seconds)


def test_the_share_is_what_grows_with_the_probes() -> None:
    share = share_of(SHAPE, "14.0.2", asked(600e-6, 20e-6))
    assert share.microseconds == pytest.approx(600 + 20 * USUAL)
    assert share.share == pytest.approx(400 / 1000)
    assert "1,000 us a query, of which 40% [40%, 40%] grow with what it visits" in str(share)


def test_what_does_not_grow_is_no_share() -> None:
    assert share_of(SHAPE, "14", asked(1e-3, -1e-6)).share == 0


def test_noise_widens_what_is_told() -> None:
    quiet, noisy = (share_of(SHAPE, "14", asked(600e-6, 20e-6, noise)) for noise in (0.02, 0.5))
    (low, high), (lower, higher) = quiet.interval, noisy.interval
    assert low < 0.4 < high
    assert higher - lower > 3 * (high - low)


@pytest.mark.skipif(not lance_share.installed(), reason="it takes the extra [lance]")
@pytest.mark.exhaustive
def test_a_real_index_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"VECTORS": 5_000, "PARTITIONS": 8, "QUERIES": 3, "PROBES": (1, 4, 8)}.items():
        monkeypatch.setattr(lance_share, name, value)
    share = lance_share.measure(PqShape(16, 2))
    assert 0 <= share.share <= 1
    assert share.microseconds > 0
