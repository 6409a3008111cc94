"""A run of the self-test, as pytest goes through it."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from pytest_lance_ar.host.parent import KernelFault
from pytest_lance_ar.plugin.controller import Controller
from pytest_lance_ar.plugin.terminal import LineProgress, write
from pytest_lance_ar.speed.selftest import selftest
from pytest_lance_ar.speed.sides import IncumbentFailed
from pytest_lance_ar.trial.verdict import ExitCode


class SelftestSession(Controller):
    """Measures the gate instead of a kernel. There is no verdict, so the exit status is that of none."""

    text = ""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> bool:
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self) -> bool:
        progress = LineProgress(self.config)
        try:
            self.text = selftest(self.gate.trial, progress).as_text()
        except (KernelFault, IncumbentFailed) as error:
            self.text = f"---\nthe kernel does not run: {error}\n"
        finally:
            progress.end()
        return True

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        result = yield
        session.exitstatus = self.exit_code(session.exitstatus)
        write(self.config, self.text)
        return result

    def exit_code(self, pytest_status: int | None) -> int:
        if self.gate.evidence.interrupted:
            return ExitCode.INTERRUPTED
        return ExitCode.NONE if self.text else ExitCode.INTERNAL
