"""The suite's runs draw what the seed says, wherever they are run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
from pytest_lance_ar.plugin.worker import SuiteHooks
if sys.argv[1] == "prepared":
    SuiteHooks.pytest_collection_modifyitems(object.__new__(SuiteHooks), [])
from hypothesis.internal.conjecture import providers
import of_the_user
print(len(providers._get_local_constants()) > 0)
"""


@pytest.mark.parametrize(("prepared", "drawn"), [("prepared", "False"), ("not", "True")])
def test_no_number_is_drawn_from_the_users_modules(tmp_path: Path, prepared: str, drawn: str) -> None:
    """Where Hypothesis would draw some: what it finds there depends on where a project lies."""
    tmp_path.joinpath("of_the_user.py").write_text("NUMBER = 271828182\n")
    command = [sys.executable, "-c", PROGRAM, prepared]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == drawn
