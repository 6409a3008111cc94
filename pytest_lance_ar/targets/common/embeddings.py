"""Real embeddings: the token embeddings of WordLlama, 32,000 vectors of 256 floats, out of an installed wheel.

Source: https://github.com/dleemiller/WordLlama, PyPI `wordllama` (MIT), the extra `[embeddings]`. The wheel ships the
matrix as a safetensors file; the package itself is not imported.
"""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Final

import numpy as np

from pytest_lance_ar.targets.common.inputs import Float32

PACKAGE: Final = "wordllama"
DIM: Final = 256
_FILE: Final = "l2_supercat_256.safetensors"
_TENSOR: Final = "embedding.weight"


def word_embeddings() -> Float32 | None:
    """float32 (32000, 256), or None where the package, or the file in it, is not installed."""
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        return None
    paths = [path.locate() for path in files if path.name == _FILE]
    if not paths:
        return None
    # safetensors: the length of a JSON header as u64, the header, then the tensors' bytes; all little-endian.
    content = Path(paths[0]).read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    tensor = json.loads(content[8:start])[_TENSOR]
    begin, end = tensor["data_offsets"]
    values = np.frombuffer(content[start + begin : start + end], {"F16": "<f2", "F32": "<f4"}[tensor["dtype"]])
    return np.ascontiguousarray(values.reshape(tensor["shape"]), dtype=np.float32)
