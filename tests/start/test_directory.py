"""What `init` makes of a directory, by what is there already."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

import pytest

from pytest_lance_ar.__main__ import main
from pytest_lance_ar.start import directory as directory_module
from pytest_lance_ar.start.directory import make
from pytest_lance_ar.start.texts import IGNORED, program, workflow
from pytest_lance_ar.targets.registry import targets
from tests.kernels import BASELINE, ROOT, SHIPPED

TARGET = targets()["pq_l2"]
FILES = ["kernel/pq_l2.py", "program.md", "AGENTS.md", ".github/workflows/kernel-gate.yml", ".gitignore"]


def git(directory: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=directory, check=True, capture_output=True)


def collected(directory: Path) -> subprocess.CompletedProcess[str]:
    """The gate, as far as collecting its suite."""
    command = [sys.executable, "-m", "pytest", "--lance-ar", "--collect-only", "-q", "-p", "no:cacheprovider"]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)


def root_of(directory: Path) -> str:
    """What pytest takes for the project's directory."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-p", "no:cacheprovider", "-p", "no:lance_ar"]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    return next(line for line in done.stdout.splitlines() if line.startswith("rootdir: ")).removeprefix("rootdir: ")


def test_this_projects_program_is_made_from_the_template() -> None:
    assert (ROOT / "program.md").read_text() == program(TARGET), (
        "edit pytest_lance_ar/start/program.md and targets/pq_l2/program.md, then write program.md again: python -c "
        '"from pytest_lance_ar.start.texts import program; from pytest_lance_ar.targets.registry import targets; '
        "print(program(targets()['pq_l2']), end='')\" > program.md"
    )


def test_an_empty_directory_becomes_an_experiment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "a b" / "experiment"
    assert main(["init", str(place)]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0] == f"wrote {', '.join(FILES)}"
    assert f"next: cd '{place}' && git init -q && git add -A && git commit" in out
    assert out.endswith(" && pytest --lance-ar\n")
    assert sorted(str(p.relative_to(place)) for p in place.rglob("*") if p.is_file()) == sorted(FILES)
    assert (place / "kernel/pq_l2.py").read_text() == BASELINE
    assert (place / "program.md").read_text() == program(TARGET)
    assert (place / ".gitignore").read_text().splitlines() == list(IGNORED)
    assert len({(place / name).stat().st_mode for name in FILES}) == 1
    assert "program.md" in (place / "AGENTS.md").read_text()
    assert "{{" not in (place / "program.md").read_text() + (place / "AGENTS.md").read_text()
    done = collected(place)
    assert "pq_l2::test_battery" in done.stdout
    assert done.returncode == 5


def test_the_best_kernel_is_the_shipped_one(tmp_path: Path) -> None:
    assert main(["init", str(tmp_path), "--from", "best"]) == 0
    assert (tmp_path / "kernel/pq_l2.py").read_text() == SHIPPED


