"""Stacked bars: of each thing, what its time is made of."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pytest_lance_ar.progress.picture import COLOURS, DPI, settings

FILLS = (COLOURS["accent"], "#7fa8d1", COLOURS["muted"], COLOURS["grid"])
HATCHES = ("", "//", "..", "")
"""Parts differ by hatch, not by colour alone."""


MARK = "reading it all once, at least"


def bars(things: Sequence[tuple[str, Mapping[str, float], float]]) -> bytes:
    """A PNG. things: name, nanoseconds by part, and nanoseconds of the MARK; the first on top."""
    with settings():
        figure = Figure(figsize=(9, 0.45 * len(things) + 1.4), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        left = [0.0] * len(things)
        for number, part in enumerate(things[0][1]):
            widths = [parts[part] / 1000 for _, parts, _ in things]
            axes.barh(
                [name for name, _, _ in things],
                widths,
                left=left,
                label=part,
                color=FILLS[number % len(FILLS)],
                hatch=HATCHES[number % len(HATCHES)],
                edgecolor=COLOURS["paper"],
            )
            left = [start + width for start, width in zip(left, widths, strict=True)]
        rows = range(len(things))
        marks = [mark / 1000 for _, _, mark in things]
        # From edge to edge of a bar's place: they must be seen on a dark one.
        axes.vlines(marks, [row - 0.5 for row in rows], [row + 0.5 for row in rows], color=COLOURS["ink"], label=MARK)
        axes.invert_yaxis()
        axes.set_xlabel("microseconds a query")
        axes.legend(frameon=False)
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=DPI)
        return file.getvalue()
