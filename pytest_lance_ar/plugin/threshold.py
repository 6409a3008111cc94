"""What happens before pytest loads anything of the project: its conftest could say anything, were it not sealed."""

from __future__ import annotations

import pytest

from pytest_lance_ar.plugin import opening  # noqa: F401 all that the gate needs, before a conftest can shadow it
from pytest_lance_ar.plugin.options import values_of
from pytest_lance_ar.seal.watch import Watch
from pytest_lance_ar.store.store import Store, StoreError
from pytest_lance_ar.trial.options import OptionError, Options


def before_conftests(config: pytest.Config) -> None:
    """Where sealed files have changed, no conftest of the project is loaded."""
    if _has_changed(config):
        config.known_args_namespace.noconftest = True


def _has_changed(config: pytest.Config) -> bool:
    typed = config.known_args_namespace
    root, here = config.rootpath, config.invocation_params.dir
    if typed.lance_ar_rebaseline or typed.lance_ar_against:
        return False
    try:
        options = Options.from_strings(values_of(config, typed), root=root, here=here)
        seal = Store.of(options).seal
    except (OptionError, StoreError):
        return False  # told when the session opens, and nothing is judged then
    return seal is not None and bool(Watch(root, unsealed=options.kernel).since(seal))
