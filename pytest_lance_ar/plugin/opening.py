"""Opens the session that the options ask for. What the user must mend first is said in one sentence."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from pytest_lance_ar.gate import Gate
from pytest_lance_ar.plugin.controller import Controller
from pytest_lance_ar.plugin.exit_status import SESSION
from pytest_lance_ar.plugin.options import BEGUN, values_of
from pytest_lance_ar.plugin.selftest import SelftestSession
from pytest_lance_ar.plugin.session import GateSession
from pytest_lance_ar.plugin.suite import Brief
from pytest_lance_ar.plugin.terminal import write
from pytest_lance_ar.plugin.worker import WORKER_INPUT, SuiteHooks, XdistHooks
from pytest_lance_ar.store.store import StoreError
from pytest_lance_ar.trial.options import OptionError, Options


def open_session(config: pytest.Config) -> None:
    """Register what acts in this process: a session, or in a worker of xdist the suite alone. Raises UsageError."""
    worker_input = getattr(config, "workerinput", None)
    if worker_input is not None:
        brief = Brief.from_dict(worker_input[WORKER_INPUT])
        config.pluginmanager.register(SuiteHooks(config, brief), SESSION)
        return
    session = _controller(config)
    config.pluginmanager.register(session, SESSION)
    if config.pluginmanager.hasplugin("xdist"):
        config.pluginmanager.register(XdistHooks(session), f"{SESSION}_xdist")


def _controller(config: pytest.Config) -> Controller:
    here = config.invocation_params.dir
    selftest = config.getoption("lance_ar_selftest")
    if selftest and getattr(config.option, "numprocesses", None):
        raise pytest.UsageError("--lance-ar-selftest times kernels and nothing else; run it without -n")
    try:
        options = Options.from_strings(
            values_of(config, config.option),
            root=config.rootpath,
            here=here,
            rebaseline=config.getoption("lance_ar_rebaseline"),
            simplify=config.getoption("lance_ar_simplify"),
        )
        if selftest:
            options = replace(options, against=str(options.kernel), rebaseline=False)
        gate = Gate(
            options,
            here=here,
            since=config.stash.get(BEGUN, math.inf),
            tell=lambda text: write(config, f"lance-ar: {text}\n"),
        )
    except (OptionError, StoreError) as error:
        raise pytest.UsageError(str(error)) from error
    return SelftestSession(config, gate) if selftest else GateSession(config, gate)
