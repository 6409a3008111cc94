"""Temporary directories of gates that are alive stay; those of dead ones go."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_lance_ar.host.scratch import PREFIX, ScratchDirectory, sweep

HOLDER = """
import sys
from pytest_lance_ar.host.scratch import ScratchDirectory
scratch = ScratchDirectory()
(scratch.path / "output").write_text("x")
print(scratch.path, flush=True)
sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


@pytest.fixture
def other(place: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Another gate, with a directory."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield process, Path(process.stdout.readline().strip())
    process.kill()
    process.communicate()


def test_a_directory_is_private_and_goes_when_it_is_closed(place: Path) -> None:
    scratch = ScratchDirectory()
    assert scratch.path.parent == place.resolve()
    assert scratch.path.stat().st_mode & 0o777 == 0o700
    (scratch.path / "below").mkdir()
    scratch.close()
    scratch.close()
    assert list(place.iterdir()) == []


def test_the_directories_of_the_living_stay(other: tuple[subprocess.Popen[str], Path]) -> None:
    scratch = ScratchDirectory()
    assert sweep().removed == []
    assert other[1].is_dir()
    assert scratch.path.is_dir()
    scratch.close()


def test_those_of_the_dead_go(other: tuple[subprocess.Popen[str], Path]) -> None:
    process, path = other
    process.kill()
    process.wait()
    assert (path / "output").exists()
    assert sweep().removed == [path]
    assert not path.exists()
    assert sweep().removed == []


def test_a_link_and_a_file_of_that_name_are_left_alone(place: Path) -> None:
    (place / "mine").mkdir()
    (place / "mine" / "file").touch()
    (place / f"{PREFIX}link").symlink_to(place / "mine")
    (place / f"{PREFIX}file").touch()
    (place / "lance-ar-of-another-kind").mkdir()
    assert sweep().removed == []
    assert len(list(place.iterdir())) == 4
    assert (place / "mine" / "file").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_another_users_directory_is_left_alone(place: Path) -> None:
    path = place / f"{PREFIX}theirs"
    path.mkdir()
    os.chown(path, 12345, 12345)
    assert sweep().removed == []
    assert path.is_dir()
