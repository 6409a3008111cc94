"""The history as one HTML page that needs nothing else: the picture, and the table of all trials.

The page's content policy allows nothing from elsewhere and one script, which it names by its hash: what a note smuggles
past the escaping, if that were possible, would not run.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from html import escape
from typing import Final

from pytest_lance_ar.progress.history import History, Point, interval_text
from pytest_lance_ar.progress.picture import COLOURS, EXPLANATION

DARK: Final = {
    "paper": "#0d1117",
    "ink": "#e6edf3",
    "muted": "#9198a1",
    "grid": "#2a313a",
    "accent": "#58a6ff",
}
"""What the picture's colours are in the dark."""
COLUMNS: Final = (
    ("trial", "number"),
    ("verdict", "text"),
    ("speed-up", "number"),
    ("cumulative", "number"),
    ("guard worst", "number"),
    ("note", "text"),
    ("reason", "text"),
    ("commit", "text"),
    ("geomean ns", "number"),
    ("time (UTC)", "text"),
)
_SIDE: Final = ("speed-up", "guard worst", "commit", "geomean ns", "time (UTC)")
"""Columns that a small screen does without."""


def _variables(colours: Mapping[str, str]) -> str:
    return "".join(f"--{name}: {colour}; " for name, colour in colours.items())


_STYLE: Final = f"""
:root {{ color-scheme: light dark; {_variables(COLOURS)}}}
@media (prefers-color-scheme: dark) {{ :root {{ {_variables(DARK)}}} }}
* {{ box-sizing: border-box; }}
body {{ margin: 0 auto; max-width: 76rem; padding: 1rem; background: var(--paper); color: var(--ink);
  font: 0.875rem/1.45 system-ui, sans-serif; }}
h1 {{ font-size: 1.15rem; margin: 0 0 0.25rem; }}
p {{ margin: 0 0 0.75rem; color: var(--muted); }}
p.now {{ color: var(--ink); }}
svg {{ display: block; width: 100%; height: auto; }}
.narrow {{ display: none; }}
form {{ display: flex; flex-wrap: wrap; gap: 0.75rem; align-items: center; margin: 1rem 0 0.5rem; }}
input, select {{ font: inherit; color: inherit; background: transparent; border: 1px solid var(--muted);
  border-radius: 4px; padding: 0.25rem 0.5rem; max-width: 100%; }}
option {{ color: var(--ink); background: var(--paper); }}
.trials {{ overflow-x: auto; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; vertical-align: top; padding: 0.3rem 0.6rem 0.3rem 0;
  border-bottom: 1px solid var(--grid); }}
td {{ overflow-wrap: anywhere; }}
.number {{ text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }}
.note, .reason {{ min-width: 12rem; }}
.reason, .commit, .time {{ color: var(--muted); }}
.commit, .time, .verdict {{ white-space: nowrap; }}
th button {{ all: unset; cursor: pointer; color: var(--muted); white-space: nowrap; }}
th[aria-sort] button {{ color: var(--ink); font-weight: 600; }}
th[aria-sort=ascending] button::after {{ content: " \\2191"; }}
th[aria-sort=descending] button::after {{ content: " \\2193"; }}
:focus-visible {{ outline: 2px solid var(--accent); outline-offset: 2px; }}
tr.kept .verdict {{ color: var(--accent); font-weight: 600; }}
@media (max-width: 40rem) {{
  .wide, .side, .interval {{ display: none; }}
  .narrow {{ display: block; }}
  .note, .reason {{ min-width: 9rem; }}
}}
"""

