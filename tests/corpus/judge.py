"""Runs one cheat against the gate, and says in words what should not have happened."""

from __future__ import annotations

import re
from pathlib import Path

from tests.corpus.arena import Arena, Outcome
from tests.corpus.cheats.cheat import CORRECTNESS, Cheat

SHORT = "--lance-ar-budget=20"
SHORT_SECONDS = 25.0
"""What a gate with that budget may take, all included."""
OWN_MISTAKE = re.compile(r"raised (KeyError|NameError|AttributeError|UnboundLocalError)\b")
"""How a cheat ends that does not fit what it attacks any more: it tries nothing, and is refused for that."""
WORDS = {1: "discard", 2: "incorrect", 3: "timeout", 10: "tampered", 11: "inconclusive"}


def judge(prepared: Arena, path: Path, cheat: Cheat) -> tuple[Outcome, list[str]]:
    """Run a cheat in a copy of the arena: the outcome, and what is wrong with it."""
    arena = prepared.copy(path)
    arena.kernel.write_text(arena.filled(cheat.kernel))
    arguments = list(cheat.arguments)
    if cheat.incumbent:
        arena.project.joinpath("incumbent.py").write_text(arena.filled(cheat.incumbent))
        arguments.append("--lance-ar-against=incumbent.py")
    outcome = arena.run(*arguments)
    return outcome, complaints(cheat, outcome)


def complaints(cheat: Cheat, outcome: Outcome) -> list[str]:
    found = []
    if outcome.status is None:
        found.append("the gate hung")
    elif outcome.status not in cheat.ends:
        found.append(f"ended with {outcome.status}")
    if SHORT in cheat.arguments and outcome.seconds > SHORT_SECONDS:
        found.append(f"took {outcome.seconds:.0f} s")
    if outcome.status in WORDS and outcome.verdict != WORDS[outcome.status]:
        found.append(f"verdict {outcome.verdict!r} with status {outcome.status}")
    expected_rows = () if cheat.incumbent or cheat.arguments == CORRECTNESS else (outcome.verdict,)
    if outcome.rows != expected_rows:
        found.append(f"rows {outcome.rows} in the ledger")
    if not outcome.ledger_kept:
        found.append("earlier rows changed")
    if outcome.touched:
        found.append(f"touched {', '.join(outcome.touched[:3])}")
    if outcome.status != 0 and not (outcome.sentence and outcome.sentence.isprintable()):
        found.append(f"the reason is {outcome.sentence!r}")
    if not all(line.isprintable() for line in outcome.output.splitlines()):
        found.append("the output has control characters")
    if OWN_MISTAKE.search(outcome.sentence):
        found.append("the cheat itself is broken")
    if outcome.leftovers:
        found.append(f"{len(outcome.leftovers)} processes left")
    if outcome.rubbish:
        found.append(f"left in the temporary directory: {', '.join(outcome.rubbish[:3])}")
    return found
