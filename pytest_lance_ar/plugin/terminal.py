"""What the gate writes into pytest's terminal: lines, its progress, and the block at the end."""

from __future__ import annotations

import sys

import pytest

from pytest_lance_ar.report.report import Report
from pytest_lance_ar.trial.verdict import ExitCode


def write(config: pytest.Config, text: str, **markup: bool) -> None:
    """Write to pytest's terminal, or where that would be."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.write(text, flush=True, **markup)
    else:
        sys.stdout.write(text)
        sys.stdout.flush()


def write_block(config: pytest.Config, report: Report) -> None:
    """The block; only its verdict has a colour, and only where pytest has colours."""
    name, code = report.verdict.name, report.verdict.code
    before, name, after = report.as_text().partition(name)
    undecided = code in (ExitCode.DISCARD, ExitCode.NONE, ExitCode.INCONCLUSIVE, ExitCode.INTERRUPTED)
    write(config, before)
    failed = not (report.verdict.kept or undecided)
    write(config, name, bold=True, green=report.verdict.kept, yellow=undecided, red=failed)
    write(config, after)


class LineProgress:
    """Progress in the terminal: one line, rewritten, where there is a terminal; else a line for what lasts.

    Under -q a file gets none, and under -qq a terminal neither.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._reporter = config.pluginmanager.get_plugin("terminalreporter")
        self._width = config.get_terminal_writer().fullwidth if self._reporter is not None else 0
        if self._reporter is not None and self._reporter.verbosity < (-1 if self._reporter.isatty else 0):
            self._reporter = None
        self._rewrites = self._reporter is not None and self._reporter.isatty
        if self._reporter is not None:
            self._reporter.ensure_newline()  # pytest leaves its last line of dots open

    def __call__(self, text: str, passing: bool = False, /) -> None:
        if self._rewrites:
            self._rewrite(f"lance-ar: {text}")
        elif self._reporter is not None and not passing:
            self._reporter.write_line(f"lance-ar: {text}")
            self._reporter.flush()

    def end(self) -> None:
        if self._rewrites:
            self._rewrite("")

    def _rewrite(self, text: str) -> None:
        assert self._reporter is not None
        # A line that wraps could not be rewritten.
        self._reporter.rewrite(text[: max(0, self._width - 1)], erase=True)
        self._reporter.flush()
