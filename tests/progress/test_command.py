"""The command: what it prints, writes and refuses."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_lance_ar.__main__ import main
from tests.progress.ledgers import campaign, ledger_of

WITHOUT_MATPLOTLIB = """
import sys
sys.modules["matplotlib"] = None
from pytest_lance_ar.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results.tsv").write_text(campaign(10))
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one sentence of an exit 4."""
    assert main(["progress", *arguments]) == 4
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("progress: ")
    return lines[0].removeprefix("progress: ")


def test_the_picture_is_written_and_the_table_printed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    assert main(["progress"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("10 trials, 4 kept: 1.463x [")
    assert out.endswith("\nwrote progress.png\n")
    assert err == ""
    assert (project / "progress.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in project.iterdir()) == ["progress.png", "results.tsv"]


def test_picture_and_page_go_where_they_are_told(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    (project / "state").mkdir()
    (project / "results.tsv").rename(project / "state" / "results.tsv")
    assert main(["progress", "--state", "state", "--out", "a.PNG", "--html", "b.html"]) == 0
    assert capsys.readouterr().out.endswith("\nwrote a.PNG and b.html\n")
    assert (project / "a.PNG").exists()
    assert (project / "b.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_the_table_alone_needs_no_matplotlib_and_writes_nothing(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_MATPLOTLIB, "progress", "--no-picture"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("10 trials, 4 kept: 1.463x [")
    assert done.stderr == ""
    assert [path.name for path in project.iterdir()] == ["results.tsv"]


def test_without_matplotlib_the_table_comes_first_and_then_one_sentence(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_MATPLOTLIB, "progress"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 4
    assert done.stdout.startswith("10 trials, 4 kept: 1.463x [")
    assert len(done.stderr.splitlines()) == 1
    assert "pip install 'pytest-lance-ar[plot]'" in done.stderr
    assert not (project / "progress.png").exists()


def test_what_cannot_be_done_is_refused_in_a_sentence(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    assert refused(capsys, "--ledger", "missing.tsv").startswith("no ledger at missing.tsv; ")
    assert refused(capsys, "--ledger", ".").startswith(". cannot be read (")
    assert refused(capsys, "--out", "results.tsv") == "--out results.tsv must end in .png"
    assert refused(capsys, "--html", "kernel.py") == "--html kernel.py must end in .html"
    assert refused(capsys, "--no-picture", "--html", "a.html").startswith("--html draws the picture")
    assert refused(capsys, "--out", "no/such/a.png").startswith("no/such/a.png cannot be written (")
    (project / "foreign.tsv").write_text("a\tb\n")
    assert refused(capsys, "--ledger", "foreign.tsv").startswith("foreign.tsv is no ledger of this gate")
    assert (project / "results.tsv").read_text() == campaign(10)


def test_an_empty_ledger_is_no_mistake(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    (project / "results.tsv").write_text("")
    assert main(["progress", "--html", "a.html"]) == 0
    assert capsys.readouterr().out.startswith("No trials yet\n")


def test_a_terminal_that_has_not_the_notes_letters_gets_others(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    keep = {"verdict": "keep", "speedup": "1.1", "description": "\u5411\u91cf " * 40}
    (project / "results.tsv").write_text(ledger_of([keep]), encoding="utf-8")
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    assert main(["progress", "--no-picture"]) == 0
    terminal.seek(0)
    assert " ?? ??" in terminal.read()
