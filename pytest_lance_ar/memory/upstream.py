"""What was kept, as the text of a pull request, and the checklist that goes with it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pytest_lance_ar.store.memory import Tried
from pytest_lance_ar.targets.protocol import Target
from pytest_lance_ar.text import one_line
from pytest_lance_ar.trial.evidence import Interval, SpeedEvidence
from pytest_lance_ar.trial.verdict import GUARD

WORTH_PORTING: Final = 1.10
"""The total gain from which a port is worth a maintainer's time."""

_CHECKLIST: Final = """\
# Before this goes upstream

- [ ] `python -m pytest_lance_ar audit --replay` ends with 0: the total gain is real, and no guard workload is lost.
- [ ] The total gain is at least 10%, also at the low end of its interval.
- [ ] The diff was read line by line by a person who could explain each technique; no line is there by accident.
- [ ] Each technique is named, with what it costs in memory and in packing, and for which shapes and data it pays.
- [ ] The kernel's paths were run on every CPU they are for (AVX-512, AVX2, SSE, NEON), not only on the one at hand.
- [ ] The pull request says what was measured, how, and where it loses.
"""


@dataclass(frozen=True)
class Replay:
    """The incumbent timed against the first baseline once more: evidence, what the ledger claims, and the sentence."""

    speed: SpeedEvidence
    claimed: str
    sentence: str

    @property
    def gain(self) -> float:
        return 1 / self.speed.ratio

    @property
    def interval(self) -> Interval:
        return Interval(1 / self.speed.ratio_interval.high, 1 / self.speed.ratio_interval.low)

    @property
    def lost_guards(self) -> int:
        guards = self.speed.guards.workloads if self.speed.guards else ()
        return sum(guard.interval.low > GUARD for guard in guards)


def checklist(target: Target) -> str:
    """What is to be done before a kernel goes upstream, here and where kernels of this target go."""
    return "\n".join(filter(None, [_CHECKLIST, target.upstream]))


def pull_request(kernel: str, steps: Sequence[Tried], replay: Replay | None, host: Sequence[str]) -> str:
    """Markdown. steps: the baseline and what was kept since and counts; host: what it was measured on, line by line."""
    return "\n".join(_parts(kernel, steps, replay, host)) + "\n"


def verdict_on_porting(replay: Replay | None) -> str:
    """Whether a port is worth the time, and why not."""
    if replay is None:
        return "not replayed: run finalize without --no-replay before you decide to port this"
    if replay.lost_guards:
        return f"not worth porting as it is: {replay.lost_guards} guard workloads are shown to be slower"
    if replay.interval.low < WORTH_PORTING:
        return f"not worth porting yet: a gain of {WORTH_PORTING - 1:.0%} is not shown, guards are intact"
    return f"worth porting: at least {WORTH_PORTING - 1:.0%}, guards intact"


def _parts(kernel: str, steps: Sequence[Tried], replay: Replay | None, host: Sequence[str]) -> Iterator[str]:
    kept = steps[1:]
    total = f"{replay.gain:.2f} times the baseline's speed" if replay else "not replayed"
    yield from (f"# {kernel}: {total}, {len(kept)} changes", "", verdict_on_porting(replay).capitalize() + ".", "")
    yield from ("## What changed", "", "| trial | commit | speed-up, paired | what |", "|---:|---|---|---|")
    for tried in kept:
        yield f"| {tried.number} | {_cell(tried.row['commit'])} | {_gain(tried)} | {_cell(tried.row['description'])} |"
    yield from (
        "",
        "Each was timed beside the kernel before it, interleaved on one core, and confirmed on other processes and "
        "other data. A simplification was timed beside the fastest kernel before it.",
        "",
    )
    lessons = [(tried.number, words) for tried in kept if tried.record for words in tried.record.lessons]
    if lessons:
        yield from ("What was learned:", "", *(f"- trial {number}: {_cell(words)}" for number, words in lessons), "")
    yield from ("## Measured", "")
    if replay is not None:
        yield from _measured(replay)
    yield from ("Host:", "", *(f"- {_cell(line)}" for line in host), "")


def _measured(replay: Replay) -> Iterator[str]:
    speed, interval = replay.speed, replay.interval
    bounds = f"[{interval.low:.4f}, {interval.high:.4f}]"
    yield f"This kernel against the first baseline: {replay.gain:.4f} {bounds} times as fast"
    yield from (f"(claimed by the ledger, step by step: {replay.claimed}). {_cell(replay.sentence).capitalize()}.", "")
    yield from ("| combo | baseline ns | kernel ns | kernel / baseline |", "|---|---:|---:|---:|")
    for combo in speed.combos:
        yield f"| {combo.name} | {combo.incumbent_ns:,.0f} | {combo.candidate_ns:,.0f} | {combo.ratio:.3f} |"
    yield ""
    if speed.guards is not None:
        guards = speed.guards
        yield from (
            f"Guard workloads, drawn afresh, the worst first: geomean {guards.ratio:.3f} "
            f"[{guards.interval.low:.3f}, {guards.interval.high:.3f}] over {len(guards.workloads)}, "
            f"{replay.lost_guards} of them shown above {GUARD}.",
            "",
            "| guard workload | baseline ns | kernel ns | kernel / baseline |",
            "|---|---:|---:|---:|",
        )
        for guard in sorted(guards.workloads, key=lambda guard: -guard.ratio):
            bounds = f"{guard.ratio:.3f} [{guard.interval.low:.3f}, {guard.interval.high:.3f}]"
            yield f"| {_cell(guard.name)} | {guard.incumbent_ns:,.0f} | {guard.candidate_ns:,.0f} | {bounds} |"
        yield ""


def _gain(tried: Tried) -> str:
    speedup, interval = tried.speedup, tried.interval
    if speedup is None or not math.isfinite(speedup):
        return "-"
    return f"{speedup:.4f}" + (f" [{interval.low:.4f}, {interval.high:.4f}]" if interval else "")


def _cell(text: str) -> str:
    """On one line, and no end of a table's cell."""
    return one_line(text).replace("|", "\\|")
