"""An interpreter with the package installed into it, as `pip install` comes to for a package of Python files."""

from __future__ import annotations

import shutil
import venv
from pathlib import Path

import pytest

DEPENDENCIES = Path(pytest.__file__).parents[1]


def python_at(place: Path) -> Path:
    """A new environment, with what this one has beside the package; its interpreter."""
    venv.create(place, with_pip=False)
    site = next(place.glob("lib/python*/site-packages"))
    (site / "dependencies.pth").write_text(f"{DEPENDENCIES}\n")
    pytest_script = place / "bin" / "pytest"
    python = place / "bin" / "python"
    pytest_script.write_text(f"#!{python}\nimport sys\nimport pytest\nsys.exit(pytest.main())\n")
    pytest_script.chmod(0o755)
    return python


def install(package: Path, python: Path) -> None:
    """Copy a package's directory into an environment, and name its plugin."""
    site = next(python.parents[1].glob("lib/python*/site-packages"))
    shutil.copytree(package, site / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    workflow = package.parent / ".github" / "workflows" / "kernel-gate.yml"
    if workflow.exists():  # a wheel has it there
        (site / "pytest_lance_ar_shipped").mkdir()
        shutil.copy(workflow, site / "pytest_lance_ar_shipped")
    metadata = site / "pytest_lance_ar-0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: pytest-lance-ar\nVersion: 0\n")
    (metadata / "entry_points.txt").write_text("[pytest11]\nlance_ar = pytest_lance_ar.plugin\n")
