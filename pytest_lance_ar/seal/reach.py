"""What this interpreter could import from the project's directory, and what it did import.

The first is sealed like the tests are, however pytest was started: a module or package beside the kernel, what is
found behind an entry of `sys.path`, what Python or pytest runs at their start. The second is held against the seal.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib.machinery import all_suffixes
from pathlib import Path
from typing import Final

_LOADED_BY_NAME: Final = (*all_suffixes(), ".pth", ".egg-link")
_METADATA: Final = (".dist-info", ".egg-info")
_SITES: Final = ("site-packages", "dist-packages")


def importable(root: Path) -> Iterator[Path]:
    """Files of a project that this interpreter could import or run, wherever pytest was started and in which way."""
    root = root.resolve()
    for place in dict.fromkeys([root, *_entries_inside(root)]):
        yield from _of_packages(place) if place.name in _SITES else _of_project(place)
    yield from sorted(root.glob("test*/conftest.py"))  # pytest looks there, whatever it is asked to run


def imported(root: Path, sealed: Collection[Path]) -> Iterator[Path]:
    """Files of a project that were imported by this process, and are not sealed."""
    root = root.resolve()
    elsewhere = [Path(prefix).resolve() for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix)]
    elsewhere = [prefix for prefix in elsewhere if not root.is_relative_to(prefix)]
    for module in list(sys.modules.values()):
        origin = getattr(module, "__file__", None)
        if not isinstance(origin, str):
            continue
        path = Path(origin).resolve()
        if (
            path.is_relative_to(root)
            and path not in sealed
            and not any(path.is_relative_to(prefix) for prefix in elsewhere)
            and not any(part in _SITES for part in path.parts)
        ):
            yield path


@contextmanager
def paths_closed(root: Path, here: Path) -> Iterator[None]:
    """Meanwhile nothing in the project's directory, or in the working one, is imported by its name.

    Nor is what is imported rewritten as tests are: that takes a second where Python may not store what it compiles.
    """
    inside = {str(here.resolve()), *map(str, _entries_inside(root.resolve()))}
    before, finders = list(sys.path), list(sys.meta_path)
    sys.meta_path[:] = [finder for finder in finders if not type(finder).__module__.startswith("_pytest.")]
    sys.path[:] = [entry for entry in before if str(Path(entry).resolve()) not in inside or Path(entry).name in _SITES]
    try:
        yield
    finally:
        sys.path[:], sys.meta_path[:] = before, finders


def _entries_inside(root: Path) -> list[Path]:
    entries = (Path(entry).resolve() for entry in sys.path)
    return [entry for entry in entries if entry.is_relative_to(root) and entry.is_dir()]


def _of_project(place: Path) -> Iterator[Path]:
    for entry in sorted(place.iterdir()):
        if entry.name.endswith(_METADATA):
            yield from sorted(path for path in entry.rglob("*") if path.is_file()) if entry.is_dir() else [entry]
        elif entry.is_dir():
            if entry.name.isidentifier() and any((entry / f"__init__{suffix}").exists() for suffix in all_suffixes()):
                yield from sorted(
                    path
                    for path in entry.rglob("*")
                    if path.name.endswith(_LOADED_BY_NAME) and "__pycache__" not in path.parts
                )
        elif entry.name.endswith(_LOADED_BY_NAME):
            yield entry


def _of_packages(site: Path) -> Iterator[Path]:
    """Of installed packages what runs unasked: at Python's start, and as a plugin of pytest."""
    for entry in sorted(site.iterdir()):
        if entry.name.endswith(".pth") or entry.name.partition(".")[0] in ("sitecustomize", "usercustomize"):
            yield from sorted(entry.rglob("*.py")) if entry.is_dir() else [entry]
        points = entry / "entry_points.txt"
        if entry.name.endswith(_METADATA) and points.is_file() and b"pytest11" in points.read_bytes():
            yield points
