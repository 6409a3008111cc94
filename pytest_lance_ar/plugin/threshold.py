"""What happens before pytest loads anything of the project: its conftest could say anything, were it not sealed."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import pytest

from pytest_lance_ar.plugin import opening  # noqa: F401 all that the gate needs, before a conftest can shadow it
from pytest_lance_ar.plugin.options import values_of
from pytest_lance_ar.seal.reach import paths_closed
from pytest_lance_ar.seal.watch import Watch
from pytest_lance_ar.store.store import Store, StoreError
from pytest_lance_ar.targets.registry import TargetError, files_of, target_of
from pytest_lance_ar.trial.kernel_source import Kernel
from pytest_lance_ar.trial.options import OptionError, Options


def before_conftests(config: pytest.Config) -> None:
    """Where sealed files have changed, no conftest of the project is loaded.

    Targets from outside are looked for here, while nothing of the project can be found by its name.
    """
    typed = config.known_args_namespace
    root, here = config.rootpath, config.invocation_params.dir
    try:
        options = Options.from_strings(values_of(config, typed), root=root, here=here)
        kernel = Kernel.read(options.kernel, options.kernel_name)
    except (OptionError, OSError):
        return  # told when the session opens, and nothing is judged then
    with paths_closed(root, here), suppress(TargetError):
        target_of(kernel.source)
    if not (typed.lance_ar_rebaseline or typed.lance_ar_against) and _has_changed(options, kernel):
        typed.noconftest = True


def _has_changed(options: Options, kernel: Kernel) -> bool:
    try:
        seal = Store.of(options).seal
        beside = partial(files_of, target_of(kernel.source))
    except (TargetError, StoreError):
        return False
    return seal is not None and bool(Watch(options.root, unsealed=options.kernel, beside=beside).since(seal))
