"""What the benchmark found, as tables and as JSON: two views of the same `Timed` objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from pytest_lance_ar.bench.measure import BASELINE, KERNEL, Spread, Timed
from pytest_lance_ar.speed.statistics import geomean

SCHEMA: Final = 1


def as_text(title: str, timed: Sequence[Timed], *, by_size: bool = False) -> str:
    """A Markdown table of one section, and the section in one sentence for each rival of the kernel.

    Nanoseconds are of one query. Brackets: the middle half of the rounds.
    """
    (library,) = [name for name in timed[0].logs if name not in (KERNEL, BASELINE)] or [""]
    rows = [["workload", "N", "baseline ns", "kernel ns", "kernel / baseline"]]
    rows[0] += [f"{library} ns", f"kernel / {library}"] if library else []
    rows[0] += ["kernel ns/vector", "pack s", "bytes / code byte"] if by_size else []
    for one in timed:
        workload = one.workload
        row = [f"{workload.shape} {workload.data}", f"{workload.count:,}" if workload.count else ""]
        row.append(f"{one.ns(BASELINE):,.0f}")
        row += [f"{one.ns(KERNEL):,.0f}", _spread(one.ratio(KERNEL, BASELINE))]
        row += [f"{one.ns(library):,.0f}", _spread(one.ratio(KERNEL, library))] if library else []
        if by_size:
            row.append(f"{one.ns(KERNEL) / workload.count:.3f}")
            row += ["", ""] if one.packing is None else _packing(one.packing.seconds, one.packing.bytes_per_code_byte)
        rows.append(row)
    if not by_size:
        names = [BASELINE, KERNEL, *([library] if library else [])]
        ns = {name: f"{geomean([one.ns(name) for one in timed]):,.0f}" for name in names}
        last = ["geomean", "", ns[BASELINE], ns[KERNEL], f"{_geomean(timed, BASELINE):.3f}"]
        rows.append(last + ([ns[library], f"{_geomean(timed, library):.3f}"] if library else []))
    lines = [f"{title}", "", *_markdown(rows), ""]
    for rival in [BASELINE, *([library] if library else [])]:
        ratio, worst = _geomean(timed, rival), max(timed, key=lambda one: one.ratio(KERNEL, rival).median)
        lines.append(
            f"kernel / {rival}: geomean {ratio:.3f} ({1 / ratio:.2f} times as fast), worst "
            f"{worst.ratio(KERNEL, rival).median:.3f} on {worst.workload.name}"
        )
    return "\n".join(lines) + "\n"


def as_json(timed: Sequence[Timed]) -> dict[str, Any]:
    """One section: its rows, and the geomeans of the kernel's ratios."""
    rivals = [name for name in timed[0].logs if name != KERNEL]
    return {
        "rows": [
            {
                "shape": str(one.workload.shape),
                "data": one.workload.data,
                "n": one.workload.count,
                "ns_per_query": {name: one.ns(name) for name in one.logs},
                "kernel_ratio": {rival: asdict(one.ratio(KERNEL, rival)) for rival in rivals},
                "packing": None if one.packing is None else asdict(one.packing),
            }
            for one in timed
        ],
        "kernel_ratio_geomean": {rival: _geomean(timed, rival) for rival in rivals},
    }


def document(host: Mapping[str, Any], sections: Mapping[str, Sequence[Timed]]) -> dict[str, Any]:
    """All of a run."""
    return {"schema": SCHEMA, **host, "sections": {name: as_json(timed) for name, timed in sections.items()}}


def _geomean(timed: Sequence[Timed], rival: str) -> float:
    return geomean([one.ratio(KERNEL, rival).median for one in timed])


def _spread(spread: Spread) -> str:
    return f"{spread.median:.3f} [{spread.low:.3f}, {spread.high:.3f}]"


def _packing(seconds: float, bytes_per_code_byte: float) -> list[str]:
    return [f"{seconds:.3f}", f"{bytes_per_code_byte:.2f}"]


def _markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns of one width: the first to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| "
        + " | ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        + " |"
        for row in rows
    ]
    ruler = "|".join("-" * (width + 1) + (":" if number else "-") for number, width in enumerate(widths))
    return [lines[0], f"|{ruler}|", *lines[1:]]
