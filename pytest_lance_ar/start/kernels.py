"""The kernels that an experiment can start from."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pytest_lance_ar.targets import DEFAULT, DEFAULT_KERNEL
from pytest_lance_ar.targets.protocol import Target

PROJECT: Final = Path(__file__).parents[2]
"""The checkout, where this package lies in one."""
SHIPPED: Final = PROJECT / "pytest_lance_ar_shipped"
"""Where a wheel has what stands elsewhere in the checkout."""


class NoKernel(Exception):
    """A target ships no such kernel."""


def place_of(target: Target) -> str:
    """Where an experiment has its kernel, relative to its directory."""
    return DEFAULT_KERNEL if target.name == DEFAULT else f"kernel/{target.name}.py"


def baseline_of(target: Target) -> bytes:
    """The scalar kernel. Raises NoKernel, OSError."""
    path = target.suite.parent / "baseline.py"
    if not path.is_file():
        raise NoKernel(f"the target {target.name} ships no baseline.py beside its suite")
    return path.read_bytes()


def best_of(target: Target) -> bytes:
    """The best kernel that is shipped: beside the package in a wheel, in a checkout the kernel that stands there.

    Raises NoKernel, OSError.
    """
    path = place("", place_of(target))
    if path is None:
        raise NoKernel(
            f"no better kernel than the baseline is shipped for the target {target.name}; use --from baseline"
        )
    return path.read_bytes()


def place(directory: str, name: str) -> Path | None:
    """A file of the checkout, which a wheel has without its directory; None where it is in neither."""
    in_checkout = PROJECT / directory / name
    if (PROJECT / "pyproject.toml").is_file() and in_checkout.is_file():
        return in_checkout
    return SHIPPED / name if (SHIPPED / name).is_file() else None
