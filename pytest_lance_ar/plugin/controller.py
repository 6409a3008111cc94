"""What every session of the gate has in common."""

from __future__ import annotations

import pytest

from pytest_lance_ar.gate import Gate
from pytest_lance_ar.plugin.suite import Brief
from pytest_lance_ar.plugin.worker import SuiteHooks
from pytest_lance_ar.report.report import header
from pytest_lance_ar.text import one_line


class Controller(SuiteHooks):
    """The controlling process: it has the gate, and the last word."""

    def __init__(self, config: pytest.Config, gate: Gate) -> None:
        self.gate = gate
        trial = gate.trial
        brief = Brief(
            name=trial.candidate.name,
            source=trial.candidate.source,
            deadline=trial.deadline.moment,
            seed=trial.seed,
            rtol=trial.options.rtol,
            examples=tuple(gate.earlier_examples()),
        )
        super().__init__(config, brief)

    def pytest_report_header(self) -> list[str]:
        return [*header(self.gate.trial), *(f"lance-ar: {one_line(notice)}" for notice in self.gate.notices)]

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        if excinfo.type is KeyboardInterrupt:  # pytest's own ways to stop are subclasses of it
            self.gate.interrupted()

    def pytest_internalerror(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        self.gate.broke(f"internal error: {excinfo.exconly()}")

    def pytest_unconfigure(self) -> None:
        super().pytest_unconfigure()
        self.gate.close()

    def exit_code(self, pytest_status: int | None) -> int:
        """The exit status of this run, whatever pytest thinks of it."""
        raise NotImplementedError
