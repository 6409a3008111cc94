"""Where a kernel of the corpus meets the real gate: a project of its own, a package of its own, and a witness.

The package is a copy, because a cheat may edit it. What the project held before is compared with what it holds
after; what the run left behind, in processes and in files, is told.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest_lance_ar
from tests.corpus.baseline import SCALAR

SUPERVISOR = Path(__file__).with_name("supervise.py")
OF_THE_RUN = (
    "results.tsv",
    "report.json",
    ".lance_ar/examples/",
    ".lance_ar/lock",
    ".lance_ar/ledger.json",
    ".pytest_cache/",
    "run.log",
)
"""What a run may write in the project."""
ADDED_BY_A_TRIAL = ("project/.lance_ar/trials/", "project/.lance_ar/tried/")
"""Where it may add files, and change none."""
MAX_SECONDS = 240.0
"""No trial of the corpus takes as long: a gate that does hangs."""


@dataclass(frozen=True)
class Outcome:
    """What became of one run of the gate.

    status: None when it hung. report: {} when none was written. touched: files of project, package or the world
    outside that changed. rows: the verdicts of the rows that the run added to the ledger.
    """

    status: int | None
    seconds: float
    report: dict[str, Any]
    output: str
    touched: tuple[str, ...]
    leftovers: tuple[str, ...]
    rubbish: tuple[str, ...]
    rows: tuple[str, ...]
    ledger_kept: bool

    @property
    def verdict(self) -> str:
        return str(self.report.get("verdict", "-"))

    @property
    def sentence(self) -> str:
        """Why it was not kept."""
        return str(self.report.get("first_failure") or self.report.get("reason") or "")


class Arena:
    """A directory with `project/`, `site/pytest_lance_ar/`, `outside/` and `tmp/`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.project = path / "project"
        self.site = path / "site"
        self.outside = path / "outside"
        self.tmp = path / "tmp"

    @classmethod
    def prepared(cls, path: Path, scalar: str = SCALAR) -> Arena:
        """A project under git whose scalar kernel is the stored baseline; its class says of which target."""
        arena = cls(path)
        for directory in (arena.project / "kernel", arena.outside, arena.tmp):
            directory.mkdir(parents=True)
        arena.outside.joinpath("canary").write_text("alive\n")
        shutil.copytree(
            Path(pytest_lance_ar.__file__).parent,
            arena.site / "pytest_lance_ar",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        arena.project.joinpath("pytest.ini").write_text("[pytest]\n")
        arena.project.joinpath(".gitignore").write_text("results.tsv\n.lance_ar/\n.pytest_cache/\n")
        arena.kernel.write_text(scalar)
        git = ("git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main")
        for words in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "baseline")):
            subprocess.run([*git, *words], cwd=arena.project, check=True)
        outcome = arena.run()
        assert outcome.status == 0, outcome.output
        return arena

    def copy(self, path: Path) -> Arena:
        shutil.copytree(self.path, path, symlinks=True)
        return Arena(path)

    @property
    def kernel(self) -> Path:
        return self.project / "kernel" / "pq_l2.py"

    def filled(self, source: str) -> str:
        """A kernel that knows its way about: the places that a cheat finds out anyhow."""
        for name in ("project", "site", "outside", "tmp"):
            source = source.replace(f"@{name.upper()}@", str(getattr(self, name)))
        return source

    def run(self, *arguments: str) -> Outcome:
        """Run the gate on the kernel file as it is, as program.md says: output into run.log."""
        before, ledger = self._digests(), self._ledger()
        witness = self.path / "witness.json"
        (self.project / "report.json").unlink(missing_ok=True)
        log = self.project / "run.log"
        command = [sys.executable, "-m", "pytest", "--lance-ar", "--lance-ar-json=report.json", *arguments]
        environment = {
            **os.environ,
            "PYTHONPATH": str(self.site),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TMPDIR": str(self.tmp),
        }
        with log.open("wb") as output:
            subprocess.run(
                [sys.executable, "-S", SUPERVISOR, str(MAX_SECONDS), witness, *command],
                cwd=self.project,
                env=environment,
                stdout=output,
                stderr=output,
                check=True,
            )
        seen = json.loads(witness.read_text())
        witness.unlink()
        after, ledger_after = self._digests(), self._ledger()
        report = self.project / "report.json"
        added = ledger_after[len(ledger) :].decode(errors="replace").splitlines()
        header = ledger_after.decode(errors="replace").split("\n", 1)[0].split("\t")
        if added and not ledger:
            del added[0]
        return Outcome(
            status=seen["status"],
            seconds=seen["seconds"],
            report=json.loads(report.read_text()) if report.exists() else {},
            output=log.read_text(errors="replace"),
            touched=tuple(sorted(_touched(before, after))),
            leftovers=tuple(seen["leftovers"]),
            rubbish=tuple(sorted(entry.name for entry in self.tmp.iterdir())),
            rows=tuple(dict(zip(header, row.split("\t"), strict=False)).get("verdict", "") for row in added),
            ledger_kept=ledger_after.startswith(ledger),
        )

    def _ledger(self) -> bytes:
        path = self.project / "results.tsv"
        return path.read_bytes() if path.exists() else b""

    def _digests(self) -> dict[str, str]:
        digests = {}
        for place in (self.project, self.site, self.outside):
            for path in place.rglob("*"):
                name = path.relative_to(place).as_posix()
                if path.is_dir() or (place == self.project and name.startswith(OF_THE_RUN)):
                    continue
                content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
                digests[f"{place.name}/{name}"] = f"{hashlib.sha256(content).hexdigest()} {path.lstat().st_mode:o}"
        return digests


def _touched(before: dict[str, str], after: dict[str, str]) -> Iterator[str]:
    for name in {*before, *after}:
        if before.get(name) != after.get(name) and not (name not in before and name.startswith(ADDED_BY_A_TRIAL)):
            yield name
