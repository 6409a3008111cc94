"""The options of a run: read from anywhere, checked in one place."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pytest_lance_ar.seal.fingerprints import lies_among_the_sealed
from pytest_lance_ar.targets import DEFAULT_KERNEL
from pytest_lance_ar.trial.kernel_source import Kernel
from pytest_lance_ar.trial.places import DEFAULT_STATE, home_of, ledger_of

MAX_RTOL: Final = 1e-6
"""A larger one would let tables of 16-bit integers pass."""
MAX_SEED: Final = 2**63 - 1
DEFAULT_MIN_GAIN: Final = 1.0
"""Percent."""
MAX_MIN_GAIN: Final = 100.0
"""A kernel of half the time."""
PHASES: Final = ("all", "correctness")
DEFAULT_BUDGET: Final = 600.0


class OptionError(ValueError):
    """A user's mistake, told in one sentence that says what to do."""


@dataclass(frozen=True)
class Options:
    """What the user asked for. Paths are absolute; `root` is the project's directory."""

    root: Path
    kernel: Path
    state: Path
    ledger: Path
    seed: int
    budget: float = DEFAULT_BUDGET
    against: str | None = None
    note: str = ""
    learned: str = ""
    json: Path | None = None
    phase: str = "all"
    rebaseline: bool = False
    simplify: bool = False
    rtol: float = 0.0
    min_gain: float = DEFAULT_MIN_GAIN

    @property
    def kernel_name(self) -> str:
        return display_path(self.kernel, self.root)

    @classmethod
    def from_strings(
        cls,
        values: Mapping[str, str | None],
        *,
        root: Path,
        here: Path,
        rebaseline: bool = False,
        simplify: bool = False,
    ) -> Options:
        """Check and convert what was typed. Absent and empty values mean the default.

        Relative paths of the command line are relative to `here`, the defaults to `root`. Raises OptionError.
        """
        given = {name: value for name, value in values.items() if value is not None and value != ""}
        kernel = _path("kernel", given, here) or root / DEFAULT_KERNEL
        state = _path("state", given, here)
        if not kernel.exists():
            raise OptionError(f"no kernel file at {kernel}; name one with --lance-ar-kernel PATH")
        if not kernel.is_file():
            raise OptionError(f"{kernel} is not a file; --lance-ar-kernel names one Python file")
        if kernel.stat().st_size > Kernel.MAX_BYTES:
            raise OptionError(f"{kernel} is larger than {Kernel.MAX_BYTES:,} bytes; a kernel is one Python file")
        options = cls(
            root=root,
            kernel=kernel,
            state=state or home_of(root) / DEFAULT_STATE,
            ledger=ledger_of(root, state),
            seed=_seed(given.get("seed")),
            budget=_number("budget", given.get("budget", str(DEFAULT_BUDGET)), low=0.0, above=True),
            against=given.get("against"),
            note=" ".join(given.get("note", "").split()),
            learned=" ".join(given.get("learned", "").split()),
            json=_path("json", given, here),
            phase=given.get("phase", PHASES[0]),
            rebaseline=rebaseline,
            simplify=simplify,
            rtol=_number("rtol", given.get("rtol", "0"), low=0.0),
            min_gain=_number("min-gain", given.get("min-gain", str(DEFAULT_MIN_GAIN)), low=0.0),
        )
        if options.phase not in PHASES:
            raise OptionError(f"--lance-ar-phase must be one of {', '.join(PHASES)}, not {options.phase!r}")
        if options.rtol > MAX_RTOL:
            raise OptionError(
                f"--lance-ar-rtol {options.rtol:g} is too large: above {MAX_RTOL:g}, tables of 16-bit integers "
                "would pass"
            )
        if options.min_gain > MAX_MIN_GAIN:
            raise OptionError(
                f"--lance-ar-min-gain {options.min_gain:g} is too large: it is in percent, {MAX_MIN_GAIN:g} at the most"
            )
        if options.state.exists() and not options.state.is_dir():
            raise OptionError(f"--lance-ar-state {options.state} is not a directory")
        if lies_among_the_sealed(options.state, root) or kernel.resolve().is_relative_to(options.state):
            raise OptionError(
                f"--lance-ar-state {options.state} holds files of the project's own; name a new directory"
            )
        if options.json is not None:
            _check_json(options.json, options)
        if options.against is not None and options.rebaseline:
            raise OptionError("--lance-ar-against stores nothing and --lance-ar-rebaseline stores; choose one")
        if options.simplify and options.rebaseline:
            raise OptionError(
                "--lance-ar-simplify needs an incumbent to be smaller than, and --lance-ar-rebaseline takes none; "
                "choose one"
            )
        if options.learned and (options.against is not None or options.phase != PHASES[0]):
            raise OptionError(
                "--lance-ar-learned stores a lesson, and a run with --lance-ar-against or --lance-ar-phase stores "
                "nothing; give it to a trial"
            )
        return options


def display_path(path: Path, root: Path) -> str:
    """A path as messages print it: relative to the project where it lies inside."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _check_json(path: Path, options: Options) -> None:
    if path.is_dir() or not path.parent.is_dir():
        raise OptionError(f"--lance-ar-json {path} cannot be written: name a file in an existing directory")
    if path.exists() and not path.is_file():
        raise OptionError(f"--lance-ar-json {path} is not a regular file; name another one")
    own = {options.kernel.resolve(), options.ledger.resolve()}
    if (
        path in own
        or path.is_relative_to(options.state)
        or path.is_relative_to(options.state.resolve())
        or lies_among_the_sealed(path, options.root)
    ):
        raise OptionError(f"--lance-ar-json {path} is a file of the experiment's own; name another one")


def _path(name: str, given: Mapping[str, str], here: Path) -> Path | None:
    if name not in given:
        return None
    if "\0" in given[name]:
        raise OptionError(f"--lance-ar-{name}: a path has no NUL character")
    try:
        path = (here / given[name]).resolve()
        path.exists()  # a name that is too long is found out here
    except (OSError, RuntimeError, UnicodeEncodeError) as error:
        raise OptionError(f"--lance-ar-{name} {given[name]!r} is not a usable path: {error}") from error
    return path


def _number(name: str, text: str, *, low: float, above: bool = False) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or number < low or (above and number == low):
        wanted = f"above {low:g}" if above else f"of at least {low:g}"
        raise OptionError(f"--lance-ar-{name} must be a number {wanted}, not {text!r}")
    return number


def _seed(text: str | None) -> int:
    if text is None:
        return secrets.randbits(32)  # fresh data every trial; the report names it
    try:
        seed = int(text)
    except ValueError:
        seed = -1
    if not 0 <= seed <= MAX_SEED:
        raise OptionError(f"--lance-ar-seed must be a whole number from 0 to 2^63-1, not {text!r}")
    return seed
