"""The story so far as a text of at most 40 lines: what an agent reads when it starts, or has forgotten everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pytest_lance_ar.memory.story import Story, Taken, Told
from pytest_lance_ar.progress.history import gain_text
from pytest_lance_ar.progress.table import cut
from pytest_lance_ar.text import printable
from pytest_lance_ar.trial.evidence import Interval

LINES: Final = 40
WIDTH: Final = 120


@dataclass(frozen=True)
class _Section:
    """A title and lines, of which at least `least` are shown if they are there."""

    title: str
    lines: Sequence[str]
    least: int


def brief(story: Story) -> str:
    """The text; lines end with a newline."""
    head = _head(story)
    sections = [section for section in _sections(story) if section.lines]
    room = LINES - len(head) - len(sections)
    given = [min(section.least, len(section.lines)) for section in sections]
    room -= sum(given)
    while room > 0 and any(count < len(s.lines) for count, s in zip(given, sections, strict=True)):
        for number, section in enumerate(sections):
            if room > 0 and given[number] < len(section.lines):
                given[number] += 1
                room -= 1
    lines = list(head)
    for section, count in zip(sections, given, strict=True):
        rest = len(section.lines) - count
        lines.append(f"{section.title}{f' ({rest} more in results.tsv)' if rest else ''}:")
        lines += [f"  {line}" for line in section.lines[:count]]
    return "".join(f"{cut(printable(line), WIDTH)}\n" for line in lines)


def _head(story: Story) -> list[str]:
    if not story.trials:
        lines = [f"{story.kernel}: no trials yet; the first correct kernel becomes the baseline"]
    else:
        counts = ", ".join(f"{count} {verdict}" for verdict, count in story.counts.items())
        lines = [f"{story.kernel}: {story.trials} trials ({counts}); {story.trials_since_keep} since the last keep"]
    if story.problem:
        lines.append(f"PROBLEM: {story.problem}")
    if story.running:
        lines.append("a run has the state at this moment: what it stores is not in here")
    incumbent = story.incumbent
    if incumbent is not None:
        gain = f", {gain_text(incumbent.gain)} the baseline's speed" if incumbent.gain else ""
        trial = f"trial {incumbent.trial}" if incumbent.trial else "a kernel that the ledger does not have"
        lines.append(f"incumbent: {trial}, {incumbent.sha256[:12]} at {incumbent.commit}, {incumbent.timestamp}{gain}")
        if incumbent.note:
            lines.append(f"  {incumbent.note}")
        if not incumbent.is_here and incumbent.trial:
            lines.append(f"  {story.kernel} is another one; to take it over: {take_over(story)}")
    return lines


def take_over(story: Story) -> str:
    """The command that puts the incumbent into the kernel's place."""
    incumbent = story.incumbent
    assert incumbent is not None
    clean = incumbent.commit not in ("", "-") and not incumbent.commit.endswith("-dirty")
    if clean:
        return f"git checkout {incumbent.commit} -- {story.kernel}"
    return f"python -m pytest_lance_ar show {incumbent.trial} --source > {story.kernel}"


def _sections(story: Story) -> list[_Section]:
    combos = [_combo(taken) for taken in story.combos]
    guards = [f"{ratio:.3f}{_bounds(interval)} {name}" for name, ratio, interval in story.guards]
    return [
        _Section("where the incumbent's time went when it was kept, slowest first", combos, 4),
        _Section("guard workloads of that trial, its time / that of the kernel before it, worst first", guards, 2),
        _Section("kept, newest first", [_line(told) for told in story.kept], 5),
        _Section("near misses, worth combining, best first", [_line(told) for told in _once(story.near_misses)], 4),
        _Section("in vain", [_group(name, told) for name, told in story.in_vain.items()], 7),
        _Section("lessons, newest first", [f"{trial:>4}  {words}" for trial, words in story.lessons], 6),
    ]


def _combo(taken: Taken) -> str:
    steps = ", ".join(f"{name} {100 * share:.0f}%" for name, share in taken.steps.items())
    return f"{taken.combo:<26} {taken.ns / 1000:>9.1f} us{f': {steps}' if steps else ''}"


def _line(told: Told) -> str:
    speedup = "" if told.speedup is None else f"{told.speedup:.4f}{_bounds(told.interval)}"
    return f"{told.trial:>4}  {speedup or told.verdict:<24} {told.note}"


def _bounds(interval: Interval | None) -> str:
    return f" [{interval.low:.4f}, {interval.high:.4f}]" if interval else ""


def _once(trials: Sequence[Told]) -> list[Told]:
    """The first of the trials with each note."""
    return list({told.note.casefold() or told.trial: told for told in reversed(trials)}.values())[::-1]


def _group(name: str, trials: Sequence[Told]) -> str:
    """Trials of one fate on one line, the same idea once."""
    ideas: dict[str, list[Told]] = {}
    for told in trials:
        ideas.setdefault(told.note.casefold(), []).append(told)
    words = [
        f"{', '.join(str(told.trial) for told in same)} {same[0].note or '(no note)'}"
        + (f" {same[0].speedup:.3f}" if same[0].speedup is not None else "")
        for same in ideas.values()
    ]
    return f"{name} ({len(trials)}): {'; '.join(words)}"
