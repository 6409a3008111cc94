"""Reading the embeddings that an installed wheel ships."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pytest_lance_ar.targets.common import embeddings
from pytest_lance_ar.targets.common.embeddings import word_embeddings


def install(place: Path, files: dict[str, bytes]) -> None:
    """A distribution of the package's name, as a wheel leaves it."""
    info = place / f"{embeddings.PACKAGE}-1.0.dist-info"
    info.mkdir()
    info.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: {embeddings.PACKAGE}\nVersion: 1.0\n")
    info.joinpath("RECORD").write_text("".join(f"{name},,\n" for name in files))
    for name, content in files.items():
        place.joinpath(name).write_bytes(content)


def safetensors(dtype: str, values: np.ndarray[tuple[int, ...], np.dtype[np.floating]]) -> bytes:
    before = b"\x07" * 12
    tensor = {"dtype": dtype, "shape": values.shape, "data_offsets": [len(before), len(before) + values.nbytes]}
    header = json.dumps({"__metadata__": {"format": "pt"}, "embedding.weight": tensor}).encode()
    return len(header).to_bytes(8, "little") + header + before + values.tobytes() + b"\x07" * 4


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(embeddings, "PACKAGE", "made_up_embeddings")
    return tmp_path


@pytest.mark.parametrize(("dtype", "kind"), [("F16", "<f2"), ("F32", "<f4")])
def test_the_matrix_is_read(place: Path, dtype: str, kind: str) -> None:
    values = np.array([[1.5, -2, 0], [0.25, 3, 4]], kind)
    install(place, {"l2_supercat_256.safetensors": safetensors(dtype, values)})
    read = word_embeddings()
    assert read is not None
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, values)


def test_none_where_it_is_not_installed(place: Path) -> None:
    assert word_embeddings() is None
    install(place, {"other": b""})
    assert word_embeddings() is None
