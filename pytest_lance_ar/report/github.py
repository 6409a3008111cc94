"""A report as GitHub Actions shows it: one annotation at the kernel, and a section of the step's summary."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_lance_ar.text import one_line
from pytest_lance_ar.trial.verdict import ExitCode

if TYPE_CHECKING:
    from pytest_lance_ar.report.report import Report

SUMMARY_LIMIT: Final = 1024 * 1024
"""Bytes that a step's summary may have; what exceeds it is not shown at all."""
_LEVELS: Final = {ExitCode.KEPT: "notice", ExitCode.DISCARD: "warning", ExitCode.INCONCLUSIVE: "warning"}
_LINE: Final = re.compile(r"\bline (\d+)\b")
_WORD: Final = re.compile(r"[A-Za-z_]\w*")


def is_here(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this is a step of a workflow."""
    return environment.get("GITHUB_ACTIONS") == "true"


def annotation(report: Report, workspace: str) -> str:
    """One workflow command: the verdict and why, at the line of the kernel that it is about.

    workspace: the directory that the paths of annotations are relative to, "" when it is not known.
    """
    r = report.as_dict()
    path = report.trial.options.kernel
    name = path.relative_to(workspace).as_posix() if workspace and path.is_relative_to(workspace) else r["kernel"]
    text = r["first_failure"] or r["reason"] or _speedup(r) or "the first correct kernel"
    hint = f"\n{one_line(r['hint'])}" if r["hint"] else ""
    level = _LEVELS.get(report.verdict.code, "error")
    line = _line_of(report.trial.candidate.source, text)
    title = f"{report.trial.target.name}: {report.verdict.name}"
    return f"::{level} file={_property(name)},line={line},title={_property(title)}::{_data(one_line(text) + hint)}\n"


def refusal(sentence: str) -> str:
    """One workflow command: why nothing was judged."""
    return f"::error title=not judged::{_data(one_line(sentence))}\n"


def summary(report: Report) -> str:
    """The report in Markdown."""
    r = report.as_dict()
    lines = [f"### `{_code(r['kernel'])}`: {r['verdict']}", ""]
    text = r["first_failure"] or r["reason"]
    if text:
        lines += ["```", _code(text), *(_code(r[key]) for key in ("hint", "replay") if r[key]), "```", ""]
    lines += ["| | |", "|---|---|", _row("correctness", f"{r['correctness']}, {r['examples']} examples")]
    if r["incumbent"]:
        lines.append(_row("against", r["incumbent"]))
    if r["speedup_vs_incumbent"] is not None:
        lines.append(_row("speed-up", _speedup(r)))
    if r["geomean_ns_per_query"] is not None:
        low, high = r["geomean_ns_ci_90pct"]
        lines.append(_row("geomean", f"{r['geomean_ns_per_query']:.0f} ns/query, 90% [{low:.0f}, {high:.0f}]"))
        lines.append(_row("noise floor", f"{r['noise_floor_pct']:.1f}%"))
    lines += [_row("seed", r["seed"]), _row("seconds", f"{r['total_seconds']:.1f}")]
    if r["per_combo"]:
        lines += ["", "| combo | ns/query | of the incumbent's |", "|---|---:|---:|"]
        for combo in r["per_combo"]:
            ratio = f"{combo['ratio']:.3f}" if r["speedup_vs_incumbent"] is not None else "-"
            lines.append(f"| {combo['shape']} {combo['distribution']} | {combo['candidate_ns']:.0f} | {ratio} |")
    if r["guards"]:
        low, high = r["guard_geomean_interval"]
        lines += ["", f"Guard workloads: {r['guard_geomean']:.3f} [{low:.3f}, {high:.3f}] of the incumbent's time", ""]
        lines += ["| guard workload | of the incumbent's | interval |", "|---|---:|---|"]
        for guard in sorted(r["guards"], key=lambda guard: -guard["ratio"]):
            low, high = guard["interval"]
            lines.append(f"| {_cell(guard['name'])} | {guard['ratio']:.3f} | [{low:.3f}, {high:.3f}] |")
    return "\n".join(lines) + "\n\n"


def write_summary(report: Report, path: Path) -> None:
    """Append to the step's summary, unless that would make it too large to be shown. Raises OSError."""
    text = summary(report).encode(errors="replace")
    with path.open("ab") as file:
        if file.tell() + len(text) <= SUMMARY_LIMIT:
            file.write(text)


def _speedup(r: dict[str, Any]) -> str:
    if r["speedup_vs_incumbent"] is None:
        return ""
    low, high = r["speedup_interval"]
    return f"{r['speedup_vs_incumbent']:.4f} [{low:.4f}, {high:.4f}] times as fast as {r['incumbent']}"


def _line_of(source: bytes, text: str) -> int:
    """The line that a failure names, else that of the method it names first, else the first."""
    named = _LINE.search(text)
    if named:
        return int(named[1])
    try:
        classes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]
        methods = [node for one in classes for node in one.body if isinstance(node, ast.FunctionDef)]
        lines = {node.name: node.lineno for node in reversed(methods)}
        return next((lines[word] for word in _WORD.findall(text) if word in lines), 1)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return 1


def _row(name: str, value: object) -> str:
    return f"| {name} | {_cell(value)} |"


def _cell(text: object) -> str:
    return f"`{_code(text)}`".replace("|", "\\|")


def _code(text: object) -> str:
    return one_line(text).replace("`", "'")


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
