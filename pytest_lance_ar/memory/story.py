"""The story so far, gathered from the ledger and the records: frozen facts, for a text and for JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from pytest_lance_ar.progress.history import Gain, Row, history_of, row_of
from pytest_lance_ar.store.memory import Tried, since_keep
from pytest_lance_ar.store.store import Store, StoreError
from pytest_lance_ar.trial.evidence import Interval

GROUPS: Final[dict[str, Callable[[Row], bool]]] = {
    "shown to be slower": lambda row: row.verdict == "discard" and row.interval is not None and row.interval.high < 1,
    "lost by a guard": lambda row: row.verdict == "discard" and "guard" in row.cells.get("reason", ""),
    "no difference shown": lambda row: row.verdict == "discard",
    "incorrect": lambda row: row.verdict == "incorrect",
    "over the time": lambda row: row.verdict == "timeout",
    "too noisy to say": lambda row: row.verdict == "inconclusive",
    "tampered": lambda row: row.verdict == "tampered",
}
"""What became of the trials that were not kept: the first group that fits."""


@dataclass(frozen=True)
class Told:
    """One trial in a line. speedup is None where none was measured."""

    trial: int
    verdict: str
    note: str
    speedup: float | None = None
    interval: Interval | None = None
    reason: str = ""

    @classmethod
    def of(cls, row: Row) -> Told:
        return cls(row.number, row.verdict, row.note, row.speedup, row.interval, row.cells.get("reason", ""))


@dataclass(frozen=True)
class Incumbent:
    """The kernel to beat. trial is None where the ledger does not have it; gain is over the last baseline."""

    trial: int | None
    sha256: str
    commit: str
    timestamp: str
    note: str
    gain: Gain | None
    place: str
    is_here: bool


@dataclass(frozen=True)
class Taken:
    """What a combo takes: nanoseconds a query, and the share that each step of a call has in it, by name."""

    combo: str
    ns: float
    steps: Mapping[str, float]


@dataclass(frozen=True)
class Story:
    """What there is to know. problem: what is wrong with the state, "" when nothing is.

    combos: of the incumbent when it was kept, slowest first. guards: name, incumbent / the one
    before it and its interval, then as well, the worst first. running: another run has the state at this moment.
    lessons: (trial, words), newest first.
    """

    kernel: str
    target: str
    trials: int
    counts: Mapping[str, int]
    trials_since_keep: int
    problem: str
    running: bool
    incumbent: Incumbent | None
    combos: Sequence[Taken]
    guards: Sequence[tuple[str, float, Interval]]
    kept: Sequence[Told]
    near_misses: Sequence[Told]
    in_vain: Mapping[str, Sequence[Told]]
    lessons: Sequence[tuple[int, str]]


def story(store: Store, kernel: Path, name: str) -> Story:
    """The story of a project; `kernel` is its kernel file, `name` how it is called. Raises StoreError."""
    with closing(store):
        alone = store.open_to_read()
        problem = store.problem() if alone else ""
        try:
            incumbent = store.incumbent
        except StoreError as error:
            incumbent, problem = None, problem or str(error)
        try:
            trials = list(store.memory.trials())
        except OSError as error:
            raise StoreError(str(error)) from error
    history = history_of(row_of(tried.number, tried.row) for tried in trials)
    rows = [point.row for point in history.points]
    its = next((tried for tried in reversed(trials) if incumbent and _is(tried, incumbent.kernel.sha256)), None)
    near = [row for row in rows if _is_near(row)]
    return Story(
        kernel=name,
        target=incumbent.target if incumbent else "",
        trials=len(trials),
        counts=history.counts,
        trials_since_keep=since_keep(trials),
        problem=problem,
        running=not alone,
        incumbent=Incumbent(
            trial=its.number if its else None,
            sha256=incumbent.kernel.sha256,
            commit=incumbent.commit,
            timestamp=incumbent.timestamp,
            note=its.row["description"] if its else "",
            gain=history.points[its.number - 1].best if its else None,
            place=its.record.place if its and its.record else "",
            is_here=_digest(kernel) == incumbent.kernel.sha256,
        )
        if incumbent
        else None,
        combos=_combos(its),
        guards=_guards(its),
        kept=[Told.of(row) for row in reversed(rows) if row.kept],
        near_misses=[Told.of(row) for row in sorted(near, key=lambda row: -(row.speedup or 0))],
        in_vain=_grouped([row for row in reversed(rows) if not row.kept and row not in near]),
        lessons=[(t.number, words) for t in reversed(trials) if t.record for words in reversed(t.record.lessons)],
    )


def _is(tried: Tried, kernel_sha256: str) -> bool:
    return tried.kept and tried.row["kernel_sha256"] == kernel_sha256


def _is_near(row: Row) -> bool:
    """Whether a trial may have been a gain that could not be shown."""
    faster = row.speedup is not None and row.speedup > 1
    return row.verdict in ("discard", "inconclusive") and faster and row.interval is not None and row.interval.high > 1


def _grouped(rows: Sequence[Row]) -> dict[str, list[Told]]:
    groups: dict[str, list[Told]] = {name: [] for name in GROUPS}
    for row in rows:
        name = next((name for name, fits in GROUPS.items() if fits(row)), None)
        if name:
            groups[name].append(Told.of(row))
    return {name: told for name, told in groups.items() if told}


def _combos(tried: Tried | None) -> list[Taken]:
    figures: list[Any] = list(tried.record.report.get("per_combo", [])) if tried and tried.record else []
    combos = [
        Taken(f"{combo['shape']} {combo['distribution']}", float(combo["candidate_ns"]), combo.get("steps", {}))
        for combo in figures
    ]
    return sorted(combos, key=lambda combo: -combo.ns)


def _guards(tried: Tried | None) -> list[tuple[str, float, Interval]]:
    figures: list[Any] = list(tried.record.report.get("guards", [])) if tried and tried.record else []
    guards = [(str(guard["name"]), float(guard["ratio"]), Interval(*guard["interval"])) for guard in figures]
    return sorted(guards, key=lambda guard: -guard[1])


def _digest(path: Path) -> str:
    try:
        return sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
