"""What a hostile kernel leaves behind is removed, whatever it is, or left in time."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_lance_ar.host.removal import remove_tree


def deep(top: Path) -> None:
    """Deeper than Python recurses."""
    here = os.open(top, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("file", os.O_CREAT, dir_fd=here))
    os.close(here)


def unreadable(top: Path) -> None:
    for name in ("a", "b", "c"):
        (top / name / "below").mkdir(parents=True)
        (top / name / "below" / "file").touch()
        (top / name / "below").chmod(0)
    (top / "a").chmod(0o500)
    (top / "b").chmod(0)
    top.chmod(0o500)


def wide(top: Path) -> None:
    for number in range(700):
        (top / f"file{number}").touch()
        (top / f"directory{number}" / "below").mkdir(parents=True)


def odd(top: Path) -> None:
    os.mkfifo(top / "pipe")
    (top / "dangling").symlink_to("nowhere")
    (top / "to itself").symlink_to(top)
    (top / ("n" * 255)).mkdir()
    os.close(os.open(os.fsencode(top) + b"/\xff\n", os.O_CREAT))


FILLINGS = (deep, unreadable, wide, odd, lambda _top: None)


@pytest.mark.parametrize("fill", FILLINGS)
def test_a_directory_goes_whatever_is_in_it(
    tmp_path: Path, request: pytest.FixtureRequest, fill: Callable[[Path], object]
) -> None:
    top = tmp_path / "top"
    top.mkdir()
    request.addfinalizer(lambda: remains(top))
    fill(top)
    assert remove_tree(top, 60.0)
    assert list(tmp_path.iterdir()) == []


def remains(top: Path) -> None:
    """Not for pytest to remove: it recurses."""
    subprocess.run(["rm", "-rf", str(top)], check=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is let into every directory")
def test_modes_are_mended_for_who_is_not_root(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    unreadable(top)
    tmp_path.chmod(0o777)
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_mode & 0o005 != 0o005:
            path.chmod(path.stat().st_mode | 0o005)
    for folder, _, files in os.walk(tmp_path):
        for path in (Path(folder), *(Path(folder) / file for file in files)):
            os.chown(path, 12345, 12345)
    child = os.fork()
    if child == 0:
        os.setgid(12345)
        os.setuid(12345)
        os._exit(0 if remove_tree(top, 60.0) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not top.exists()


def test_links_are_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").touch()
    elsewhere.chmod(0o500)
    top = tmp_path / "top"
    top.mkdir()
    (top / "link").symlink_to(elsewhere)
    assert remove_tree(top, 60.0)
    assert (elsewhere / "file").exists()
    assert elsewhere.stat().st_mode & 0o777 == 0o500
    (tmp_path / "link").symlink_to(elsewhere)
    assert not remove_tree(tmp_path / "link")
    assert (elsewhere / "file").exists()


def test_what_is_not_done_in_time_is_left_and_said(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    wide(top)
    times = iter([0.0, *[0.5] * 3, *[2.0] * 100])
    assert not remove_tree(top, 1.0, clock=lambda: next(times))
    left = len(list(top.iterdir()))
    assert 0 < left < 1400
    assert remove_tree(top, 60.0)


def test_what_is_not_there_is_gone(tmp_path: Path) -> None:
    assert remove_tree(tmp_path / "nothing")
