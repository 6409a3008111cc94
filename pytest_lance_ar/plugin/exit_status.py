"""The last word on the exit status of a run."""

from __future__ import annotations

import traceback
from typing import Final

import pytest

from pytest_lance_ar.plugin.options import joined

SESSION: Final = "lance_ar_session"
"""The name under which the session is registered."""
STARTED_OVER: Final = pytest.StashKey[bool]()


def after(config: pytest.Config, error: Exception) -> int:
    """What a run ends with that failed outside of all that pytest catches, as where it cleans up: told, and no raw 1.

    Raises what is for pytest to tell.
    """
    if not config.getoption("lance_ar", False) or isinstance(error, pytest.UsageError):
        raise error
    traceback.print_exception(error)
    return pytest.ExitCode.INTERNAL_ERROR


def last_word(config: pytest.Config, status: int | None) -> int | None:
    """Under `--lance-ar`, 0 needs a verdict that says so."""
    worker = hasattr(config, "workerinput")
    if not config.getoption("lance_ar", False) or worker or config.stash.get(STARTED_OVER, False):
        return status
    from pytest_lance_ar.trial.verdict import ExitCode

    session = config.pluginmanager.get_plugin(SESSION)
    if session is not None:
        return int(session.exit_code(status))
    if status == pytest.ExitCode.INTERRUPTED:  # while it waited for another gate
        return ExitCode.INTERRUPTED
    # The gate was never opened: what was asked for needed none, or opening it failed.
    return ExitCode.NONE if status in (None, pytest.ExitCode.OK) else ExitCode.INTERNAL


def of_a_new_start(config: pytest.Config) -> int | None:
    """pytest takes a path behind an option that it does not know yet for a place to look for the project's root.

    A kernel, a state directory or a note that is the name of a file would then choose another project: another state,
    another incumbent. Start over with `--option=value`, which pytest leaves alone.
    """
    invocation = config.invocation_params
    arguments = joined(invocation.args, invocation.dir)
    if not config.getoption("lance_ar") or arguments == list(invocation.args) or hasattr(config, "workerinput"):
        return None
    config.stash[STARTED_OVER] = True
    return int(pytest.main(arguments, plugins=invocation.plugins))
