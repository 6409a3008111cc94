"""A trial: one candidate, what it is judged against, and under which conditions. Frozen before anything runs."""

from __future__ import annotations

import errno
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

from pytest_lance_ar.targets.protocol import Target
from pytest_lance_ar.targets.registry import TargetError, target_of
from pytest_lance_ar.trial import git, syntax
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.kernel_source import Kernel
from pytest_lance_ar.trial.options import OptionError, Options

SIMPLIFY: Final = "[simplify]"
"""What the description of a trial ends with that was judged as a simplification."""


@dataclass(frozen=True)
class Incumbent:
    """The best kept kernel and when it became so. geomean_ns is for people; no decision reads it.

    code: under which digest its machine code is kept, "" where it is not.
    """

    kernel: Kernel
    target: str
    commit: str
    timestamp: str
    geomean_ns: float
    seed: int
    code: str = ""


@dataclass(frozen=True)
class Origin:
    """The first baseline, and how many times as fast the incumbent is by what was claimed at each keep since."""

    kernel: Kernel
    claimed: float
    keeps: int = 1


@dataclass(frozen=True)
class Trial:
    """incumbent is None when there is nothing to beat: the first correct kernel becomes the baseline.

    nodes, incumbent_nodes: the kernels' sizes, None for what is no Python.
    simplify: a smaller kernel is asked for, and this is one. `incumbent` is then the fastest kernel kept so far.
    incumbent_timestamp: when a stored incumbent was kept, "" for one that was named for this run. origin: None where
    nothing was kept since the first baseline, or the incumbent is none that was stored.
    """

    options: Options
    target: Target
    candidate: Kernel
    incumbent: Kernel | None
    incumbent_origin: str
    commit: str
    timestamp: str
    deadline: Deadline
    core: int | None
    incumbent_timestamp: str = ""
    nodes: int | None = None
    incumbent_nodes: int | None = None
    simplify: bool = False
    origin: Origin | None = None

    @property
    def seed(self) -> int:
        return self.options.seed

    @property
    def not_smaller(self) -> str:
        """Why this trial is no simplification, though one was asked for, in a sentence; "" where it is, or none was."""
        if not self.options.simplify or self.simplify or self.incumbent is None:
            return ""
        return (
            f"not smaller ({self.nodes} nodes of the syntax tree, the incumbent has {self.incumbent_nodes}): judged "
            "by the usual rule"
        )

    @classmethod
    def open(
        cls,
        options: Options,
        kernels: Kernels,
        stored: Incumbent | None,
        *,
        fastest: Callable[[], Kernel | None] = lambda: None,
        deadline: Deadline,
        core: int | None,
    ) -> Trial:
        """A trial of the candidate against the kernel named for this run, else against the stored incumbent.

        fastest: finds the fastest kernel that was kept, for a trial that simplifies.

        Raises OptionError where the incumbent is of another target.
        """
        candidate, incumbent = kernels.candidate, kernels.against
        origin = incumbent.name if incumbent else ""
        try:
            target = target_of(candidate.source)
        except TargetError as error:
            raise OptionError(str(error)) from error
        if stored is not None:
            incumbent = stored.kernel
            origin = f"incumbent {incumbent.sha256[:12]}, kept {stored.timestamp} at {stored.commit}"
            if stored.target != target.name:
                raise OptionError(
                    f"the incumbent is a {stored.target} kernel and {candidate.name} a {target.name} one; keep each "
                    "target's state apart with --lance-ar-state DIR"
                )
        nodes, incumbent_nodes = (syntax.size(kernel.source) if kernel else None for kernel in (candidate, incumbent))
        simplify = options.simplify and nodes is not None and incumbent_nodes is not None and nodes < incumbent_nodes
        champion = fastest() if simplify and stored is not None else None
        if champion is not None and incumbent is not None and champion.sha256 != incumbent.sha256:
            incumbent = champion
            origin = f"{champion.name}, {champion.sha256[:12]}, the fastest kernel kept so far"
        return cls(
            options=options,
            target=target,
            candidate=candidate,
            incumbent=incumbent,
            incumbent_origin=origin,
            commit=git.describe_commit(options.kernel),
            timestamp=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            deadline=deadline,
            core=core,
            incumbent_timestamp=stored.timestamp if stored else "",
            nodes=nodes,
            incumbent_nodes=incumbent_nodes,
            simplify=simplify,
        )


@dataclass(frozen=True)
class Kernels:
    """The kernels that were typed: the candidate, and the incumbent for this run if one was named."""

    candidate: Kernel
    against: Kernel | None

    @classmethod
    def read(cls, options: Options, here: Path) -> Kernels:
        """Raises OptionError."""
        try:
            candidate = Kernel.read(options.kernel, options.kernel_name)
        except OSError as error:
            raise OptionError(f"{options.kernel} cannot be read: {error.strerror}") from error
        return cls(candidate, None if options.against is None else _against(options, options.against, here))


def astray(options: Options, incumbent: Incumbent, kept_source: Path) -> str:
    """What to tell where the incumbent's commit is not in the history of HEAD, as after a reset or on another branch.

    "" where it is, or where git cannot know. kept_source: where the incumbent's source is stored.
    """
    commit, dirty, _ = incumbent.commit.partition("-dirty")
    here = options.kernel.parent
    if not commit or commit == "-" or git.source_at(options.kernel, "HEAD") == incumbent.kernel.source:
        return ""
    known = git.is_in_history(here, commit)
    if known or (known is None and git.trouble(here)):
        return ""
    where = "is not in HEAD's history" if known is False else "this repository does not have"
    take = f"git checkout {commit} -- {options.kernel_name}"
    if dirty or known is None:
        take = f"cp {shlex.quote(str(kept_source))} {options.kernel_name}"
    return (
        f"the incumbent was kept at commit {commit}, which {where}; take it over with: {take}; or drop it with "
        "--lance-ar-rebaseline"
    )


def _against(options: Options, against: str, here: Path) -> Kernel:
    try:
        path = here / against
        if path.is_file():
            return Kernel.read(path, against)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP):
            raise OptionError(f"--lance-ar-against {against!r} cannot be read: {error.strerror}") from error
    except ValueError:
        pass  # no path, with a NUL character in it
    source = git.source_at(options.kernel, against)
    if source is None:
        why = git.trouble(options.kernel.parent)
        if not why and git.is_shallow(options.kernel):
            why = "this clone is shallow, so fetch it first"
        raise OptionError(
            f"--lance-ar-against {against!r} is neither a kernel file nor a git commit, branch or tag that has "
            f"{options.kernel_name}{why and '; '}{why}"
        )
    return Kernel(f"{against}:{options.kernel_name}", source)
