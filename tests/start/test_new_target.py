"""What `new-target` writes, and what it refuses; that it works at once, from the wheel, in a new environment."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

import pytest

from pytest_lance_ar.__main__ import main
from pytest_lance_ar.start.new_target import MAX_NAME, SCAFFOLD, new_target
from tests.installed import DEPENDENCIES
from tests.kernels import ROOT

FASTER = """
    for i in range(len(vectors)):
        total = 0
        for d in range(len(query)):
            difference = int(query[d]) - int(vectors[i, d])
            total += difference * difference
        out[i] = total
"""
"""Row by row, in place of the baseline's loops."""


@pytest.mark.parametrize(
    ("name", "word"),
    [
        *((name, "lower-case letters") for name in ("", "Mine", "1st", "a-b", "a__b", "_a", "a_", "a.b", "a/b", "é")),
        ("x" * (MAX_NAME + 1), "lower-case letters"),
        ("pq_l2", "a target pq_l2 already"),
        ("pq", "PqKernel, which is the class of pq_l2"),
        *((name, "in Python already") for name in ("class", "json", "numpy", "pytest_lance_ar", "kernel", "tests")),
    ],
)
def test_a_name_that_cannot_be_is_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, word: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new-target", name]) == 4
    assert word in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("there", ["a file", "a directory with a file", "a link to nothing"])
def test_nothing_that_is_there_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str], there: str) -> None:
    place = tmp_path / "mine"
    if there == "a file":
        place.write_text("mine")
    elif there == "a link to nothing":
        place.symlink_to("nothing")
    else:
        place.mkdir()
        (place / "notes.txt").write_text("mine")
    assert main(["new-target", "mine", str(place)]) == 4
    assert "is there and not an empty directory" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_place_that_cannot_be_is_told_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    for place in (f"{tmp_path}/file/mine", f"{tmp_path}/{'x' * 300}", f"{tmp_path}/a\0b"):
        assert main(["new-target", "mine", place]) == 4
        assert capsys.readouterr().err.startswith("new-target: ")


def test_the_example_is_written_under_its_new_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "some where" / "new"
    assert main(["new-target", "my_2nd", str(place)]) == 0
    out = capsys.readouterr().out
    assert f"next: cd '{place}' && pip install -e . && pytest && pytest --lance-ar\n" in out
    files = {path.relative_to(place).as_posix(): path for path in place.rglob("*") if path.is_file()}
    for name, path in files.items():
        text = path.read_text()
        assert name in out
        assert not any(word in text + name for word in ("u8_l2", "u8-l2", "U8L2"))
        if name.endswith(".py"):
            compile(text, name, "exec")
    assert files["kernel/my_2nd.py"].read_text() == files["my_2nd/baseline.py"].read_text()
    assert "class My2ndKernel" in files["kernel/my_2nd.py"].read_text()
    examples = [path for path in SCAFFOLD.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert len(files) == len(examples) + 2
    assert place.stat().st_mode & 0o055 == 0o055, "as any new directory"


def test_an_empty_directory_is_taken(tmp_path: Path) -> None:
    new_target("mine", tmp_path / "new")
    (tmp_path / "empty").mkdir()
    new_target("mine", tmp_path / "empty")
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["empty", "new"]


def run(command: Sequence[str | Path], here: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_new_target_works_at_once_from_the_wheel(tmp_path: Path) -> None:
    """It installs, its own tests pass, the gate keeps its baseline and a faster kernel and refuses a wrong one, and
    sees when the target itself was changed."""
    wheels, place, project = tmp_path / "wheels", tmp_path / "venv", tmp_path / "project"
    done = run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", wheels, ROOT], tmp_path)
    assert done.returncode == 0, done.stderr
    venv.create(place, with_pip=True)
    python, site = place / "bin" / "python", next(place.glob("lib/python*/site-packages"))
    (site / "dependencies.pth").write_text(f"{DEPENDENCIES}\n")
    pip: list[str | Path] = [python, "-m", "pip", "install", "-q", "--no-deps"]
    commands: list[list[str | Path]] = [
        [*pip, *wheels.iterdir()],
        [python, "-m", "pytest_lance_ar", "new-target", "two_words", project],
        [*pip, project],
        [python, "-m", "pytest", "-q", project],
    ]
    for command in commands:
        done = run(command, tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr

    def judged(source: str) -> tuple[int, dict[str, str]]:
        kernel.write_text(source)
        done = run([python, "-m", "pytest", "--lance-ar", "--lance-ar-json=report.json"], project)
        report = json.loads((project / "report.json").read_text())
        assert report["verdict"] in done.stdout, done.stdout + done.stderr
        return done.returncode, report

    kernel = project / "kernel" / "two_words.py"
    baseline = kernel.read_text()
    start, end = baseline.index("    out[:] = 0"), baseline.index("\n\n\nclass")
    faster = baseline[:start] + FASTER.strip("\n") + baseline[end:]
    wrong = baseline.replace("int(query[d])", "int(query[d] if d < 100 else 0)")
    status, report = judged(baseline)
    assert (status, report["verdict"], report["correctness"]) == (0, "baseline", "pass")
    status, report = judged(faster)
    assert (status, report["verdict"]) == (0, "keep"), report
    status, report = judged(wrong)
    assert (status, report["verdict"]) == (2, "incorrect")
    # One more dimension where the query's last byte happens to be 0, which is right by accident.
    assert re.search(r"N 1, dim 10[1-3], ", report["first_failure"]), report["first_failure"]
    assert "two_words" in report["replay"]
    target = site / "two_words" / "target.py"
    target.write_text(target.read_text() + "# easier\n")
    status, report = judged(faster)
    assert (status, report["verdict"]) == (10, "tampered")
    assert "two-words:two_words/target.py" in report["reason"]
