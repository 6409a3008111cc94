"""What an agent leaves beside the kernel: the real gate, started in each way, never ends in 0 with a slower kernel."""

from __future__ import annotations

import compileall
import marshal
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from _pytest.assertion.rewrite import PYC_TAIL, get_cache_dir

from tests import kernels
from tests.plugin.test_plugin import MEASURE

KEEPS = """
from pytest_lance_ar.trial import verdict
def pytest_lance_ar_decide(trial, evidence):
    return verdict.Verdict("keep", verdict.ExitCode.KEPT)
"""
LEAVES = "import os\nos._exit(0)\n"
SCRIPT = (str(Path(sys.executable).with_name("pytest")),)
MODULE = (sys.executable, "-m", "pytest")


@dataclass(frozen=True)
class Plant:
    """files: by place in the project. ran: whether the gate itself says `tampered`; else pytest ends before it."""

    name: str
    files: dict[str, str]
    start: tuple[str, ...] = SCRIPT
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    change: Callable[[Path], object] = lambda project: None
    tampered: bool = True

    @property
    def names(self) -> list[str]:
        """How the gate may call what it found."""
        return [*self.files, *(name.rsplit("/", 2)[-2] for name in self.files if "/" in name), "helper.pyc"]


def compiled(project: Path) -> None:
    """A module without its source."""
    source = project / "helper.py"
    compileall.compile_file(source, legacy=True, quiet=2)
    source.unlink()


