"""The table: cheat, verdict, seconds, and what should not have happened.

    python -m tests.corpus [WORD ...]

Runs those cheats, and honest kernels, whose name or group holds one of the words; all without one.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.corpus import honest
from tests.corpus.arena import Arena
from tests.corpus.cheats import GROUPS
from tests.corpus.judge import judge


def main(words: list[str]) -> int:
    def wanted(name: str) -> bool:
        return not words or any(word in name for word in words)

    failures = 0
    with tempfile.TemporaryDirectory() as directory:
        prepared = Arena.prepared(Path(directory) / "prepared")
        cheats = [(f"{group}: {cheat.name}", cheat) for group, group_cheats in GROUPS.items() for cheat in group_cheats]
        for name, cheat in cheats:
            if wanted(name):
                with tempfile.TemporaryDirectory(dir=directory, ignore_cleanup_errors=True) as place:
                    outcome, wrong = judge(prepared, Path(place) / "arena", cheat)
                row(name, outcome.status, outcome.verdict, outcome.seconds, "; ".join(wrong) or outcome.sentence)
                failures += bool(wrong)
        for name, source in honest.KERNELS.items():
            if wanted(f"honest: {name}"):
                with tempfile.TemporaryDirectory(dir=directory) as place:
                    arena = prepared.copy(Path(place) / "arena")
                    arena.kernel.write_text(source)
                    outcome = arena.run("--lance-ar-phase=correctness")
                row(f"honest: {name}", outcome.status, str(outcome.report["correctness"]), outcome.seconds, "")
                failures += outcome.status != 5
    return failures


def row(name: str, status: int | None, verdict: str, seconds: float, note: str) -> None:
    print(f"{name:<56} {status!s:>5} {verdict:<12} {seconds:>6.1f}  {note[:200]}", flush=True)


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 1))
