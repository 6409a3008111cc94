"""A trial: one candidate, what it is judged against, and under which conditions. Frozen before anything runs."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_lance_ar.targets.protocol import Target
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.kernel_source import Kernel
from pytest_lance_ar.trial.options import Options


@dataclass(frozen=True)
class Trial:
    """incumbent is None when there is nothing to beat: the first correct kernel becomes the baseline.

    incumbent_timestamp: when a stored incumbent was kept, "" for one that was named for this run.
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

    @property
    def seed(self) -> int:
        return self.options.seed
