"""The table: cheat, verdict, seconds, and what should not have happened.

    python -m tests.corpus [--arena DIR] [--suite] [--target NAME] [WORD ...]

Runs those cheats, and honest kernels, whose name or group holds one of the words; all without one. DIR keeps the
prepared project for the next time. --suite: only the cheats that the suite finds out. --target: the cheats that
attack the gate, around the baseline of another target.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from pytest_lance_ar.targets import DEFAULT
from pytest_lance_ar.targets.protocol import Target
from pytest_lance_ar.targets.registry import named
from tests.corpus import honest
from tests.corpus.arena import Arena
from tests.corpus.baseline import SCALAR
from tests.corpus.bases import Base, likenesses
from tests.corpus.cheats import GROUPS
from tests.corpus.cheats.cheat import CORRECTNESS
from tests.corpus.judge import judge


def main(words: list[str], place: Path | None, only_suite: bool, target: Target) -> int:
    def wanted(name: str) -> bool:
        return not words or any(word in name for word in words)

    failures = 0
    with tempfile.TemporaryDirectory() as directory:
        home = place or Path(directory) / "prepared"
        own = target.name == DEFAULT
        prepared = Arena(home) if home.exists() else Arena.prepared(home, SCALAR if own else Base.of(target).scalar)
        cheats = [(f"{group}: {cheat.name}", cheat) for group, group_cheats in GROUPS.items() for cheat in group_cheats]
        cheats = cheats if own else [*likenesses(target)]
        for name, cheat in cheats:
            if wanted(name) and (cheat.arguments == CORRECTNESS or not only_suite):
                with tempfile.TemporaryDirectory(dir=directory, ignore_cleanup_errors=True) as copy:
                    outcome, wrong = judge(prepared, Path(copy) / "arena", cheat)
                row(name, outcome.status, outcome.verdict, outcome.seconds, "; ".join(wrong) or outcome.sentence)
                failures += bool(wrong)
        for name, source in honest.KERNELS.items() if own else ():
            if wanted(f"honest: {name}"):
                with tempfile.TemporaryDirectory(dir=directory) as copy:
                    arena = prepared.copy(Path(copy) / "arena")
                    arena.kernel.write_text(source)
                    outcome = arena.run("--lance-ar-phase=correctness")
                row(f"honest: {name}", outcome.status, str(outcome.report["correctness"]), outcome.seconds, "")
                failures += outcome.status != 5
    return failures


def row(name: str, status: int | None, verdict: str, seconds: float, note: str) -> None:
    print(f"{name:<56} {status!s:>5} {verdict:<12} {seconds:>6.1f}  {note[:200]}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--arena", type=Path)
    parser.add_argument("--suite", action="store_true")
    parser.add_argument("--target", default=DEFAULT)
    given = parser.parse_args()
    sys.exit(min(main(given.words, given.arena, given.suite, named(given.target)), 1))
