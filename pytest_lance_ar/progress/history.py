"""`results.tsv` as frozen rows, and the gain that the kept ones add up to. Pure, but for reading the file.

A stored time is no yardstick: the geomeans of two runs differ by what the host did meanwhile. What a run measures well
is the ratio to its incumbent, timed beside it; a simplification's, the one to the fastest kernel so far. The running
best is therefore the product of the kept speed-ups since the baseline (`store.lineage` says which), and a trial that
was not kept stands at the running best before it times its own speed-up.

The factors come from separate runs, so their errors are taken as independent: the half-widths of the intervals, in
logarithms, add in quadrature, each side for itself. That holds approximately; only a duel of the baseline with the last
incumbent measures the product (`--lance-ar-against`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pytest_lance_ar.store.lineage import Lineage
from pytest_lance_ar.text import one_line
from pytest_lance_ar.trial.evidence import Interval
from pytest_lance_ar.trial.trial import SIMPLIFY

REQUIRED: Final = ("verdict", "speedup", "description")
"""The columns without which a file is no ledger; the others may be missing, moved or joined by new ones."""
VERDICTS: Final = ("baseline", "keep", "simpler", "discard", "inconclusive", "incorrect", "timeout", "tampered", "none")
_LARGEST: Final = 1e6
"""A speed-up beyond it, or below its inverse, was not measured: it is damage. So is a product beyond its square."""


class HistoryError(ValueError):
    """The ledger cannot be read; the message says why and what to do."""


@dataclass(frozen=True)
class Row:
    """One trial. number counts the readable rows from 1; speedup and interval are None where none can be read."""

    number: int
    verdict: str
    speedup: float | None = None
    interval: Interval | None = None
    geomean_ns: float | None = None
    cells: Mapping[str, str] = field(default_factory=dict)

    @property
    def kept(self) -> bool:
        return self.verdict in ("baseline", "keep", "simpler")

    @property
    def against_the_fastest(self) -> bool:
        """Whether it was timed against the fastest kernel so far, not the incumbent: a simplification is."""
        return self.verdict == "simpler" or SIMPLIFY in self.note

    @property
    def slower_elsewhere(self) -> bool:
        """A gain on the combos that the guard workloads refused."""
        return self.verdict == "discard" and self.cells.get("reason", "").startswith("slower elsewhere")

    @property
    def worst_guard(self) -> float | None:
        """Candidate / incumbent on the guard workload that looked worst."""
        return _ratio(self.cells.get("guard_worst", ""))

    @property
    def commit(self) -> str:
        return self.cells.get("commit", "")

    @property
    def note(self) -> str:
        return self.cells.get("description", "")


@dataclass(frozen=True)
class Gain:
    """A speed-up over the baseline. interval is None as soon as one factor came without."""

    value: float
    interval: Interval | None

    def times(self, speedup: float, interval: Interval | None) -> Gain:
        value = self.value * speedup
        if self.interval is None or interval is None:
            return Gain(value, None)
        below = math.hypot(math.log(self.value / self.interval.low), math.log(speedup / interval.low))
        above = math.hypot(math.log(self.interval.high / self.value), math.log(interval.high / speedup))
        return Gain(value, Interval(value * math.exp(-below), value * math.exp(above)))


START: Final = Gain(1.0, Interval(1.0, 1.0))
"""The baseline's gain over itself."""


@dataclass(frozen=True)
class Point:
    """A trial's place in the history.

    own is the trial's gain over the baseline, None where no speed-up was measured; best is the incumbent's after the
    trial. segment counts the baselines: gains of different segments have no common measure.
    """

    row: Row
    segment: int
    own: Gain | None
    best: Gain


