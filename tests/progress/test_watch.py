"""Watching: what is shown follows the ledger and the trial that runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pytest_lance_ar.__main__ import main
from pytest_lance_ar.commands import progress
from pytest_lance_ar.progress.history import History
from pytest_lance_ar.store.running import NAME, Announcement, running
from pytest_lance_ar.store.store import Store
from tests.progress.ledgers import campaign
from tests.test_gate import gate_of, write_kernel


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def watched(monkeypatch: pytest.MonkeyPatch, *meanwhile: Callable[[], object], arguments: tuple[str, ...] = ()) -> int:
    """Watch, and let something happen between two looks; then somebody presses Ctrl-C."""
    todo = list(meanwhile)

    def sleep(seconds: float) -> None:
        assert seconds == progress.WATCH_SECONDS
        if not todo:
            raise KeyboardInterrupt
        todo.pop(0)()

    monkeypatch.setattr(progress, "sleep", sleep)
    return main(["progress", "--watch", *arguments])


def test_the_table_follows_the_ledger_and_the_current_trial(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / ".lance_ar").mkdir()
    announcement = Announcement(project / ".lance_ar")
    ledger = project / "results.tsv"
    code = watched(
        monkeypatch,
        lambda: ledger.write_text(campaign(5)),
        lambda: announcement.phase("an \x1b idea", "correctness"),
        lambda: announcement.phase("an \x1b idea", "speed"),
        lambda: None,
        announcement.end,
        arguments=("--no-picture",),
    )
    assert code == 130
    out = capsys.readouterr().out
    looks = [line for line in out.splitlines() if line.startswith(("now: ", "no trial runs"))]
    assert [line.split(" for ")[0] for line in looks] == [
        "no trial runs at this moment",
        "no trial runs at this moment",
        "now: an ? idea: correctness",
        "now: an ? idea: speed",
        "no trial runs at this moment",
    ], "nothing is printed twice"
    assert out.startswith("No trials yet\n")
    assert "\n5 trials, " in out


def test_the_page_reloads_itself_and_names_the_trial(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    (project / ".lance_ar").mkdir()
    (project / "results.tsv").write_text(campaign(5))
    Announcement(project / ".lance_ar").phase("an <idea>", "speed")
    watched(monkeypatch, arguments=("--html", "a.html"))
    text = (project / "a.html").read_text()
    assert '<meta http-equiv="refresh" content="5">' in text
    assert '<p class="now">now: an &lt;idea&gt;: speed for ' in text
    assert main(["progress", "--html", "b.html"]) == 0
    assert "refresh" not in (project / "b.html").read_text()


def test_pictures_are_drawn_once_for_each_state_of_the_ledger(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = pytest.importorskip("pytest_lance_ar.progress.picture", reason="needs the extra [plot]")
    drawn: list[int] = []

    def png(history: History) -> bytes:
        drawn.append(len(history.points))
        return b""

    monkeypatch.setattr(picture, "png", png)
    monkeypatch.setattr(picture, "svg", lambda *_: "<svg></svg>")
    ledger = project / "results.tsv"
    ledger.write_text(campaign(5))
    watched(
        monkeypatch,
        lambda: (project / "a.html").unlink(),
        lambda: ledger.write_text(campaign(6)),
        arguments=("--html", "a.html"),
    )
    assert drawn == [5, 6]
    assert (project / "a.html").exists()


def test_a_gate_announces_its_trial_and_takes_it_back(project: Path) -> None:
    (project / "kernel").mkdir()
    write_kernel(project, "class PqKernel: ...\n")
    with closing(gate_of(project, note="an idea")):
        told = running(project / ".lance_ar")
        assert told is not None
        assert (told.pid, told.note, told.phase) == (os.getpid(), "an idea", "correctness")
    assert running(project / ".lance_ar") is None
    with closing(gate_of(project, against="kernel/pq_l2.py")):
        assert running(project / ".lance_ar") is None


def test_what_a_killed_gate_left_is_no_running_trial(project: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from pathlib import Path; from pytest_lance_ar.store.running import Announcement; "
            f"Announcement(Path({str(project)!r})).phase('killed', 'speed')",
        ],
        check=True,
    )
    assert done.returncode == 0
    assert (project / NAME).exists()
    assert running(project) is None
    (project / NAME).write_text("{")
    assert running(project) is None


def test_a_place_that_cannot_be_written_is_not_told(project: Path) -> None:
    (project / "file").write_text("")
    store = Store(project / "file", project / "results.tsv")
    store.announce("an idea", "speed")
    store.close()
