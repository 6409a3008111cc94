"""What cheats and honest kernels share."""

from __future__ import annotations

import pytest

from tests.corpus.arena import Arena


@pytest.fixture(scope="session")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Arena:
    """A prepared arena, to be copied."""
    return Arena.prepared(tmp_path_factory.mktemp("arena") / "prepared")
