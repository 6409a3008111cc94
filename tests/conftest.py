"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

# Plain pytest: the same few examples every time, nothing stored. The gate has settings of its own.
settings.register_profile("plain", max_examples=20, deadline=None, derandomize=True, database=None)
settings.load_profile("plain")


@pytest.fixture(scope="session", autouse=True)
def _no_workflow() -> Iterator[None]:
    """Where these tests run in a workflow, the trials in them have no say in its annotations and its summary."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture
def no_look_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """For many trials whose seal is not the point: the package's compiled files take half a second each time."""
    from pytest_lance_ar.seal.watch import Watch

    monkeypatch.setattr(Watch, "behind", lambda _self: ())
