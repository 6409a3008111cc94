"""The picture of a history, by matplotlib: PNG for a file, SVG for the page. Nothing here knows a window or pyplot.

Verdicts differ by marker, not by colour alone. What was measured stands in the chart, at its gain over the baseline;
what was not has a row of its own below it. The PNG's paper is opaque, so that it reads the same on a light page and on
a dark one; the SVG's colours are CSS variables, which the page sets.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from matplotlib import font_manager, style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from pytest_lance_ar.progress.history import VERDICTS, Gain, History, Point
from pytest_lance_ar.progress.table import cut
from pytest_lance_ar.trial.evidence import Interval

Floats = NDArray[np.float64]

COLOURS: Final = {
    "paper": "#f6f8fa",
    "ink": "#1f2328",
    "muted": "#59636e",
    "grid": "#d9dee4",
    "accent": "#0a5fb4",
}
"""Text and marks have at least 4.5 times the paper's contrast."""
MARKERS: Final = {
    "baseline": "s",
    "keep": "o",
    "simpler": "P",
    "discard": "o",
    "inconclusive": "D",
    "incorrect": "x",
    "timeout": "|",
    "tampered": "s",
    "none": "+",
    "slower elsewhere": "X",
}
"""By verdict; a discard that was a gain but for the guard workloads has a mark of its own."""
MEASURED: Final = ("baseline", "keep", "simpler", "discard", "inconclusive")
_FILLED: Final = ("baseline", "keep", "simpler")
_FONTS: Final = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "WenQuanYi Zen Hei",
    "PingFang SC",
    "Hiragino Sans",
    "Noto Emoji",
)
"""Asked for what matplotlib's own DejaVu Sans lacks, where they are installed."""


EXPLANATION: Final = (
    "Speed-up over the baseline: the product of the kept speed-ups, with its interval. "
    "Other trials stand at the running best before them, times their own speed-up."
)


@dataclass(frozen=True)
class Layout:
    """Lengths in inches; note is how many columns an annotation may take. top is the height above the chart."""

    width: float
    height: float
    note: int
    legend_columns: int
    ticks: int
    top: float
    titled: bool
    left: float = 0.62
    right: float = 0.72
    bottom: float = 0.5
    margin: float = 0.2


FILE: Final = Layout(12.0, 6.75, note=40, legend_columns=8, ticks=10, top=1.0, titled=True)
WIDE: Final = Layout(12.0, 6.2, note=40, legend_columns=8, ticks=10, top=0.45, titled=False)
NARROW: Final = Layout(4.0, 5.2, note=22, legend_columns=3, ticks=4, top=0.75, titled=False)
"""WIDE and NARROW are for a page, which has the title and the explanation in its own text."""
DPI: Final = 150
_UNIT: Final = DPI / 72
"""Pixels in a point."""
_SMALL: Final = 8.5
_NO_LEADER: Final = (math.inf, math.inf, -math.inf, -math.inf)
_NOTE: Final[dict[str, Any]] = {
    "fontsize": _SMALL,
    "color": COLOURS["ink"],
    "parse_math": False,
    "gid": "note",
    "va": "bottom",
}


def png(history: History) -> bytes:
    """The picture for a file."""
    file = io.BytesIO()
    with settings():
        figure(history, FILE).savefig(file, format="png", dpi=DPI)
    return file.getvalue()


def svg(history: History, layout: Layout) -> str:
    """The picture as an `<svg>` element for a page that sets `--paper`, `--ink` and the other COLOURS."""
    file = io.StringIO()
    with settings():
        bare = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure(history, layout).savefig(file, format="svg", metadata=bare)
    element = file.getvalue()
    element = element[element.index("<svg") :]
    # Two pictures share a page: ids that nothing refers to go, the others are hashes of what they name.
    used = set(re.findall(r"""(?:url\(|href=")#([^")]+)""", element))
    element = re.sub(r' id="([^"]*)"', lambda m: m[0] if m[1] in used else "", element)
    return re.sub(r"<[^>]*>", _themed, element)


def _themed(tag: re.Match[str]) -> str:
    """A tag with our colours as CSS variables. Text lies between tags and keeps what it says."""
    text = tag[0]
    for name, colour in COLOURS.items():
        text = text.replace(colour, f"var(--{name})")
    return text


