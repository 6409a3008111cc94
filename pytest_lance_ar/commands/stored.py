"""The state that a command reads: the one named by --state, else that of the project in the working directory."""

from __future__ import annotations

import argparse
from pathlib import Path

from pytest_lance_ar.store.store import Store
from pytest_lance_ar.trial.places import DEFAULT_STATE, home_of, ledger_of


def add_state_to(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--state", type=Path, metavar="DIR", help="what --lance-ar-state named")


def store_at(state: Path | None) -> Store:
    """Raises OSError, RuntimeError, ValueError for what is no path."""
    here = Path.cwd()
    path = (here / state).resolve() if state else home_of(here) / DEFAULT_STATE
    return Store(path, ledger_of(here, path))
