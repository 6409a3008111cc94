"""Configuration of the project's own tests."""

from __future__ import annotations

import os
import sys

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


def pytest_configure(config: pytest.Config) -> None:
    """Tests import each other as `tests.*`. Under `--lance-ar` nothing of a project is to be found by its name."""
    root = str(config.rootpath)
    if not config.option.lance_ar and root not in sys.path:
        sys.path.insert(0, root)
