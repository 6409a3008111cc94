"""Drives a target's kernel and tells when each step of a call began: for profiles, where nobody is judged.

A driver says at which step it is by setting `stage`, for its messages. Here that is timed as well.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any, ClassVar

STAGES = 4
"""Steps of a call that are told; what comes after them counts for the last."""


class Driver:
    """One kernel object; `params["driver"]` names the module of the target's own driver.

    A call writes the nanoseconds of each step, in the order in which they began, into `outputs["stages"]`.
    """

    def __init__(self, module: ModuleType, params: dict[str, Any], arrays: dict[str, Any]) -> None:
        class Timed(importlib.import_module(params["driver"]).Driver):  # type: ignore[misc]  # known when it runs
            moments: ClassVar[list[int]] = []

            @property
            def stage(self) -> str:
                return self.named

            @stage.setter
            def stage(self, name: str) -> None:
                self.named = name
                self.moments.append(time.perf_counter_ns())

        self._driver = Timed(module, params, arrays)

    @property
    def stage(self) -> str:
        return str(self._driver.stage)

    def pack(
        self, params: dict[str, Any], arrays: dict[str, Any], inputs: dict[str, Any], outputs: dict[str, Any]
    ) -> Callable[[], None]:
        told = outputs["stages"]
        inner = self._driver.pack(
            params, arrays, inputs, {name: array for name, array in outputs.items() if name != "stages"}
        )
        moments = self._driver.moments

        def call() -> None:
            moments.clear()
            inner()
            moments.append(time.perf_counter_ns())
            told[:] = 0
            for i in range(len(moments) - 1):
                told[min(i, STAGES - 1)] += moments[i + 1] - moments[i]

        return call
