"""The story so far as a text of at most 40 lines: what an agent reads when it starts, or has forgotten everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Final

from pytest_lance_ar.memory.story import Story, Taken, Told
from pytest_lance_ar.progress.history import gain_text
from pytest_lance_ar.progress.table import cut
from pytest_lance_ar.text import printable
from pytest_lance_ar.trial.evidence import Interval

LINES: Final = 40
WIDTH: Final = 120


GUARDS: Final = 5
"""So many of a trial's guard workloads; `show` has all."""
PLATEAU: Final = {
    5: "stop editing, and profile",
    10: "change the structure, not the details",
    20: "read what others did; then stop, and tell",
}
"""What to do after so many trials since the last keep."""
IN_VAIN: Final = 7
"""Lines for what was tried in vain, shared by its groups."""
LESSON: Final = 2
"""Lines of one lesson."""

Entry = Sequence[str]
"""Lines that are shown together, or not at all."""


@dataclass(frozen=True)
class _Section:
    """A title and entries, of which at least `least` are shown if they are there: their first lines, if need be."""

    title: str
    entries: Sequence[Entry]
    least: int


def brief(story: Story) -> str:
    """The text; lines end with a newline."""
    head = _head(story)
    sections = [section for section in _sections(story) if section.entries]
    room = LINES - len(head) - len(sections)
    shown = [[entry[:1] for entry in section.entries[: section.least]] for section in sections]
    room -= sum(map(len, shown))
    for entries, section in zip(shown, sections, strict=True):  # what is cut before what is missing
        for number, entry in enumerate(section.entries[: section.least]):
            if room >= len(entry) - 1:
                room -= len(entry) - 1
                entries[number] = entry
    more = True
    while more:
        more = False
        for entries, section in zip(shown, sections, strict=True):
            following = section.entries[len(entries) : len(entries) + 1]
            if following and len(following[0]) <= room:
                entries += following
                room -= len(following[0])
                more = True
    lines = list(head)
    for entries, section in zip(shown, sections, strict=True):
        rest = len(section.entries) - len(entries)
        lines.append(f"{section.title}{f' ({rest} more)' if rest else ''}:")
        for entry, whole in zip(entries, section.entries, strict=False):
            cut_short = len(entry) < len(whole)
            lines += [f"  {line}{'…' if cut_short else ''}" for line in entry]
    return "".join(f"{cut(printable(line), WIDTH)}\n" for line in lines)


def _head(story: Story) -> list[str]:
    if not story.trials:
        lines = [f"{story.kernel}: no trials yet; the first correct kernel becomes the baseline"]
    else:
        counts = ", ".join(f"{count} {verdict}" for verdict, count in story.counts.items())
        lines = [f"{story.kernel}: {story.trials} trials ({counts}); {story.trials_since_keep} since the last keep"]
        due = [what for trials, what in PLATEAU.items() if story.trials_since_keep >= trials]
        lines += [f"  that many in vain: {due[-1]} (program.md, When nothing is kept any more)"] if due else []
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
    guards = [f"{ratio:.3f}{_bounds(interval)} {name}" for name, ratio, interval in story.guards[:GUARDS]]
    groups = story.in_vain.items()
    lines = max(1, IN_VAIN // max(1, len(groups)))
    return [
        _Section(
            "where the incumbent's time went when it was kept, slowest first",
            [[_combo(one)] for one in story.combos],
            4,
        ),
        _Section(
            "guard workloads of that trial, its time / that of the kernel before it, worst first",
            [[guard] for guard in guards],
            2,
        ),
        _Section("kept, newest first", [[_line(told)] for told in story.kept], 5),
        _Section("near misses, worth combining, best first", [_near(told) for told in _once(story.near_misses)], 4),
        _Section("in vain", [_wrapped("", _group(name, told), lines) for name, told in groups], IN_VAIN),
        _Section(
            "lessons, newest first", [_wrapped(f"{trial:>4}  ", words, LESSON) for trial, words in story.lessons], 6
        ),
    ]


def _wrapped(head: str, words: str, lines: int) -> Entry:
    """So many lines, the later ones indented like the first one's words."""
    indent = " " * max(2, len(head))
    return wrap(
        printable(words),
        WIDTH - 3,
        initial_indent=head,
        subsequent_indent=indent,
        max_lines=lines,
        placeholder=" …",
        break_long_words=True,
    )


def _near(told: Told) -> Entry:
    """A near miss; where it was shown to be faster, with what refused it."""
    refused = told.reason.partition(";")[0] if told.interval and told.interval.low > 1 else ""
    return [_line(told), *(_wrapped("      but ", refused, 2) if refused else [])]


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
