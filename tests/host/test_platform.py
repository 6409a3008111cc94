"""Who is waited for has a core of its own, where there are two."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pytest_lance_ar.host import platform

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes cannot be pinned here")


@pytest.mark.parametrize(
    ("there", "core", "meanwhile"),
    [({0, 1}, 1, {1}), ({0}, 0, {0}), ({0, 1, 2}, 1, {0, 1, 2}), ({0, 1}, None, {0, 1})],
)
def test_only_beside_one_other_core_are_things_kept_to_theirs(
    monkeypatch: pytest.MonkeyPatch, there: set[int], core: int | None, meanwhile: set[int]
) -> None:
    now = [there]
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: now[-1])
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, cores: now.append(set(cores)))
    with platform.kept_to(core):
        assert now[-1] == meanwhile
    assert now[-1] == there


def test_numpy_is_told_of_threads_before_it_is_there() -> None:
    code = "import sys; from pytest_lance_ar.host import forkserver, platform; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
