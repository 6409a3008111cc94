"""pytest's hooks, and nothing but: each hands over. Nothing heavy is imported without `--lance-ar`."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_lance_ar.plugin import exit_status, hookspecs, options
from pytest_lance_ar.seal.reach import paths_closed
from pytest_lance_ar.trial.deadline import process_begun

if TYPE_CHECKING:
    from pytest_lance_ar.trial.evidence import Evidence
    from pytest_lance_ar.trial.trial import Trial
    from pytest_lance_ar.trial.verdict import Verdict


def pytest_addoption(parser: pytest.Parser) -> None:
    options.add_to(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(hookspecs)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    if getattr(early_config.known_args_namespace, "lance_ar", False) and not options.is_windows():
        early_config.stash[options.BEGUN] = process_begun()
        with paths_closed(early_config.rootpath, early_config.invocation_params.dir):
            from pytest_lance_ar.host import forkserver, platform

            platform.one_thread()  # before numpy is imported
            forkserver.begin()  # it imports numba meanwhile
            from pytest_lance_ar.plugin.threshold import before_conftests

        before_conftests(early_config)


@pytest.hookimpl(wrapper=True, tryfirst=True, specname="pytest_load_initial_conftests")
def pytest_load_initial_conftests_given_room(early_config: pytest.Config) -> Generator[None, Any, Any]:
    if getattr(early_config.known_args_namespace, "lance_ar", False):
        options.refuse_without_room()
    return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("lance_ar"):
        options.refuse_windows()
        from pytest_lance_ar.plugin.opening import open_session

        open_session(config)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, Any, Any]:
    try:
        status = yield
    except Exception as error:
        status = exit_status.after(config, error)
    return exit_status.last_word(config, status)


@pytest.hookimpl(tryfirst=True, specname="pytest_cmdline_main")
def pytest_cmdline_main_in_the_right_root(config: pytest.Config) -> int | None:
    return exit_status.of_a_new_start(config)


def pytest_lance_ar_decide(trial: Trial, evidence: Evidence) -> Verdict:
    from pytest_lance_ar.trial.verdict import decide

    return decide(trial, evidence)
