"""A shape holds three positive ints that fit, or says what is wrong with them."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pytest_lance_ar
from pytest_lance_ar.targets.common.pq.shape import MAX_CENTROIDS, PqShape

NAMES = ("dim", "num_sub_vectors", "num_centroids")


def shape_with(name: str, value: Any) -> PqShape:
    return PqShape(**{**dict.fromkeys(NAMES, 1), name: value})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("value", "words"),
    [
        (1.0, "1.0 (float)"),
        ("1", "'1' (str)"),
        (None, "None (NoneType)"),
        (True, "True (bool)"),
        (np.int64(1), "(int64)"),
        (np.uint8(1), "(uint8)"),
    ],
)
def test_what_is_not_an_int_is_named(name: str, value: Any, words: str) -> None:
    with pytest.raises(TypeError) as error:
        shape_with(name, value)
    text = str(error.value)
    assert text.startswith(f"PqShape: {name} must be an int, got ")
    assert text.endswith(words)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0, -1, -256])
def test_below_one_is_refused(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=rf"^PqShape: {name} must be at least 1, got {value}$"):
        shape_with(name, value)


@pytest.mark.parametrize("centroids", [257, 65536])
def test_a_code_is_one_byte(centroids: int) -> None:
    with pytest.raises(ValueError, match=rf"^PqShape: num_centroids must be at most 256, .*one byte; got {centroids}$"):
        PqShape(8, 2, centroids)


@pytest.mark.parametrize(("dim", "parts", "rest"), [(10, 3, 1), (128, 17, 9), (2, 4, 2)])
def test_the_parts_must_be_equal(dim: int, parts: int, rest: int) -> None:
    sentence = rf"^PqShape: num_sub_vectors must divide dim exactly; {dim} / {parts} leaves {rest}$"
    with pytest.raises(ValueError, match=sentence):
        PqShape(dim, parts)


@given(dsub=st.integers(1, 100), parts=st.integers(1, 100), centroids=st.integers(1, 256))
def test_what_fits_is_kept_as_given(dsub: int, parts: int, centroids: int) -> None:
    shape = PqShape(dsub * parts, parts, centroids)
    assert (shape.dim, shape.num_sub_vectors, shape.num_centroids) == (dsub * parts, parts, centroids)
    assert shape.sub_vector_dim == dsub
    assert type(shape.sub_vector_dim) is int


def test_text_default_and_equality() -> None:
    shape = PqShape(128, 16)
    assert str(shape) == "(128,16,256)"
    assert shape.num_centroids == MAX_CENTROIDS == 256
    assert shape == PqShape(128, 16, 256)
    assert len({shape, PqShape(128, 16, 256), PqShape(128, 16, 255)}) == 2
    assert PqShape(128, 16, 255) < shape < PqShape(256, 16, 256)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_changes_later(name: str) -> None:
    shape = PqShape(4, 2, 2)
    with pytest.raises(FrozenInstanceError):
        setattr(shape, name, 1)
    assert shape == PqShape(4, 2, 2)


def test_kernels_import_the_same_class() -> None:
    assert pytest_lance_ar.PqShape is PqShape
    with pytest.raises(AttributeError, match="has no attribute 'PqShapes'"):
        _ = pytest_lance_ar.PqShapes