_SCRIPT: Final = """
"use strict";
const body = document.querySelector("tbody");
const form = document.querySelector("form");
const rows = [...body.rows];
const shown = document.querySelector("output");
const value = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent;

function filter() {
  const words = form.words.value.toLowerCase().split(/\\s+/);
  let count = 0;
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    const verdict = form.verdict.value === "" || row.dataset.verdict === form.verdict.value;
    row.hidden = !(verdict && words.every((word) => text.includes(word)));
    count += !row.hidden;
  }
  shown.value = `${count} of ${rows.length} trials`;
}

function sort(header) {
  const down = header.getAttribute("aria-sort") === "ascending";
  document.querySelectorAll("th[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
  header.setAttribute("aria-sort", down ? "descending" : "ascending");
  const column = header.cellIndex;
  const numeric = header.classList.contains("number");
  const sign = down ? -1 : 1;
  rows.sort((a, b) => {
    const [x, y] = [value(a, column), value(b, column)];
    if (x === "" || y === "") return (x === "") - (y === "");  // what was not measured comes last, either way
    return sign * (numeric ? x - y : x.localeCompare(y));
  });
  body.append(...rows);
}

form.hidden = false;
form.addEventListener("input", filter);
form.addEventListener("submit", (event) => event.preventDefault());
document.querySelectorAll("th").forEach((header) => {
  header.querySelector("button").addEventListener("click", () => sort(header));
});
filter();
"""


def page(history: History, *, wide: str, narrow: str, now: str = "", reload_seconds: int = 0) -> str:
    """The page. wide and narrow are the picture as `<svg>` elements, for large screens and for small ones.

    now: what is going on at this moment. reload_seconds: after so many the page loads itself again, 0: never.
    """
    reload = f'<meta http-equiv="refresh" content="{reload_seconds}">\n' if reload_seconds else ""
    current = f'<p class="now">{escape(now)}</p>\n' if now else ""
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src '{_hash(_SCRIPT)}'"
    verdicts = "".join(f'<option value="{verdict}">{verdict} ({n})</option>' for verdict, n in history.counts.items())
    remarks = "".join(f"<p>{escape(remark)}</p>\n" for remark in history.remarks)
    headers = "".join(
        f'<th scope="col" class="{_classes(name, kind)}"><button type="button">{name}</button></th>'
        for name, kind in COLUMNS
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
{reload}<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(history.summary)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>{escape(history.summary)}</h1>
{current}<p>{EXPLANATION}</p>
{remarks}{_labelled(wide, "wide", history)}{_labelled(narrow, "narrow", history)}<form hidden>
<label>Filter <input type="search" name="words"></label>
<label>Verdict <select name="verdict"><option value="">all</option>{verdicts}</select></label>
<output aria-live="polite"></output>
</form>
<div class="trials" role="region" aria-label="All trials" tabindex="0">
<table>
<thead><tr>{headers}</tr></thead>
<tbody>
{"".join(map(_row, history.points))}</tbody>
</table>
</div>
</main>
<script>{_SCRIPT}</script>
</body>
</html>
"""


def _row(point: Point) -> str:
    row, own = point.row, point.own
    interval = f' <span class="interval">{interval_text(own)}</span>' if own and interval_text(own) else ""
    cells = {
        "trial": str(row.number),
        "verdict": row.verdict,
        "speed-up": "" if row.speedup is None else f"{row.speedup:.4f}",
        "cumulative": "" if own is None else f"{own.value:.3f}x{interval}",
        "guard worst": "" if row.worst_guard is None else f"{row.worst_guard:.3f}",
        "note": escape(row.note),
        "reason": escape(row.cells.get("reason", "")),
        "commit": escape(row.commit),
        "geomean ns": "" if row.geomean_ns is None else f"{row.geomean_ns:.0f}",
        "time (UTC)": escape(row.cells.get("timestamp", "")),
    }
    sortable = {"cumulative": "" if own is None else f"{own.value:.6f}"}
    tds = []
    for name, kind in COLUMNS:
        value = f' data-value="{sortable[name]}"' if name in sortable else ""
        tds.append(f'<td class="{_classes(name, kind)}"{value}>{cells[name]}</td>')
    kept = ' class="kept"' if row.kept else ""
    return f'<tr{kept} data-verdict="{row.verdict}">{"".join(tds)}</tr>\n'


def _classes(name: str, kind: str) -> str:
    words = [name.split()[0], kind if kind == "number" else "", "side" if name in _SIDE else ""]
    return " ".join(filter(None, words))


def _labelled(svg: str, name: str, history: History) -> str:
    if not history.points:
        return ""
    labelled = svg.replace("<svg", f'<svg role="img" aria-label="{escape(history.summary)}"', 1)
    return f'<div class="{name}">{labelled}</div>\n'


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
