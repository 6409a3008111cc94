"""The process that a kernel runs in. It serves the gate until the gate goes away.

Nothing in here is trusted once the kernel is loaded: it can only make a kernel fail, never pass.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import mmap
import os
import socket
import sys
import traceback
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.host import confinement, fences, platform, wire
from pytest_lance_ar.targets.contract import ContractBroken

GATE: Final = "pytest_lance_ar"


class Child:
    """The kernel's side of the wire."""

    def __init__(self, channel: socket.socket, driver: str) -> None:
        self.channel = channel
        self.driver_class = importlib.import_module(driver).Driver
        self.words = words_of(self.driver_class)
        self.module: ModuleType | None = None
        self.compiled: Callable[[], bytes] = bytes
        self.path = ""
        self.drivers: dict[int, Any] = {}
        self.calls: dict[bytes, Callable[[], None]] = {}
        self.owners: dict[bytes, Any] = {}
        self.fences: fences.Fences | None = None
        self.calling: Any = None  # the driver that a fenced call is with
        self.replies = -1
        self.controlling = ""

    def serve(self, requests: int, replies: int) -> None:
        """Answer requests until the pipe closes."""
        size, done, calls, read, write = wire.CALL.size, wire.DONE, self.calls, os.read, os.write
        self.replies = replies
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
        stage = self.controlling = message["operation"]
        self.calling = None
        gc.enable()
        try:
            for dropped in message.pop("dropped", ()):
                self.drop(dropped, None)
            getattr(self, stage)(message, segment)
        except BaseException as error:
            driver = self.drivers.get(message.get("kernel", -1))
            stages = {"load": "import", "build": self.words["building"], "pack": driver.stage if driver else stage}
            stage = stages.get(stage, stage)
            wire.send(self.channel, self.fault(error, stage))
        else:
            wire.send(self.channel, {})
        finally:
            self.controlling = ""
            gc.disable()  # none inside a timed call
            if segment is not None:
                os.close(segment)

    def load(self, message: dict[str, Any], segment: int | None) -> None:
        assert segment is not None
        self.path = message["path"]
        path = Path(self.path)
        path.parent.mkdir()
        path.write_bytes(os.pread(segment, message["size"], 0))
        if message["caches"]:
            from pytest_lance_ar.host import code_cache

            self.compiled = code_cache.install(os.pread(segment, message["code"], message["size"]))
            code_cache.shift(message["shift"])
        spec = importlib.util.spec_from_file_location(Path(self.path).stem, self.path)
        assert spec is not None
        assert spec.loader is not None
        self.module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = self.module
        spec.loader.exec_module(self.module)

    def code(self, _message: dict[str, Any], segment: int | None) -> None:
        """Leave what was compiled in the segment, its length first; nothing where there is too much of it."""
        assert segment is not None
        code = self.compiled()
        if wire.LENGTH.size + len(code) <= os.fstat(segment).st_size:
            memory = mmap.mmap(segment, wire.LENGTH.size + len(code))
            memory[:] = wire.LENGTH.pack(len(code)) + code

    def build(self, message: dict[str, Any], segment: int | None) -> None:
        assert segment is not None
        if message["fenced"]:
            arrays = self.fenced(segment, message["arrays"], {})
        else:
            arrays = private_copies(wire.map_segment(segment, message["arrays"]))
        self.drivers[message["kernel"]] = self.driver_class(self.module, message["params"], arrays)

    def pack(self, message: dict[str, Any], segment: int | None) -> None:
        assert segment is not None
        driver, slot = self.drivers[message["kernel"]], wire.CALL.pack(message["slot"])
        if message["fenced"]:
            self.calling = driver
            given = {**message["arrays"], **message["inputs"]}
            views = self.fenced(segment, given, message["outputs"])
            arrays, inputs, outputs = (
                {name: views[name] for name in message[of]} for of in ("arrays", "inputs", "outputs")
            )
        else:
            arrays = private_copies(wire.map_segment(segment, message["arrays"]))
            inputs = wire.map_segment(segment, message["inputs"])
            for array in inputs.values():
                array.setflags(write=False)
            outputs = wire.map_segment(segment, message["outputs"])
        if message["repeats"]:
            call = repeated(driver, message["params"], arrays, inputs, outputs)
        else:
            call = driver.pack(message["params"], arrays, inputs, outputs)
        self.calls[slot] = self.telling(driver, call) if message["fenced"] else call
        self.owners[slot] = driver

    def fenced(self, segment: int, inputs: wire.Layout, outputs: wire.Layout) -> dict[str, NDArray[Any]]:
        if self.fences is None:
            self.fences = fences.Fences(self.touched, self.words["arrays"])
        return self.fences.map_segment(segment, inputs, outputs)

    def telling(self, driver: Any, call: Callable[[], None]) -> Callable[[], None]:
        """The call, which leaves word of whom it was with, should it end in a fence."""

        def told() -> None:
            self.calling = driver
            call()
            self.calling = None

        return told

    def touched(self, sentence: str) -> None:
        """The last words of a process whose kernel touched what it must not."""
        if self.controlling == "":
            os.write(self.replies, wire.FAILED)
        stage = self.calling.stage if self.calling else self.words["building"]
        wire.send(self.channel, {"ended": True, "message": f"{stage} {sentence}"})
        os._exit(1)

    def drop(self, message: dict[str, Any], _segment: int | None) -> None:
        self.drivers.pop(message["kernel"], None)
        for slot in map(wire.CALL.pack, message["slots"]):
            self.calls.pop(slot, None)
            self.owners.pop(slot, None)

    def fault(self, error: BaseException, stage: str) -> dict[str, Any]:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == self.path]
        line = frames[-1].lineno if frames else None
        return {
            "contract": isinstance(error, ContractBroken),
            "stage": str(stage),
            "type": type(error).__name__,
            "message": str(error)[:4000],
            "line": line,
            "traceback": "".join(traceback.format_list(frames))[:8000],
        }