@contextmanager
def settings() -> Iterator[None]:
    """matplotlib's own defaults, whatever the user's matplotlibrc says, and no word about glyphs that no font has."""
    installed = set(font_manager.get_font_names())
    ours: dict[str, Any] = {
        "font.family": ["DejaVu Sans", *(name for name in _FONTS if name in installed)],
        "svg.fonttype": "none",
        "svg.hashsalt": "lance-ar",
    }
    with style.context(["default", ours], after_reset=True), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


def figure(history: History, layout: Layout) -> Figure:
    """The drawing. Texts of gid `note` are the annotations, lines of gid `trials` the marks."""
    result = Figure(figsize=(layout.width, layout.height), dpi=DPI, facecolor=COLOURS["paper"])
    FigureCanvasAgg(result)
    result.patch.set(edgecolor=COLOURS["grid"], linewidth=2)
    edge = layout.margin / layout.width
    if layout.titled:
        _say(result, edge, 1 - 0.16 / layout.height, history.summary, size=12, weight="bold", va="top")
        _say(result, edge, 1 - 0.42 / layout.height, EXPLANATION, colour="muted", va="top")
    if not history.points:
        return result
    strips = {
        f"{verdict} {len(numbers)}": (verdict, numbers)
        for verdict in VERDICTS
        if (numbers := [point.row.number for point in history.points if _strip(point) == verdict])
    }
    chart, strip = _axes(result, layout, len(history.points), list(strips))
    scale = Scale.of(history)
    for axes in filter(None, (chart, strip)):
        axes.set_xlim(0.5 - 0.02 * len(history.points), len(history.points) * 1.02 + 0.5)
    _draw_running_best(chart, history, scale)
    handles = _draw_trials(chart, history, scale)
    if strip is not None:
        _draw_strips(strip, strips)
    result.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(edge, 1 - (0.62 if layout.titled else 0.15) / layout.height),
        ncol=layout.legend_columns,
        frameon=False,
        fontsize=_SMALL,
        labelcolor=COLOURS["ink"],
        handletextpad=0.5,
        columnspacing=1.2,
        borderaxespad=0,
    )
    placed, wanted = _annotate(chart, history, layout)
    if placed < wanted:
        remark = f"{placed} of {wanted} kept labelled"
        _say(result, edge, 0.1 / layout.height, remark, colour="muted", va="bottom")
    return result


@dataclass(frozen=True)
class Scale:
    """The chart's range of gains, around the running best: a kernel ten times slower must not flatten it."""

    low: float
    high: float

    @classmethod
    def of(cls, history: History) -> Scale:
        bests = [point.best.value for point in history.points]
        low, high = min(bests), max(bests)
        span = max(math.log(high / low), math.log(1.1))
        places = [_place(point) for point in history.points if _strip(point) is None]
        lowest = max(min(places, default=low), low * math.exp(-0.3 * span))
        return cls(lowest * math.exp(-0.1 * span), high * math.exp(0.5 * span))

    def clip(self, gain: float) -> float:
        """Just inside the edge that the gain lies beyond, or the gain."""
        inside = 0.015 * math.log(self.high / self.low)
        return min(max(gain, self.low * math.exp(inside)), self.high * math.exp(-inside))

    def ticks(self) -> list[float]:
        wide = self.high / self.low > 8
        locator = LogLocator(subs=(1, 2, 5)) if wide else MaxNLocator(nbins=7, steps=[1, 2, 2.5, 5, 10])
        return [float(t) for t in locator.tick_values(self.low, self.high) if self.low <= t <= self.high]


def _strip(point: Point) -> str | None:
    """The row below the chart that a trial belongs in, None for the chart itself."""
    verdict = point.row.verdict
    measured = verdict in _FILLED or (verdict in MEASURED and point.own is not None)
    return None if measured else verdict


def _place(point: Point) -> float:
    """The gain at which the chart shows a trial: kept ones on the running best, whatever is known of their own."""
    return point.best.value if point.row.kept or point.own is None else point.own.value


def _say(
    figure: Figure, x: float, y: float, text: str, *, colour: str = "ink", size: float = _SMALL, **how: Any
) -> None:
    figure.text(x, y, text, color=COLOURS[colour], fontsize=size, parse_math=False, **how)


