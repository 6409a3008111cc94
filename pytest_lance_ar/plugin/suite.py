"""What the correctness suites need of pytest: a plugin that is loaded where a suite runs, and only there.

The gate loads it; a project that runs a suite in its plain pytest run names it in `pytest_plugins`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from pytest_lance_ar.correctness.examiner import ExaminationFailed, Examiner
from pytest_lance_ar.host.alarm import LATE, OutOfTime, alarm
from pytest_lance_ar.targets.registry import target_of
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.kernel_source import Kernel


@dataclass(frozen=True)
class Brief:
    """What a process needs to know to examine a kernel: plain values, so that it travels to xdist's workers."""

    name: str
    source: bytes
    deadline: float
    seed: int
    rtol: float
    examples: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "examples": list(self.examples)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Brief:
        return cls(**{**values, "examples": tuple(values["examples"])})

    def examiner(self, code: Callable[[], bytes] = bytes) -> Examiner:
        return Examiner(
            Kernel(self.name, self.source),
            target_of(self.source),
            deadline=Deadline(self.deadline),
            rtol=self.rtol,
            code=code,
        )


BRIEF = pytest.StashKey[Brief]()
CODE = pytest.StashKey[Callable[[], bytes]]()
"""Where the machine code of the kernel under test can be had, in the gate's own process."""
PLAIN_BUDGET_SECONDS = 600.0
PLAIN_SEED = 0


def plain_brief(config: pytest.Config) -> Brief:
    """The brief of a plain pytest run: the project's kernel, the same data every time, nothing stored."""
    from pytest_lance_ar.targets import DEFAULT_KERNEL
    from pytest_lance_ar.trial.options import display_path

    path = config.rootpath / (config.getini("lance_ar_kernel") or DEFAULT_KERNEL)
    name = display_path(path, config.rootpath)
    return Brief(name, path.read_bytes(), Deadline.after(PLAIN_BUDGET_SECONDS).moment, PLAIN_SEED, 0.0)


def brief_of(config: pytest.Config) -> Brief:
    """The brief of this run: the gate's, or that of a plain run."""
    if BRIEF not in config.stash:
        config.stash[BRIEF] = plain_brief(config)
    return config.stash[BRIEF]


@pytest.fixture(scope="session")
def examiner(pytestconfig: pytest.Config) -> Iterator[Examiner]:
    """Examines the kernel under test."""
    with brief_of(pytestconfig).examiner(pytestconfig.stash.get(CODE, bytes)) as examiner:
        yield examiner


@pytest.fixture(scope="session")
def fixture_seed(pytestconfig: pytest.Config) -> int:
    """Seeds what the suite builds from no other seed: another one each trial."""
    return brief_of(pytestconfig).seed


@pytest.fixture(scope="session")
def earlier_cases(pytestconfig: pytest.Config) -> list[str]:
    """Specifications of cases that earlier kernels failed on."""
    return list(brief_of(pytestconfig).examples)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Every test is an examination of its own, and ends on the smallest failure that it can find."""
    examiner = getattr(item, "funcargs", {}).get("examiner")
    if not isinstance(examiner, Examiner):
        return (yield)
    examiner.begin()
    try:
        with alarm(Deadline(brief_of(item.config).deadline)):
            try:
                return (yield)
            except ExaminationFailed:
                examiner.reduce()
                raise
    except OutOfTime:
        examiner.failure = examiner.failure or LATE
        raise ExaminationFailed(examiner.failure) from None
