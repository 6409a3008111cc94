"""The process that a kernel runs in. It serves the gate until the gate goes away.

Nothing in here is trusted once the kernel is loaded: it can only make a kernel fail, never pass.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import os
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.host import confinement, platform, wire


class Child:
    """The kernel's side of the wire."""

    def __init__(self, channel: socket.socket, driver: str) -> None:
        self.channel = channel
        self.driver_class = importlib.import_module(driver).Driver
        self.module: ModuleType | None = None
        self.path = ""
        self.drivers: dict[int, Any] = {}
        self.calls: dict[bytes, Callable[[], None]] = {}
        self.owners: dict[bytes, Any] = {}

    def serve(self, requests: int, replies: int) -> None:
        """Answer requests until the pipe closes."""
        size, done, calls, read, write = wire.CALL.size, wire.DONE, self.calls, os.read, os.write
        while request := read(requests, size):
            if request == wire.CONTROL:
                self.control()
                continue
            try:
                calls[request]()
            except BaseException as error:  # a kernel may raise SystemExit as well
                write(replies, wire.FAILED)
                wire.send(self.channel, self.fault(error, self.owners[request].stage))
            else:
                write(replies, done)

    def control(self) -> None:
        message, segment = wire.receive(self.channel)
        stage = message["operation"]
        gc.enable()
        try:
            getattr(self, stage)(message, segment)
        except BaseException as error:
            driver = self.drivers.get(message.get("kernel", -1))
            stage = {"load": "import", "build": "PqKernel()", "pack": driver.stage if driver else stage}.get(
                stage, stage
            )
            wire.send(self.channel, self.fault(error, stage))
        else:
            wire.send(self.channel, {})
        finally:
            gc.disable()  # none inside a timed call
            if segment is not None:
                os.close(segment)

    def load(self, message: dict[str, Any], _segment: int | None) -> None:
        self.path = message["path"]
        spec = importlib.util.spec_from_file_location(Path(self.path).stem, self.path)
        assert spec is not None
        assert spec.loader is not None
        self.module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = self.module
        spec.loader.exec_module(self.module)

    def build(self, message: dict[str, Any], segment: int | None) -> None:
        assert segment is not None
        arrays = private_copies(wire.map_segment(segment, message["arrays"]))
        self.drivers[message["kernel"]] = self.driver_class(self.module, message["params"], arrays)

    def pack(self, message: dict[str, Any], segment: int | None) -> None:
        assert segment is not None
        driver, slot = self.drivers[message["kernel"]], wire.CALL.pack(message["slot"])
        arrays = private_copies(wire.map_segment(segment, message["arrays"]))
        inputs = wire.map_segment(segment, message["inputs"])
        for array in inputs.values():
            array.setflags(write=False)
        outputs = wire.map_segment(segment, message["outputs"])
        self.calls[slot] = driver.pack(message["params"], arrays, inputs, outputs)
        self.owners[slot] = driver

    def drop(self, message: dict[str, Any], _segment: int | None) -> None:
        self.drivers.pop(message["kernel"], None)
        for slot in map(wire.CALL.pack, message["slots"]):
            self.calls.pop(slot, None)
            self.owners.pop(slot, None)

    def fault(self, error: BaseException, stage: str) -> dict[str, Any]:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == self.path]
        line = frames[-1].lineno if frames else None
        return {
            "contract": isinstance(error, wire.ContractBroken),
            "stage": str(stage),
            "type": type(error).__name__,
            "message": str(error)[:4000],
            "line": line,
            "traceback": "".join(traceback.format_list(frames))[:8000],
        }


def places() -> list[str]:
    """The directories that Python code is read from: the interpreter's, and those of packages, but no project's."""
    package = importlib.util.find_spec("pytest_lance_ar")
    own = list(package.submodule_search_locations or []) if package else []
    sites = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    return list(dict.fromkeys([sys.prefix, sys.base_prefix, sys.exec_prefix, *sites, *own]))


def private_copies(arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Read-only copies in memory of this process's own: a kernel that writes to its inputs harms itself alone."""
    copies = {}
    for name, array in arrays.items():
        copies[name] = np.array(array, order="C")
        copies[name].setflags(write=False)
    return copies


def main(channel: int, requests: int, replies: int, driver: str, core: int, confined: bool) -> None:
    """Entry point: the descriptors that the parent passed, the driver's module, the core to run on (-1: any)."""
    confinement.die_with_parent()
    platform.pin(core if core >= 0 else None)
    child = Child(socket.socket(fileno=channel), driver)
    importlib.import_module("numba")
    walls = confinement.confine(Path.cwd(), places()) if confined else []
    wire.send(child.channel, {"walls": walls})
    with suppress(BrokenPipeError, ConnectionResetError, EOFError):
        child.serve(requests, replies)