@dataclass(frozen=True)
class History:
    """All trials in the ledger's order, and remarks about what was not as expected."""

    points: tuple[Point, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def kept(self) -> tuple[Point, ...]:
        return tuple(point for point in self.points if point.row.kept)

    @property
    def segments(self) -> tuple[tuple[Point, ...], ...]:
        """The points from one baseline to the next; a ledger that begins without one begins with a segment as well."""
        numbers = dict.fromkeys(point.segment for point in self.points)
        return tuple(tuple(p for p in self.points if p.segment == number) for number in numbers)

    @property
    def counts(self) -> dict[str, int]:
        """How many trials had which verdict, in the order of VERDICTS; verdicts that never came are left out."""
        verdicts = [point.row.verdict for point in self.points]
        return {verdict: verdicts.count(verdict) for verdict in VERDICTS if verdict in verdicts}

    @property
    def summary(self) -> str:
        """The outcome in one line."""
        if not self.points:
            return "No trials yet"
        trials = len(self.points)
        kept = sum(point.row.verdict in ("keep", "simpler") for point in self.points)
        best, many = self.points[-1].best, len(self.segments) > 1
        outcome = f"{gain_text(best)} the {'last ' if many else ''}baseline's speed" if kept else "no gain yet"
        return f"{trials} trial{'s' if trials > 1 else ''}, {kept} kept: {outcome}"


def gain_text(gain: Gain) -> str:
    """A gain as people read it, with its interval where there is one."""
    return f"{gain.value:.3f}x {interval_text(gain)}".strip()


def interval_text(gain: Gain) -> str:
    """The interval of a gain, nothing where it is unknown or has no width."""
    interval = gain.interval
    if interval is None or interval.low == interval.high:
        return ""
    return f"[{interval.low:.3f}, {interval.high:.3f}]"


def read(path: Path) -> History:
    """The history that a ledger holds. Raises HistoryError."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise HistoryError(f"no ledger at {path}; the first trial of pytest --lance-ar writes one") from None
    except OSError as error:
        raise HistoryError(f"{path} cannot be read ({error.strerror})") from error
    if not content.strip():
        return History()
    rows, damaged = parse(content.decode(errors="replace"))
    if rows is None:
        raise HistoryError(f"{path} is no ledger of this gate: its first line does not name {', '.join(REQUIRED)}")
    return history_of(rows, tuple(damaged))


def parse(text: str) -> tuple[list[Row] | None, list[str]]:
    """The rows of a ledger's text, None without its header, and a remark for each line that is no whole row."""
    header, *lines = text.split("\n")
    columns = header.rstrip("\r").split("\t")
    if not set(REQUIRED) <= set(columns):
        return None, []
    rows: list[Row] = []
    damaged: list[str] = []
    for number, line in enumerate(lines, start=2):
        if not line.strip():
            continue
        cells = line.rstrip("\r").split("\t")
        if len(cells) == len(columns):
            rows.append(row_of(len(rows) + 1, dict(zip(columns, map(one_line, cells), strict=True))))
        else:
            damaged.append(f"line {number} was skipped: it has {len(cells)} of {len(columns)} cells")
    return rows, damaged


def history_of(rows: Iterable[Row], remarks: tuple[str, ...] = ()) -> History:
    """Place rows along the running best."""
    points: list[Point] = []
    notes = list(remarks)
    segment, best, fastest = 0, START, START
    lineage = Lineage[Row]()
    for row in rows:
        own = _placed(fastest if row.against_the_fastest else best, row)
        if row.verdict == "baseline":
            segment, own, best = segment + 1, START, START
        elif row.kept and own is not None:
            best = own
            if own.interval is None and row.interval is None:
                notes.append(f"trial {row.number} was kept without a readable interval; the running best has none")
        elif row.kept:
            notes.append(f"trial {row.number} was kept without a readable speed-up; it counts as no gain")
        if row.kept:
            lineage = lineage.after(row)
            fastest = fastest if lineage.since else best
        points.append(Point(row, segment, own, best))
    return History(tuple(points), tuple(notes))


def _placed(best: Gain, row: Row) -> Gain | None:
    own = None if row.speedup is None else best.times(row.speedup, row.interval)
    return own if own is not None and _LARGEST**-2 <= own.value <= _LARGEST**2 else None


def row_of(number: int, cells: Mapping[str, str]) -> Row:
    """A trial from its cells, by column."""
    speedup = _ratio(cells["speedup"])
    low, high = _ratio(cells.get("speedup_lo", "")), _ratio(cells.get("speedup_hi", ""))
    interval = None
    if speedup is not None and low is not None and high is not None and low <= speedup <= high:
        interval = Interval(low, high)
    verdict = cells["verdict"] if cells["verdict"] in VERDICTS else "none"
    return Row(number, verdict, speedup, interval, _number(cells.get("geomean_ns", "")), cells)


def _ratio(text: str) -> float | None:
    value = _number(text)
    return value if value is not None and 1 / _LARGEST <= value <= _LARGEST else None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