def _axes(figure: Figure, layout: Layout, trials: int, strips: Sequence[str]) -> tuple[Axes, Axes | None]:
    """The chart, and below it the rows of what was not measured, if there are any. One x axis."""
    rows = len(strips) * 0.2
    left = max([layout.left, *(0.2 + 0.072 * len(name) for name in strips)])
    width = 1 - (left + layout.right) / layout.width
    left /= layout.width
    bottom = layout.bottom + (rows + 0.1 if strips else 0)
    chart = figure.add_axes(
        (left, bottom / layout.height, width, (layout.height - layout.top - bottom) / layout.height), facecolor="none"
    )
    strip = None
    if strips:
        strip = figure.add_axes(
            (left, layout.bottom / layout.height, width, rows / layout.height), facecolor="none", sharex=chart
        )
        chart.tick_params(labelbottom=False)
    locator = MaxNLocator(nbins=layout.ticks, steps=[1, 2, 5, 10], integer=True)
    ticks = [tick for tick in locator.tick_values(1, trials) if 1 <= tick <= trials]
    for axes in filter(None, (chart, strip)):
        axes.spines[:].set_visible(False)
        axes.set_axisbelow(True)
        axes.tick_params(length=0, labelsize=_SMALL, labelcolor=COLOURS["muted"])
        axes.xaxis.set_major_locator(FixedLocator(ticks))
    (strip or chart).set_xlabel("trial", fontsize=_SMALL, color=COLOURS["muted"], labelpad=2)
    return chart, strip


def _draw_running_best(axes: Axes, history: History, scale: Scale) -> None:
    """The running best as steps, its interval as a band, the baseline as a line; one set a segment."""
    axes.set_yscale("log")
    axes.set_ylim(scale.low, scale.high)
    axes.yaxis.set_major_locator(FixedLocator(scale.ticks()))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda gain, _: f"{gain:.6g}\u00d7"))
    axes.grid(axis="y", color=COLOURS["grid"], linewidth=0.6)
    for number, points in enumerate(history.segments):
        x = [point.row.number for point in points] + [points[-1].row.number + 0.5]
        best = [point.best for point in points] + [points[-1].best]
        axes.plot((x[0], x[-1]), (1, 1), color=COLOURS["muted"], linewidth=0.9, dashes=(4, 3))
        low, high = zip(*(_ends(gain) for gain in best), strict=True)
        axes.fill_between(x, low, high, step="post", color=COLOURS["accent"], alpha=0.18, linewidth=0)
        axes.step(x, [gain.value for gain in best], where="post", color=COLOURS["accent"], linewidth=1.6)
        if number:
            axes.axvline(x[0] - 0.5, color=COLOURS["muted"], linewidth=0.8, dashes=(1, 2))
    last = history.points[-1]
    axes.annotate(
        f"{last.best.value:.2f}\u00d7",
        (last.row.number + 0.5, last.best.value),
        xytext=(6, 0),
        textcoords="offset points",
        color=COLOURS["accent"],
        fontsize=10,
        fontweight="bold",
        va="center",
        annotation_clip=False,
    )


def _ends(gain: Gain) -> tuple[float, float]:
    return (gain.interval.low, gain.interval.high) if gain.interval else (math.nan, math.nan)


def _draw_trials(axes: Axes, history: History, scale: Scale) -> list[Line2D]:
    """The marks of what was measured; returns the legend's entries."""
    handles = []
    size = 5.5 if len(history.points) <= 150 else 4.0
    for word in reversed((*MEASURED, "slower elsewhere")):
        points = [point for point in history.points if _word(point) == word and _strip(point) is None]
        inside = [p for p in points if _place(p) == scale.clip(_place(p))]
        if inside:
            places = [p.row.number for p in inside], [_place(p) for p in inside]
            handles.append(_mark(axes, *places, word, MARKERS[word], size + (word in _FILLED)))
    measured = [(point.row.number, _place(point)) for point in history.points if _strip(point) is None]
    for word, marker, beyond in (
        ("slower than shown", "v", [(x, scale.clip(y)) for x, y in measured if y < scale.clip(y)]),
        ("faster than shown", "^", [(x, scale.clip(y)) for x, y in measured if y > scale.clip(y)]),
    ):
        if beyond:
            x, y = zip(*beyond, strict=True)
            handles.insert(0, _mark(axes, x, y, word, marker, size))
    line = Line2D([], [], color=COLOURS["accent"], linewidth=1.6, label="running best")
    return [line, *reversed(handles)]


