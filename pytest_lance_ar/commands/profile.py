"""`python -m pytest_lance_ar profile [KERNEL]`: where a kernel's time goes, combo by combo."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_lance_ar.bench.profile import Profile, profile
from pytest_lance_ar.commands.kernel import kernel_here
from pytest_lance_ar.files import PUBLIC, write_atomically
from pytest_lance_ar.host import platform
from pytest_lance_ar.host.parent import HostError, KernelFault
from pytest_lance_ar.targets.registry import target_of
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.evidence import NO_KERNELS, FaultKind
from pytest_lance_ar.trial.kernel_source import Kernel
from pytest_lance_ar.trial.verdict import ExitCode

if TYPE_CHECKING:
    from pytest_lance_ar.commands import Commands

BUDGET_SECONDS: Final = 300.0


def add_to(commands: Commands) -> None:
    parser = commands.add_parser(
        "profile",
        help="where a kernel's time goes: its steps, the call; compiling, packing, memory; what the processor counts",
        description="A table, slowest combo first, and with --out a picture of stacked bars (needs the extra [plot]). "
        "It gives no verdict. Exit status: 0; 2 or 3 when the kernel fails; 4 usage; 11 too busy.",
    )
    parser.add_argument("kernel", nargs="?", type=Path, default=kernel_here(), metavar="KERNEL")
    parser.add_argument("--out", type=Path, metavar="FILE.png", help="the picture")
    parser.add_argument("--json", action="store_true", help="the figures as JSON instead of the table")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    try:
        kernel = Kernel.read(options.kernel, str(options.kernel))
        if options.out is not None and options.out.suffix.lower() != ".png":
            raise ValueError(f"--out {options.out} must end in .png")
        target = target_of(kernel.source)
    except (OSError, ValueError) as error:
        return _refuse(str(error))
    core = platform.timing_core()
    try:
        profiles = profile(kernel, target, core=core, deadline=Deadline.after(BUDGET_SECONDS), progress=_tell)
    except HostError as error:
        print(f"profile: {error}", file=sys.stderr)
        return ExitCode.INTERNAL
    except KernelFault as fault:
        print(f"profile: {fault}", file=sys.stderr)
        if fault.failure.kind in NO_KERNELS:
            return ExitCode.INCONCLUSIVE
        return ExitCode.TIMEOUT if fault.failure.kind is FaultKind.TIMEOUT else ExitCode.INCORRECT
    profiles.sort(key=lambda one: -one.total_ns)
    print(json.dumps([asdict(one) for one in profiles], indent=1) if options.json else table(profiles))
    if options.out is not None:
        try:
            from pytest_lance_ar.progress.bars import bars

            write_atomically(options.out, bars([(one.combo, one.steps, one.memory_ns) for one in profiles]), PUBLIC)
        except ImportError as error:
            return _refuse(f"the picture needs matplotlib ({error}): pip install 'pytest-lance-ar[plot]'")
        except OSError as error:
            return _refuse(f"{options.out} cannot be written ({error.strerror})")
    return 0


def table(profiles: Sequence[Profile]) -> str:
    """The profiles, a line each."""
    names = list(profiles[0].steps)
    width = max(9, *(len(name) + 1 for name in names))
    heads = "".join(f"{name:>{width}} us    %" for name in names)
    lines = [f"{'combo':<24}{'total us':>10}{heads}{'memory %':>10}{'compile s':>11}{'pack s':>8}"]
    for one in profiles:
        parts = "".join(
            f"{one.steps[name] / 1000:{width + 3}.1f} {100 * one.steps[name] / one.total_ns:4.0f}" for name in names
        )
        memory = 100 * one.memory_ns / one.total_ns
        figures = f"{memory:10.1f}{one.compile_seconds:11.2f}{one.pack_seconds:8.3f}"
        lines.append(f"{one.combo:<24}{one.total_ns / 1000:10.1f}{parts}{figures}")
    lines.append(
        "call: what is none of the steps. memory: reading once what the kernel is built from and packs, at this core's "
        "best speed for so many bytes, of the total. compile: of its shape, from import to the first answer."
    )
    return "\n".join([*lines, *_counted(profiles)])


def _counted(profiles: Sequence[Profile]) -> list[str]:
    """What the processor counted, a line each; or why it did not, in one."""
    counts = profiles[0].counts
    if not counts:
        return [f"{profiles[0].lacking}: what the processor does meanwhile is not known"]
    ratio = "cycles" in counts and "instructions" in counts
    heads = "".join(f"{name.replace('_', ' '):>16}" for name in counts)
    lines = ["", f"{'a call, user code':<24}{heads}{'per cycle':>11}" if ratio else f"{'a call, user code':<24}{heads}"]
    for one in profiles:
        line = f"{one.combo:<24}" + "".join(f"{one.counts[name]:16,.0f}" for name in counts)
        cycles = one.counts.get("cycles", 0.0)
        lines.append(line + (f"{one.counts['instructions'] / cycles:11.2f}" if ratio and cycles else ""))
    return lines


def _tell(text: str, passing: bool = False, /) -> None:
    """What is waited for, not each shape."""
    if not passing:
        print(f"profile: {text}", file=sys.stderr)


def _refuse(sentence: str) -> int:
    print(f"profile: {sentence}", file=sys.stderr)
    return ExitCode.USAGE
