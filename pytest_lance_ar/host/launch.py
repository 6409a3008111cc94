"""How a process of the gate's own making is begun: with this very package, and nothing of the user's project."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest_lance_ar
from pytest_lance_ar.host import platform

_BOOTSTRAP: Final = (
    "import sys; del sys.path[0]; sys.path.extend(p for p in {paths!r} if p not in sys.path); "
    # By its place, not by a directory that holds more: beside an editable install lies the user's project.
    "from importlib.util import module_from_spec as module, spec_from_file_location as spec_at; "
    "places = {places!r}; specs = [spec_at(name, place) for name, place in places.items()]; "
    "sys.modules.update((spec.name, module(spec)) for spec in specs); "
    "[spec.loader.exec_module(sys.modules[spec.name]) for spec in specs]; "
    "{statement}"
)
_KEPT_VARIABLES: Final = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")


def environment(directory: Path | None) -> dict[str, str]:
    """A small environment: one thread, nothing of the user's. directory: the home of a process that is a kernel's."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    home = {}
    if directory is not None:
        home = {"HOME": str(directory), "TMPDIR": str(directory), "NUMBA_CACHE_DIR": str(directory / "numba")}
    return {
        **kept,
        **dict.fromkeys(platform.THREAD_VARIABLES, "1"),
        **home,
        "PYTHONHASHSEED": "0",
    }


def packages_of(*modules: str) -> dict[str, str]:
    """The packages of these modules and this one, by name: the file that each is loaded from."""
    places = {pytest_lance_ar.__name__: str(pytest_lance_ar.__file__)}
    for name in (module.partition(".")[0] for module in modules):
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            places.setdefault(name, spec.origin)
    return places


def program(statement: str, packages: Mapping[str, str] | None = None) -> str:
    """A program that runs a statement with this very package, or these, and with nothing of the user's project within
    reach. packages: what `packages_of` tells."""
    return _BOOTSTRAP.format(paths=_import_paths(), places=packages or packages_of(), statement=statement)


def _import_paths() -> list[str]:
    """Where the child finds the packages it needs, behind its own site directories."""
    places = []
    for package in ("numpy", "numba", "llvmlite"):
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            places.append(str(Path(spec.submodule_search_locations[0]).parent))
    return list(dict.fromkeys(places))