def test_nothing_is_overwritten_and_a_second_time_nothing_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"mine: {name}")
    assert main(["init", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "wrote .gitignore\n" in out
    assert "AGENTS.md was there: let it point to program.md" in out
    assert [(tmp_path / name).read_text() for name in FILES[:-1]] == [f"mine: {name}" for name in FILES[:-1]]
    assert (tmp_path / ".gitignore").read_text().splitlines() == ["mine: .gitignore", *IGNORED]
    (tmp_path / "AGENTS.md").write_text("read program.md")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert main(["init", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "nothing was missing" in out
    assert "let it point" not in out
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_link_that_leads_nowhere_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "program.md").symlink_to(tmp_path / "nowhere")
    made = make(tmp_path, TARGET, b"")
    assert "program.md" in made.left
    assert not (tmp_path / "nowhere").exists()


def test_in_a_git_repository_the_next_command_is_the_gate_and_below_its_top_no_workflow_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    git(tmp_path, "init", "-q")
    monkeypatch.chdir(tmp_path)
    assert main(["init"]) == 0
    assert capsys.readouterr().out.endswith("next: pytest --lance-ar\n")
    assert main(["init", "below"]) == 0
    out = capsys.readouterr().out
    assert "no workflow for CI was written" in out
    assert not (tmp_path / "below" / ".github").exists()
    git(tmp_path, "add", "-A")
    ignored = subprocess.run(
        ["git", "check-ignore", "results.tsv", ".lance_ar/x", "run.log"], capture_output=True, cwd=tmp_path
    )
    assert len(ignored.stdout.split()) == 3


CONFIGURATIONS = {
    "pytest.ini": "[pytest]\n",
    "pyproject.toml": "[tool.pytest.ini_options]\naddopts = '-ra'\n",
    "tox.ini": "[pytest]\n",
    "setup.cfg": "[tool:pytest]\n",
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_project_that_configures_pytest_keeps_its_configuration(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(CONFIGURATIONS[name])
    assert "pytest.ini" not in make(tmp_path, TARGET, BASELINE.encode()).written


def test_a_project_with_tests_of_its_own_is_judged_without_them(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\naddopts = '--strict-markers'\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_own.py").write_text("def test_own():\n    raise AssertionError\n")
    make(tmp_path, TARGET, BASELINE.encode())
    done = collected(tmp_path)
    assert "pq_l2::" in done.stdout
    assert "test_own" not in done.stdout


@pytest.mark.parametrize("name", ["pyproject.toml", "tox.ini", "setup.py", "pyproject.toml without pytest"])
def test_below_a_project_that_pytest_would_take_for_the_root_the_directory_is_a_root_of_its_own(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name.split()[0]).write_text(CONFIGURATIONS.get(name, ""))
    place = tmp_path / "experiment"
    place.mkdir()
    assert root_of(place) == str(tmp_path)
    assert "pytest.ini" in make(place, TARGET, BASELINE.encode()).written
    assert root_of(place) == str(place)


def test_another_place_of_the_kernel_is_named_in_the_ini_file_or_in_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory_module, "place_of", lambda _: "kernel/other.py")
    made = make(tmp_path / "new", TARGET, BASELINE.encode())
    assert "lance_ar_kernel = kernel/other.py" in (tmp_path / "new" / "pytest.ini").read_text()
    assert made.written[0] == "kernel/other.py"


def test_what_cannot_be_done_is_told_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["init", str(tmp_path / "file")]) == 4
    assert main(["init", str(tmp_path), "--target", "nothing"]) == 4
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "kernel").write_text("")
    assert main(["init", str(tmp_path / "taken")]) == 4
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("init: ") for line in lines)
    assert "there is no target 'nothing'; there is " in lines[1]
    assert "pq_l2" in lines[1]


def test_the_workflow_installs_the_package_from_elsewhere() -> None:
    text = workflow(TARGET)
    assert "pip install pytest-lance-ar==" in text
    assert "pip install ." not in text
    assert "pytest --lance-ar" in text


@pytest.mark.exhaustive
def test_from_a_wheel_on_a_bare_machine(tmp_path: Path) -> None:
    """Build, install into a fresh environment, begin in an empty directory, and judge to the end."""
    wheels, bare = tmp_path / "wheels", tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(wheels), str(ROOT)], check=True)
    venv.create(bare, with_pip=True)
    python = bare / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", str(next(wheels.glob("*.whl")))], check=True)
    for origin, source in (("baseline", BASELINE), ("best", SHIPPED)):
        place = tmp_path / origin
        subprocess.run([python, "-m", "pytest_lance_ar", "init", str(place), "--from", origin], check=True)
        assert (place / "kernel/pq_l2.py").read_text() == source
        assert (place / "program.md").read_text() == program(TARGET)
    done = subprocess.run(
        [bare / "bin" / "pytest", "--lance-ar"], cwd=tmp_path / "baseline", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    assert "\nverdict:               baseline\n" in done.stdout