def _word(point: Point) -> str:
    """What a measured trial is called in the legend."""
    return "slower elsewhere" if point.row.slower_elsewhere else point.row.verdict


def _mark(axes: Axes, x: Sequence[float], y: Sequence[float], word: str, marker: str, size: float) -> Line2D:
    colour = COLOURS[{"baseline": "ink", "keep": "accent", "simpler": "accent"}.get(word, "muted")]
    (line,) = axes.plot(
        x,
        y,
        linestyle="none",
        marker=marker,
        markersize=size,
        markerfacecolor=colour if word in _FILLED else COLOURS["paper"],
        markeredgecolor=colour,
        markeredgewidth=0.9,
        label=word,
        gid="trials",
        clip_on=False,
        zorder=3 if word in _FILLED else 2,
    )
    return line


def _draw_strips(axes: Axes, strips: Mapping[str, tuple[str, list[int]]]) -> None:
    """One row a verdict, named and counted at its left."""
    axes.set_ylim(len(strips) - 0.5, -0.5)
    axes.set_yticks(range(len(strips)), list(strips))
    for y, (verdict, numbers) in enumerate(strips.values()):
        axes.axhline(y, color=COLOURS["grid"], linewidth=0.6, zorder=1)
        _mark(axes, numbers, [y] * len(numbers), verdict, MARKERS[verdict], 4.5)


