"""Eight evaluations started at once, as a search does: each answers before the search gives up on it."""

from __future__ import annotations

import pytest

from pytest_lance_ar.trial.kernel_source import Kernel
from tests.benchmark_trials import PLAIN, together

OPENEVOLVES_SECONDS = 300


@pytest.mark.exhaustive
def test_eight_at_once_all_answer_and_the_honest_ones_have_a_score() -> None:
    answers = together(8, Kernel.read(PLAIN, PLAIN.name))
    assert max(seconds for _, seconds, _ in answers) < OPENEVOLVES_SECONDS
    for name, _, numbers in answers:
        assert (numbers["combined_score"] > 0) == name.startswith("program"), (name, numbers)
