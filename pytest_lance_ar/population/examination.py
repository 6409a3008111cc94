"""A pytest plugin that examines a population of kernels: one test each, so that pytest-xdist spreads them.

`rank` runs pytest with it. A kernel's source travels to the worker with the worker's input and the finding travels
back on the test's report, so a worker may be on another host: it needs no file of the population there.
"""

from __future__ import annotations

import base64
import json
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from pytest_lance_ar import __version__
from pytest_lance_ar.population.gate_process import GRACE_SECONDS, run_gate
from pytest_lance_ar.trial.kernel_source import Kernel
from pytest_lance_ar.trial.verdict import ExitCode

ORDER_FILE: Final = "population.json"
FINDINGS_FILE: Final = "findings.jsonl"
PROPERTY: Final = "lance_ar_finding"


@dataclass(frozen=True)
class Finding:
    """What the correctness suite made of one kernel, and on which host. failure: why it is not correct, "" if it is."""

    kernel: int
    failure: str = ""
    hint: str = ""
    replay: str = ""
    examples: int = 0
    seconds: float = 0.0
    host: str = ""


@dataclass(frozen=True)
class Order:
    """What is to be examined, in JSON's types so that it travels."""

    kernels: tuple[Kernel, ...]
    seed: int
    rtol: float
    budget: float
    version: str = __version__

    def as_dict(self) -> dict[str, Any]:
        sources = [[kernel.name, base64.b64encode(kernel.source).decode()] for kernel in self.kernels]
        return {**vars(self), "kernels": sources}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Order:
        """Raises UsageError when the other side has another version of this package."""
        if values["version"] != __version__:
            raise pytest.UsageError(f"pytest-lance-ar {values['version']} here, {__version__} on {platform.node()}")
        kernels = tuple(Kernel(name, base64.b64decode(source)) for name, source in values["kernels"])
        return cls(**{**values, "kernels": kernels})


def examine(order: Order, number: int) -> Finding:
    """Run the correctness half of the gate on one kernel."""
    run = run_gate(
        order.kernels[number],
        phase="correctness",
        seed=order.seed,
        rtol=order.rtol,
        budget=order.budget,
        seconds=order.budget + 2 * GRACE_SECONDS,
    )
    report, host = run.report, platform.node()
    if run.status is None:
        return Finding(number, "the gate had to be killed", host=host)
    if report is None:
        return Finding(number, f"the gate ended with exit status {run.status}: {run.last_words}", host=host)
    passed = run.status == ExitCode.NONE and report["correctness"] == "pass"
    return Finding(
        number,
        failure="" if passed else report["first_failure"] or report["reason"] or report["verdict"],
        hint=report["hint"] or "",
        replay=report["replay"] or "",
        examples=report["examples"],
        seconds=report["total_seconds"],
        host=host,
    )


class WrongKernel(Exception):
    """A kernel of the population is not correct."""


class KernelItem(pytest.Item):
    """The examination of one kernel."""

    def __init__(self, *, order: Order, number: int, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.order = order
        self.number = number

    def runtest(self) -> None:
        finding = examine(self.order, self.number)
        self.user_properties.append((PROPERTY, json.dumps(asdict(finding))))
        if finding.failure:
            raise WrongKernel("\n".join(filter(None, [finding.failure, finding.hint, finding.replay])))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        return str(excinfo.value) if isinstance(excinfo.value, WrongKernel) else super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, None, self.name


class Population:
    """Collects the kernels of an order, and writes down what is found."""

    def __init__(self, order: Order, findings: Path | None) -> None:
        self.order = order
        self.findings = findings

    def pytest_collection(self, session: pytest.Session) -> bool | None:
        if session.config.pluginmanager.hasplugin("dsession"):
            return None  # xdist's workers collect
        session.items = [
            KernelItem.from_parent(session, name=kernel.name, order=self.order, number=number)
            for number, kernel in enumerate(self.order.kernels)
        ]
        session.testscollected = len(session.items)
        session.config.hook.pytest_collection_finish(session=session)
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        found = [value for name, value in report.user_properties if name == PROPERTY]
        if self.findings is not None and report.when == "call" and found:
            with self.findings.open("a", encoding="utf-8") as file:
                file.write(f"{found[0]}\n")


class XdistPopulation:
    """Only registered where xdist is."""

    def __init__(self, order: Order) -> None:
        self.order = order

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput[ORDER_FILE] = self.order.as_dict()


def pytest_configure(config: pytest.Config) -> None:
    worker_input = getattr(config, "workerinput", None)
    if worker_input is not None:
        config.pluginmanager.register(Population(Order.from_dict(worker_input[ORDER_FILE]), None))
        return
    here = config.invocation_params.dir
    order = Order.from_dict(json.loads(here.joinpath(ORDER_FILE).read_text(encoding="utf-8")))
    config.pluginmanager.register(Population(order, here / FINDINGS_FILE))
    if config.pluginmanager.hasplugin("xdist"):
        config.pluginmanager.register(XdistPopulation(order))


def read_findings(path: Path) -> Iterable[Finding]:
    """The findings that a run has written down."""
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            yield Finding(**json.loads(line))