def _annotate(axes: Axes, history: History, layout: Layout) -> tuple[int, int]:
    """Write notes at the kept trials, as many as find a place. Returns how many were written and how many were wanted.

    Which order leaves room for the most is tried out: the baselines and the last keep come first, then the larger
    gains; or the first few of these as two stairs, which rise to the left and to the right of some trial.
    """
    taken = _obstacles(axes, history, 4 * _UNIT)
    columns = layout.note if len(history.kept) <= 20 else layout.note * 3 // 4
    ranked = [
        _Label.of(axes, point, columns, taken)
        for point in sorted(history.kept, key=lambda point: _rank(point, history))
    ]
    orders = [[(label, False) for label in ranked]]
    for most in (8, 12, 16, 24, 32, 48):
        stair = sorted(ranked[:most], key=lambda label: label.x)
        for split in range(0, len(stair) + 1, len(stair) // 6 + 1):
            left, right = stair[:split], stair[split:]
            orders.append([(label, True) for label in reversed(left)] + [(label, False) for label in right])
    order = max(orders, key=lambda order: sum(label.worth for label, *_ in _arrange(order)))
    arranged = _arrange(order + orders[0])
    into_data = axes.transData.inverted().transform
    for label, box, leader in arranged:
        left, bottom = into_data(box[:2])
        axes.text(left, bottom, label.text, **_NOTE, zorder=4)
        if np.isfinite(leader).all():
            (x, low), (_, high) = into_data(leader[:2]), into_data(leader[2:])
            axes.plot((x, x), (low, high), color=COLOURS["muted"], linewidth=0.6, zorder=1.5)
    return len(arranged), len(ranked)


@dataclass(frozen=True, eq=False)
class _Label:
    """A note and where it may stand, the best first: boxes and leaders, (n, 4) pixels, and again for the other side."""

    text: str
    x: float
    worth: float
    leftwards: tuple[Floats, Floats]
    rightwards: tuple[Floats, Floats]

    @classmethod
    def of(cls, axes: Axes, point: Point, columns: int, taken: Floats) -> _Label:
        text = _annotation(point, columns)
        probe = axes.text(0, 0, text, **_NOTE)
        extent = probe.get_window_extent()
        probe.remove()
        x, y = axes.transData.transform((point.row.number, _place(point)))
        size = extent.width + 2 * _UNIT, extent.height + 3 * _UNIT
        frame = np.array(axes.bbox.extents)
        both = (_places(x, y, *size, frame, taken, rightwards=rightwards) for rightwards in (False, True))
        return cls(text, x, math.sqrt(abs(math.log(point.row.speedup or 2.0))), *both)


def _places(
    x: float, y: float, width: float, height: float, frame: Floats, taken: Floats, *, rightwards: bool
) -> tuple[Floats, Floats]:
    """Where a text of this size may stand at a mark: boxes inside the frame and clear of what is taken, and leaders.

    Beside the mark it needs no leader (one without extent): at the left, where the last step leaves room, or right of
    the riser. Else the text stands straight above, at the end of a leader, and extends to one side or to the other.
    """
    near = 6 * _UNIT
    beside = [(x - near - width, y - height / 2), (x + near, y - near / 2 - height), (x + near, y + near / 2)]
    lefts = sorted((x - width + near / 2, x - near / 2, x - width / 2), reverse=rightwards)
    above = [(left, bottom) for bottom in np.arange(y + near, frame[3] - height, 4 * _UNIT) for left in lefts]
    corners = np.array([*beside, *above])
    boxes = np.hstack([corners, corners + np.array([width, height])])
    leaders = np.array([_NO_LEADER] * len(beside) + [(x, y + 4 * _UNIT, x + 1, bottom) for _, bottom in above])
    inside = (boxes[:, :2] >= frame[:2]).all(axis=1) & (boxes[:, 2:] <= frame[2:]).all(axis=1)
    boxes, leaders = boxes[inside], leaders[inside]
    free = ~_overlap(boxes, taken)
    return boxes[free], leaders[free]


def _arrange(labels: list[tuple[_Label, bool]]) -> list[tuple[_Label, Floats, Floats]]:
    """Give each label the first of its places that is still free; one without a free place is left out.

    labels come with the side to which a text would rather extend, True for the right; a second mention is a second try.
    """
    arranged: list[tuple[_Label, Floats, Floats]] = []
    placed = np.empty((0, 4))
    done: set[_Label] = set()
    for label, rightwards in labels:
        boxes, leaders = label.rightwards if rightwards else label.leftwards
        free = np.flatnonzero(~(_overlap(boxes, placed) | _overlap(leaders, placed)))
        if label not in done and free.size:
            box, leader = boxes[free[0]], leaders[free[0]]
            done.add(label)
            arranged.append((label, box, leader))
            placed = np.vstack([placed, box, leader])
    return arranged


def _rank(point: Point, history: History) -> tuple[bool, float]:
    first = point.row.verdict == "baseline" or point is history.kept[-1]
    return not first, -(point.row.speedup or 1.0)


def _annotation(point: Point, columns: int) -> str:
    row = point.row
    if row.verdict == "baseline":
        return cut("baseline" if row.note in ("", "baseline") else f"baseline: {row.note}", columns)
    gain = "" if row.speedup is None else f"{100 * (row.speedup - 1):+.1f}%"
    return f"{cut(row.note or row.commit, columns)} {gain}".strip()


def _obstacles(axes: Axes, history: History, radius: float) -> Floats:
    """What no text may cover: marks, and each segment's lines and band. (n, 4) pixels: left, bottom, right, top."""
    boxes: list[tuple[float, float, float, float]] = []
    to_pixels = axes.transData.transform
    for line in axes.get_lines():
        if line.get_gid() == "trials":
            boxes += [(x - radius, y - radius, x + radius, y + radius) for x, y in to_pixels(line.get_xydata())]
    for points in history.segments:
        (left, base), (right, _) = to_pixels([(points[0].row.number, 1), (points[-1].row.number + 0.5, 1)])
        start, _ = to_pixels((points[0].row.number - 0.5, 1))
        boxes += [(left, base - 1, right, base + 1), (start - 1, axes.bbox.y0, start + 1, axes.bbox.y1)]
        for point, following in zip(points, (*points[1:], None), strict=True):
            x, best = point.row.number, point.best
            interval = best.interval or Interval(best.value, best.value)
            until = following.best.value if following else best.value
            ends = (x, min(interval.low, until)), (x + 1 if following else x + 0.5, max(interval.high, until))
            (left, bottom), (right, top) = to_pixels(ends)
            boxes.append((left - 1, bottom - 2, right + 1, top + 2))
    return np.array(boxes).reshape(-1, 4)


def _overlap(boxes: Floats, others: Floats) -> NDArray[np.bool_]:
    """Which of the boxes overlap any of the others. (n, 4), (m, 4) -> (n,)."""
    left, bottom, right, top = boxes.T[:, :, np.newaxis]
    across = (others[:, 0] < right) & (left < others[:, 2])
    return np.asarray((across & (others[:, 1] < top) & (bottom < others[:, 3])).any(axis=1))
