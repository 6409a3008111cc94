"""Configuration of the project's own tests."""

from __future__ import annotations

import os

import pytest

pytest_plugins = ["pytester", "pytest_lance_ar.plugin.suite"]


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """All tests together are spread over the cores; a part of them, a trial and the slow ones, which time, are not."""
    option = config.option
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS and "not slow" in option.markexpr
    alone = option.lance_ar or option.collectonly or option.usepdb or hasattr(config, "workerinput")
    if whole and not alone and getattr(option, "numprocesses", 0) is None:
        option.numprocesses = min(4, os.cpu_count() or 1)
        option.dist = "loadgroup"
