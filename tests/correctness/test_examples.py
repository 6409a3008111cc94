"""The store of falsifying examples: shortest first, never more than its limit."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_lance_ar.correctness.examples import LIMIT, Examples


@pytest.fixture
def examples(tmp_path: Path) -> Examples:
    return Examples(tmp_path / "examples", "pq_l2")


def test_a_new_store_is_empty(examples: Examples, tmp_path: Path) -> None:
    assert examples.load() == []
    assert not (tmp_path / "examples").exists()


def test_the_shortest_comes_first_and_equals_by_alphabet(examples: Examples) -> None:
    for spec in ("ccc", "b", "aaaa", "a", "bb", "ü"):
        examples.save(spec)
    assert examples.load() == ["a", "b", "ü", "bb", "ccc", "aaaa"]


def test_what_is_saved_twice_is_there_once(examples: Examples) -> None:
    examples.save("shape=1,1,1 seed=7")
    examples.save("shape=1,1,1 seed=7")
    assert examples.load() == ["shape=1,1,1 seed=7"]


def test_what_is_saved_outlives_the_object(examples: Examples, tmp_path: Path) -> None:
    examples.save("a case")
    assert Examples(tmp_path / "examples", "pq_l2").load() == ["a case"]


def test_targets_do_not_share(examples: Examples, tmp_path: Path) -> None:
    examples.save("a case")
    assert Examples(tmp_path / "examples", "pq_dot").load() == []


def test_forgetting_one_keeps_the_others(examples: Examples) -> None:
    examples.save("a")
    examples.save("b")
    examples.forget("a")
    examples.forget("never saved")
    assert examples.load() == ["b"]


def test_beyond_the_limit_the_longest_makes_room(examples: Examples) -> None:
    specs = ["x" * length for length in range(2, LIMIT + 2)]
    for spec in specs:
        examples.save(spec)
    assert examples.load() == specs
    examples.save("new")  # of length 3
    assert examples.load() == sorted([*specs[:-1], "new"], key=lambda spec: (len(spec), spec))


def test_the_newest_is_kept_even_when_it_is_the_longest(examples: Examples) -> None:
    for length in range(1, LIMIT + 1):
        examples.save("x" * length)
    examples.save("x" * 1000)
    loaded = examples.load()
    assert len(loaded) == LIMIT
    assert loaded[-1] == "x" * 1000


def test_saving_a_known_one_costs_no_other(examples: Examples) -> None:
    specs = ["x" * length for length in range(1, LIMIT + 1)]
    for spec in [*specs, specs[0]]:
        examples.save(spec)
    assert examples.load() == specs