ENTRY_POINT = {"evil-1.dist-info/METADATA": "Name: evil\nVersion: 1\n", "evil.py": KEEPS}
ENTRY_POINT |= {"evil-1.dist-info/entry_points.txt": "[pytest11]\nevil = evil\n"}
TARGET = {"evil-1.dist-info/METADATA": "Name: evil\nVersion: 1\n", "evil.py": LEAVES}
TARGET |= {"evil-1.dist-info/entry_points.txt": "[pytest_lance_ar.targets]\nevil = evil:TARGET\n"}
TARGET |= {"kernel/pq_l2.py": "class EvilKernel: ...\n"}
PLANTS = [
    Plant("a target from outside", TARGET),
    Plant("a target from outside, by module", TARGET, MODULE),
    Plant("sitecustomize", {"sitecustomize.py": LEAVES}),
    Plant("sitecustomize, by module", {"sitecustomize.py": KEEPS}, MODULE),
    Plant("usercustomize", {"usercustomize.py": LEAVES}),
    Plant("a .pth", {"evil.pth": "import os; os._exit(0)\n"}),
    Plant("an entry point", ENTRY_POINT),
    Plant("an entry point, by module", ENTRY_POINT, MODULE),
    Plant("numpy, by script", {"numpy.py": LEAVES}),
    Plant("numpy, by module", {"numpy.py": LEAVES}, MODULE),
    Plant("a package numba, by module", {"numba/__init__.py": LEAVES}, MODULE),
    Plant("hypothesis, by module", {"hypothesis/__init__.py": LEAVES}, MODULE),
    Plant(
        "the package itself, by module", {"pytest_lance_ar/__init__.py": "__version__ = '1'\n"}, MODULE, tampered=False
    ),
    Plant("a conftest beside the kernel", {"kernel/conftest.py": KEEPS}, arguments=("kernel",)),
    Plant("a conftest in a second directory of tests", {"test_two/conftest.py": KEEPS}),
    Plant("another conftest", {"conftest.py": KEEPS}),
    Plant("a conftest that leaves", {"conftest.py": LEAVES}),
    Plant("an ini file that outranks", {".pytest.ini": "[pytest]\naddopts = -p evil\n", "evil.py": KEEPS}, MODULE),
    Plant(
        "a toml file that outranks", {"pytest.toml": "[pytest]\naddopts = ['-p', 'evil']\n", "evil.py": KEEPS}, MODULE
    ),
    Plant("a .pyc without its source", {"helper.py": KEEPS}, change=compiled),
    Plant("PYTEST_PLUGINS", {"evil.py": KEEPS}, MODULE, environment={"PYTEST_PLUGINS": "evil"}),
    Plant("-p", {"evil.py": KEEPS}, MODULE, arguments=("-p", "evil")),
    Plant("PYTEST_ADDOPTS", {"evil.py": KEEPS}, MODULE, environment={"PYTEST_ADDOPTS": "-p evil"}),
    Plant("PYTHONPATH", {"lib/evil.py": KEEPS}, arguments=("-p", "evil"), environment={"PYTHONPATH": "lib"}),
    Plant("PYTHONPATH, numpy", {"lib/numpy.py": LEAVES}, environment={"PYTHONPATH": "lib"}),
    Plant("a plugin below the kernel", {"kernel/evil.py": KEEPS}, MODULE, arguments=("-p", "kernel.evil")),
    Plant("a module of the kernel's package", {"kernel/__init__.py": KEEPS}, MODULE, arguments=("-p", "kernel")),
    Plant(
        "a link for a package",
        {"elsewhere/yaml/__init__.py": LEAVES},
        MODULE,
        change=lambda project: (project / "yaml").symlink_to(project / "elsewhere" / "yaml"),
    ),
]


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a baseline, and a slower kernel in its place."""
    project = tmp_path_factory.mktemp("judged")
    project.joinpath("pytest.ini").write_text("[pytest]\n")
    project.joinpath("conftest.py").write_text(MEASURE)
    project.joinpath("kernel").mkdir()
    project.joinpath("kernel/pq_l2.py").write_text(kernels.PURE_PYTHON)
    first = run(project, Plant("none", {}))
    assert first.returncode == 0, first.stdout
    project.joinpath("kernel/pq_l2.py").write_text(kernels.PURE_PYTHON + "# slower\n")
    return project


def run(project: Path, plant: Plant) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHON"))}
    return subprocess.run(
        [*plant.start, "--lance-ar", *plant.arguments],
        cwd=project,
        env={**environment, "RATIO": "1.2", **plant.environment},
        capture_output=True,
        text=True,
        check=False,
    )


def outcome(judged: Path, copy: Path, plant: Plant) -> subprocess.CompletedProcess[str]:
    shutil.copytree(judged, copy)
    for place, text in plant.files.items():
        (copy / place).parent.mkdir(parents=True, exist_ok=True)
        (copy / place).write_text(text)
    plant.change(copy)
    return run(copy, plant)


@pytest.mark.slow
@pytest.mark.parametrize("start", [SCRIPT, MODULE], ids=["script", "module"])
def test_a_slower_kernel_alone_is_discarded(judged: Path, tmp_path: Path, start: tuple[str, ...]) -> None:
    done = outcome(judged, tmp_path / "project", Plant("none", {}, start))
    assert done.returncode == 1, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_a_plant_never_ends_in_0(judged: Path, tmp_path: Path, plant: Plant) -> None:
    done = outcome(judged, tmp_path / "project", plant)
    words = done.stdout + done.stderr
    assert done.returncode != 0, words
    if plant.tampered:
        assert done.returncode == 10, words
        assert any(name in words for name in plant.names), words


@pytest.mark.parametrize("name", ["numpy, by module", "a conftest that leaves", "a target from outside, by module"])
def test_some_of_them_for_every_run(judged: Path, tmp_path: Path, name: str) -> None:
    (plant,) = (plant for plant in PLANTS if plant.name == name)
    test_a_plant_never_ends_in_0(judged, tmp_path, plant)


def test_a_compiled_conftest_that_says_something_else(judged: Path, tmp_path: Path) -> None:
    def planted(project: Path) -> None:
        source = project / "conftest.py"
        compiled = get_cache_dir(source) / (source.stem + PYC_TAIL)
        header = compiled.read_bytes()[:16]
        compiled.write_bytes(header + marshal.dumps(compile(MEASURE + KEEPS, str(source), "exec")))

    done = outcome(judged, tmp_path / "project", Plant("a compiled conftest", {}, MODULE, change=planted))
    words = done.stdout + done.stderr
    assert done.returncode == 10, words
    assert "conftest" in words
    assert "not what its source says" in words
    assert " passed" not in words  # nothing can save it: no test ran