def words_of(driver_class: type) -> dict[str, Any]:
    """What messages call construction, packing and arrays, as a driver says it."""
    return {
        "building": getattr(driver_class, "building", "construction"),
        "packing": getattr(driver_class, "packing", "packing"),
        "arrays": dict(getattr(driver_class, "words", {})),
    }


def places(packages: Collection[str]) -> list[str]:
    """The directories that Python code is read from: the interpreter's, and those of packages, but no project's, nor
    the gate's: what is needed of that is imported."""
    others = [name for name in packages if name != GATE]
    own = [place for name in others for place in getattr(sys.modules[name], "__path__", ())]
    sites = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    prefixes = (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)
    libraries = [str(Path(prefix, name)) for prefix in prefixes for name in ("lib", "lib64", "Frameworks")]
    return list(dict.fromkeys([*libraries, *sites, *own]))


def hidden() -> list[Path]:
    """What is no kernel's to read where it lies among the libraries: the gate has kernels too, and a kernel is one file
    and no more."""
    own = [Path(place) for place in sys.modules[GATE].__path__]
    return [place.with_name(name) for place in own for name in (place.name, f"{GATE}_shipped")]


def private_copies(arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Read-only copies in memory of this process's own: a kernel that writes to its inputs harms itself alone."""
    copies = {}
    for name, array in arrays.items():
        copies[name] = np.array(array, order="C")
        copies[name].setflags(write=False)
    return copies


def repeated(
    driver: Any,
    params: dict[str, Any],
    arrays: dict[str, NDArray[Any]],
    inputs: dict[str, NDArray[Any]],
    outputs: dict[str, NDArray[Any]],
) -> Callable[[], None]:
    """Have a set packed for many calls in one go: inputs and outputs have a first axis, of the calls."""
    given = {name: np.empty(array.shape[1:], array.dtype) for name, array in inputs.items()}
    shown = {name: array.view() for name, array in given.items()}
    for array in shown.values():
        array.setflags(write=False)
    taken = {name: np.empty(array.shape[1:], array.dtype) for name, array in outputs.items()}
    call = driver.pack(params, arrays, shown, taken)
    pairs_in = [(given[name], array) for name, array in inputs.items()]
    pairs_out = [(array, taken[name]) for name, array in outputs.items()]
    times = len(next(iter(inputs.values())))

    def all_calls() -> None:
        for i in range(times):
            for one, many in pairs_in:
                one[...] = many[i]
            call()
            for many, one in pairs_out:
                many[i] = one

    return all_calls


def main(
    channel: int,
    requests: int,
    replies: int,
    driver: str,
    beside: Collection[str],
    packages: Collection[str],
    core: int,
    confined: bool,
    user: tuple[int, int] | None,
    without: Collection[str],
) -> None:
    """Entry point: the descriptors that the parent passed, the driver's module, those it imports when it is used, the
    packages that were found by their place, the core to run on (-1: any)."""
    confinement.die_with_parent()
    platform.first_to_be_killed()
    platform.pin(core if core >= 0 else None)
    child = Child(socket.socket(fileno=channel), driver)
    for module in ("numba", "pytest_lance_ar.host.code_cache", *beside):
        importlib.import_module(module)
    walls = confinement.confine(Path.cwd(), places(packages), user, without, hidden()) if confined else []
    wire.send(child.channel, {"walls": walls, "words": child.words})
    with suppress(BrokenPipeError, ConnectionResetError, EOFError):
        child.serve(requests, replies)
