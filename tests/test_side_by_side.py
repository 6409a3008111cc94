"""Two loops in two git worktrees of one repository, on one state: what the ledger says of both is one true story."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from pytest_lance_ar.store.store import Store
from pytest_lance_ar.trial.places import DEFAULT_STATE, ledger_of
from tests import kernels

FIRST = 6
"""How many times the baseline scans where once would do: what others are faster or slower than, far beyond noise."""
WRONG, CRASH = -1, -2
PLANS = {
    "one": (5, WRONG, 5, 4, 6, CRASH, 2, 2, 3, 1),
    "two": (4, 6, WRONG, 3, 3, 1, CRASH, 2, 2, 1),
}
"""Of each loop, how many times its kernels scan."""


@dataclass(frozen=True)
class Ended:
    """One trial as its loop saw it."""

    note: str
    code: int
    output: str


def kernel(name: str, scans: int) -> str:
    source = kernels.changed(
        kernels.BASELINE,
        "        scan(table, codes, distances)",
        f"        for _ in range({max(scans, 1)}):  # {name}\n            scan(table, codes, distances)",
    )
    if scans == WRONG:
        return kernels.changed(source, "        fill_table(query, self.codebook, out)", "        out[:] = 0")
    if scans == CRASH:
        return kernels.changed(source, "        distances = np", "        raise IndexError\n        distances = np")
    return source


def run(directory: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def git(directory: Path, *arguments: str) -> None:
    done = run(directory, "git", "-c", "user.name=A", "-c", "user.email=a@example.org", *arguments)
    assert done.returncode == 0, done.stderr


def trial(directory: Path, note: str, source: str, learned: str = "") -> Ended:
    """Commit, judge, and take the commit back unless it was kept: as program.md says."""
    directory.joinpath("kernel/pq_l2.py").write_text(source)
    git(directory, "commit", "-qam", note)
    lesson = ["--lance-ar-learned", learned] if learned else []
    done = run(directory, sys.executable, "-m", "pytest", "--lance-ar", "--lance-ar-note", note, *lesson)
    if done.returncode:
        git(directory, "reset", "-q", "--hard", "HEAD~1")
    return Ended(note, done.returncode, done.stdout + done.stderr)


def loop(directory: Path) -> list[Ended]:
    ended: list[Ended] = []
    for number, scans in enumerate(PLANS[directory.name]):
        note = f"{directory.name} {number} {scans}"
        ended.append(trial(directory, note, kernel(note, scans), f"of {ended[-1].note}" if ended else ""))
    return ended


@pytest.mark.exhaustive
def test_two_loops_side_by_side_lose_nothing_and_keep_nothing_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.joinpath("kernel").mkdir(parents=True)
    one.joinpath("pytest.ini").write_text("[pytest]\n")
    one.joinpath(".gitignore").write_text(".lance_ar/\nresults.tsv\n")
    one.joinpath("kernel/pq_l2.py").write_text("")
    git(one, "init", "-q")
    git(one, "add", "-A")
    git(one, "commit", "-qm", "start")
    first = trial(one, f"one - {FIRST}", kernel("first", FIRST))
    assert first.code == 0, first.output
    git(one, "worktree", "add", "-q", str(two), "-b", "second")
    with ThreadPoolExecutor(2) as pool:
        ended = {name: pool.submit(loop, directory) for name, directory in (("one", one), ("two", two))}
    runs = {run.note: run for future in ended.values() for run in future.result()}
    print(one.joinpath("results.tsv").read_text())

    store = Store(one / DEFAULT_STATE, ledger_of(one, one / DEFAULT_STATE))
    trials = list(store.memory.trials())
    assert [t.row["description"] for t in trials[:1]] == [first.note]
    assert sorted(t.row["description"] for t in trials[1:]) == sorted(runs)
    assert run(one, sys.executable, "-m", "pytest_lance_ar", "audit").returncode == 0

    kept, last = trials[0], {"one": trials[0]}
    for tried in trials[1:]:
        name, _, scans = tried.row["description"].split()
        ran = runs[tried.row["description"]]
        assert tried.record is not None
        assert tried.record.incumbent_sha256 == kept.row["kernel_sha256"], ran.output
        level = int(kept.row["description"].split()[2])
        due = {"incorrect"} if int(scans) < 0 else {"keep"} if int(scans) < level else {"discard"}
        assert tried.verdict in due | ({"inconclusive"} if int(scans) > 0 else set()), ran.output
        assert ran.code == {"keep": 0, "discard": 1, "incorrect": 2, "inconclusive": 11}[tried.verdict], ran.output
        # The baseline's commit is in both histories.
        moved = kept is not trials[0] and not kept.row["description"].startswith(name)
        assert bool(re.search(r"take it over with: (git|cp) ", ran.output)) == moved, ran.output
        if name in last and last[name] is not trials[0]:
            record = last[name].record
            assert record is not None
            assert record.lessons == (f"of {last[name].row['description']}",)
        last[name] = tried
        kept = tried if tried.kept else kept
    incumbent = store.incumbent
    assert incumbent is not None
    assert incumbent.kernel.sha256 == kept.row["kernel_sha256"]

    behind = two if kept.row["description"].startswith("one") else one
    brief = run(behind, sys.executable, "-m", "pytest_lance_ar", "brief").stdout
    (command,) = re.findall(r"to take it over: (.*)", brief)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert run(behind, "sh", "-c", command).returncode == 0
    assert behind.joinpath("kernel/pq_l2.py").read_bytes() == incumbent.kernel.source
