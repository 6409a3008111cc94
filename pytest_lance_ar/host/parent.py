"""The gate's handle on a kernel's process: start it, feed it, time it, kill it."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext, suppress
from types import TracebackType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.host import cgroup, confinement, fences, forkserver, namespaces, platform, removal, wire
from pytest_lance_ar.host.launch import environment, packages_of, program
from pytest_lance_ar.host.process import KernelProcess, RanUnasked, Started
from pytest_lance_ar.host.scratch import ScratchDirectory
from pytest_lance_ar.targets.protocol import Arrays, Instance, PackInstance
from pytest_lance_ar.text import lines, one_line
from pytest_lance_ar.trial.bare import bare
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.evidence import Failure, FaultKind

START_SECONDS: Final = 120.0
"""Allowance for importing numpy and numba on a cold disk."""
COMPILE_SECONDS: Final = 60.0
"""Allowance for a step that may compile: import, construction, packing, the first call of a pack."""
CALL_SECONDS: Final = 10.0
"""Allowance for any other call. The slowest plain-Python kernel needs a tenth of it."""

SEND_SECONDS: Final = 5.0
"""Allowance for taking a message. It fits into the socket, unless somebody filled that."""
WATCHDOG_SECONDS: Final = 1.0
"""How long after a trial's deadline its kernels' processes are killed, in case the gate waits for one all the same."""
LATE_SECONDS: Final = 0.5
"""What the removal of a process's files may take when the trial's time is up: there are a handful of processes."""
LAST_WORDS_SECONDS: Final = 2.0
"""How long a process that closed its channel may take to be gone."""

MOST_CODE: Final = 64 << 20
"""Bytes of machine code that a process may hand on."""
_NUMBAS_PREFACE: Final = "Failed in nopython mode pipeline"
"""What numba says before it says what is wrong."""
SENTENCE: Final = 300
"""Characters of a kernel's own words that a sentence of ours quotes."""

_MAIN: Final = (
    "from pytest_lance_ar.host.child import main; "
    "main({channel}, {requests}, {replies}, {driver!r}, {beside!r}, {packages!r}, "
    "{core}, {confined}, {user}, {without!r})"
)
_STARTING: Final = threading.Lock()
"""Held while a process is started and not among the known yet, and while strays are looked for."""
_LIVE: Final[set[int]] = set()
"""The hosts of this process."""


class KernelFault(Exception):
    """The kernel failed to give an answer. `failure` says how, in one sentence."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


class HostError(KernelFault):
    """A process for a kernel could not be set up: the fault of no kernel."""

    def __init__(self, sentence: str) -> None:
        super().__init__(Failure(FaultKind.MACHINE, f"no process for a kernel could be set up: {one_line(sentence)}"))


class Pack:
    """What a kernel has packed, ready for calls."""

    def __init__(
        self,
        host: KernelHost,
        slot: int,
        instance: PackInstance,
        inputs: Arrays,
        outputs: dict[str, NDArray[Any]],
        slack: Sequence[tuple[str, NDArray[np.uint8]]] = (),
    ) -> None:
        self._host = host
        self._token = wire.CALL.pack(slot)
        self.slot = slot
        self.instance = instance
        self.outputs = outputs
        self._inputs = {name: array.reshape(-1).view(np.uint8).data for name, array in inputs.items()}
        self._poisons = [(array, _poison(array.dtype)) for array in outputs.values()]
        self._called = False
        self._slack = slack
        for _, rest in slack:
            rest.fill(fences.CANARY)

    def call(self, i: int) -> int:
        """Make call i of the instance. The answer is in `outputs` until the next call. Returns the nanoseconds it took.

        The kernel sees its input when the clock runs, and is stopped when it has answered. Raises KernelFault.
        """
        copies = [
            (self._inputs[name], np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
            for name, value in self.instance.calls[i].items()
        ]
        for array, poison in self._poisons:
            array.fill(poison)
        allowance = CALL_SECONDS if self._called else COMPILE_SECONDS
        self._called = True
        ns = self._host.timed_call(self._token, copies, allowance)
        for name, rest in self._slack:
            if (rest != fences.CANARY).any():
                rest.fill(fences.CANARY)
                sentence = f"a call wrote outside an array: next to {self._host.words['arrays'].get(name, f'`{name}`')}"
                raise KernelFault(Failure(FaultKind.CONTRACT, sentence))
        return ns


class KernelHost:
    """A child process with one kernel in it.

    Use as a context manager: leaving it kills the child and all that it started. Not for sharing between threads; the
    child dies with the thread that started it. It runs while the gate waits for it, and is stopped otherwise.

    confined: build what walls the host offers around the kernel; `walls` names them, once the kernel is loaded.
    without: walls among them that are left out all the same.
    fenced: lay the arrays of the contract against inaccessible memory, where the platform has that.
    beside: modules that the driver imports when it is used.
    """

    def __init__(
        self,
        driver: str,
        *,
        core: int | None,
        deadline: Deadline,
        confined: bool = True,
        without: Collection[str] = (),
        fenced: bool = False,
        beside: Collection[str] = (),
    ) -> None:
        packages = packages_of(driver, *beside)
        self.deadline = deadline
        self.walls: tuple[str, ...] = ()
        self.words: dict[str, Any] = {}
        """As the driver says them, before there is a kernel."""
        self._started = False
        self._fenced = fenced and fences.offered()
        self._dropped: list[dict[str, Any]] = []
        self._slots = 0
        self._kernels = 0
        self._source_name = "the kernel file"
        self._memory_kills = cgroup.out_of_memory_kills()
        try:
            self._scratch = ScratchDirectory(confinement.private_user() if confined else None)
        except OSError as error:
            raise HostError(f"no directory for it ({error}); name a writable one with TMPDIR") from error
        self._directory = self._scratch.path
        self._path = self._directory / "kernel" / "kernel.py"
        self._channel, channel = socket.socketpair()
        requests, self._requests = os.pipe()
        self._replies, replies = os.pipe()
        self._poll = select.poll()
        self._poll.register(self._replies, select.POLLIN)
        self._heard = select.poll()
        self._heard.register(self._channel, select.POLLIN)
        os.set_blocking(self._requests, False)
        os.set_blocking(self._replies, False)
        # Two descriptions of one file: what the kernel does to its own is nothing to the gate's.
        self._output = os.open(self._directory / "output", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        output = os.open(self._directory / "output", os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        apart = confined and "namespaces" not in without

        def statement(channel: int, requests: int, replies: int) -> str:
            return _MAIN.format(
                channel=channel,
                requests=requests,
                replies=replies,
                driver=driver,
                beside=tuple(beside),
                packages=tuple(packages),
                core=-1 if core is None else core,
                confined=confined,
                user=self._scratch.user,
                without=tuple(without),
            )

        descriptors = (channel.fileno(), requests, replies)
        platform.adopt_orphans()
        try:
            with _STARTING:
                process: Started | None = forkserver.forked(
                    statement(*forkserver.DESCRIPTORS),
                    packages,
                    directory=self._directory,
                    output=output,
                    descriptors=descriptors,
                    apart=apart,
                    known=_LIVE,
                    seconds=deadline.remaining(),
                )
                if process is None:
                    with platform.fixed_addresses(), namespaces.of_processes() if apart else nullcontext():
                        process = subprocess.Popen(
                            [sys.executable, "-E", "-B", "-c", program(statement(*descriptors), packages)],
                            stdin=subprocess.DEVNULL,
                            stdout=output,
                            stderr=output,
                            cwd=self._directory,
                            env=environment(self._directory),
                            pass_fds=descriptors,
                            start_new_session=True,
                        )
                _LIVE.add(process.pid)
            self._process = KernelProcess(process, dies_at=deadline.moment + WATCHDOG_SECONDS, timed=core is not None)
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:  # too many processes, no memory
            raise HostError(str(error)) from error
        finally:
            os.close(output)
            channel.close()
            os.close(requests)
            os.close(replies)
        self._idle_bytes: int | None = None

    def __enter__(self) -> KernelHost:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def await_start(self) -> None:
        """Wait until the process is ready for a kernel, its walls built. Raises KernelFault, HostError."""
        if self._started:
            return
        try:
            started = self._receive("start", START_SECONDS)
            self.walls, self.words = tuple(started["walls"]), started["words"]
        except KernelFault as fault:
            if fault.failure.kind is FaultKind.TIMEOUT:
                raise
            if fault.failure.kind is FaultKind.MACHINE:
                raise
            raise HostError(f"{fault.failure.sentence}: {fault.failure.detail}") from fault
        self._started = True
        self._idle_bytes = platform.peak_resident_bytes(self.pid)

    def load(self, source: bytes, name: str, *, code: bytes = b"", shift: int = 0) -> None:
        """Import a kernel from its source. `name` is what messages call the file. Raises KernelFault, HostError.

        code: what `code` told of another process of the same source. shift: how many pages further its code lies.
        """
        self._source_name = name
        source = bare(source) or source
        self.await_start()
        # The same path for all: a kernel is not told which side it is.
        message = {
            "operation": "load",
            "path": str(self._path),
            "size": len(source),
            "caches": bool(source),
            "code": len(code),
            "shift": shift,
        }
        with _Segment(len(source) + len(code)) as segment:
            os.pwrite(segment, source + code, 0)
            self._request(message, "import", segment)

    def code(self) -> bytes:
        """What was compiled in this process, for another one of the same source; b"" where that is too much.

        Whatever it is, the kernel may have written it: nobody else must ever read it. Raises KernelFault.
        """
        with _Segment(MOST_CODE) as segment:
            self._request({"operation": "code"}, "import", segment)
            (size,) = wire.LENGTH.unpack(os.pread(segment, wire.LENGTH.size, 0))
            return os.pread(segment, min(size, MOST_CODE), wire.LENGTH.size)

    def build(self, instance: Instance) -> int:
        """Construct a kernel object; returns its number. Raises KernelFault."""
        kernel, self._kernels = self._kernels, self._kernels + 1
        layout, size = self._layout(_specs(instance.arrays), 0, instance.arrays)
        message = {
            "operation": "build",
            "kernel": kernel,
            "params": dict(instance.params),
            "arrays": layout,
            "fenced": self._fenced,
        }
        with _Segment(size) as segment:
            _fill(segment, layout, instance.arrays)
            self._request(message, self.words["building"], segment)
        return kernel

    def pack(self, kernel: int, instance: PackInstance) -> tuple[Pack, float]:
        """Have a kernel pack. Returns the pack and the seconds it took. Raises KernelFault."""
        slot, self._slots = self._slots, self._slots + 1
        arrays, end = self._layout(_specs(instance.arrays), 0, instance.arrays)
        inputs, end = self._layout(_specs(instance.calls[0]), end, instance.calls[0])
        outputs, end = self._layout(instance.outputs, end, instance.calls[0])
        message = {
            "operation": "pack",
            "kernel": kernel,
            "slot": slot,
            "params": dict(instance.params),
            "arrays": arrays,
            "inputs": inputs,
            "outputs": outputs,
            "repeats": instance.repeats,
            "fenced": self._fenced,
        }
        with _Segment(end) as segment:
            _fill(segment, arrays, instance.arrays)
            start = time.perf_counter()
            self._request(message, self.words["packing"], segment)
            seconds = time.perf_counter() - start
            views = wire.map_segment(segment, {**inputs, **outputs})
            slack = fences.slack(segment, outputs) if self._fenced else ()
        pack = Pack(self, slot, instance, {k: views[k] for k in inputs}, {k: views[k] for k in outputs}, slack)
        return pack, seconds

    def _layout(
        self, specs: Mapping[str, tuple[str, tuple[int, ...]]], start: int, salt: Arrays
    ) -> tuple[wire.Layout, int]:
        """Where arrays lie in a segment from byte `start`: fenced, on sides that what is in `salt` decides."""
        if not self._fenced:
            return wire.layout_of(specs, start)
        content = b"".join(np.ascontiguousarray(array).reshape(-1)[:64].tobytes() for array in salt.values())
        return fences.layout_of(specs, start, content)

    def drop(self, kernel: int, packs: list[Pack], *, later: bool = False) -> None:
        """Forget a kernel object and its packs; of no kernel (-1), the packs alone. later: with the next request, since
        one of its own is a twelfth of the time where cases are many and small."""
        message = {"operation": "drop", "kernel": kernel, "slots": [pack.slot for pack in packs]}
        if later:
            self._dropped.append(message)
        else:
            self._request(message, "drop")

    def timed_call(self, token: bytes, copies: Sequence[tuple[memoryview, memoryview]], allowance: float) -> int:
        """One call: nanoseconds from handing over its inputs to the reply, by the gate's clock. Raises KernelFault.

        copies: (where, what) of every input.
        """
        allowance *= platform.patience()
        seconds = min(allowance, self.deadline.remaining())
        clock, poll, write, read = time.perf_counter_ns, self._poll.poll, os.write, os.read
        if poll(0):
            raise self._unasked()
        self._look()
        try:
            start = clock()
            for where, what in copies:
                where[:] = what
            write(self._requests, token)
            self._process.go_on()  # the last, and on the clock: a thread of the kernel's may be the first to run
            ready = poll(seconds * 1000 if seconds > 0 else 0)
            reply = read(self._replies, 1) if ready else None
            stop = clock()
            self._process.answered()
        except BrokenPipeError:
            reply, start, stop = b"", 0, 0
        except BlockingIOError as error:  # the pipe is full, or empty: somebody else writes and reads there
            raise self._nonsense() from error
        finally:
            self._process.halt()
        if reply == wire.DONE:
            return stop - start
        if reply is None:
            raise self._timeout("a call", seconds, allowance)
        if reply == wire.FAILED:
            self._let_go()
            message = self._receive("a call", CALL_SECONDS)
            raise self._fault(message)
        raise self._death("during a call") if reply == b"" else self._nonsense()

    def peak_mem_mb(self) -> float:
        """Peak resident memory, in MB, above that of the process before it loaded the kernel. NaN where unknown."""
        peak = platform.peak_resident_bytes(self.pid)
        if peak is None or self._idle_bytes is None:
            return float("nan")
        return max(0.0, (peak - self._idle_bytes) / 1e6)

    def kill(self) -> None:
        """Kill the process group. Safe from another thread: what the child's user waits for then fails."""
        self._process.kill()

    def close(self) -> None:
        """Kill the process and all that it started, and remove what it left."""
        self._process.end()
        _LIVE.discard(self.pid)
        if "seccomp" not in self.walls:  # else it could start nothing
            with _STARTING:
                platform.kill_strays(_LIVE)
        self._channel.close()
        for descriptor in (self._requests, self._replies, self._output):
            with suppress(OSError):
                os.close(descriptor)
        self._requests = self._replies = self._output = -1
        self._scratch.close(min(removal.SECONDS, max(LATE_SECONDS, self.deadline.remaining())))

    def _request(self, message: dict[str, Any], stage: str, segment: int | None = None) -> None:
        if self._poll.poll(0) or self._heard.poll(0):
            raise self._unasked()
        seconds = min(SEND_SECONDS, self.deadline.remaining())
        if self._dropped:
            message, self._dropped = {**message, "dropped": self._dropped}, []
        self._let_go()
        try:
            os.write(self._requests, wire.CONTROL)
            wire.send(self._channel, message, segment, seconds)
        except TimeoutError as error:
            self._process.halt()
            raise self._timeout(stage, seconds, SEND_SECONDS) from error
        except (BrokenPipeError, ConnectionResetError) as error:
            raise self._death(f"before {stage}") from error
        except OSError as error:  # the pipe is full
            raise self._nonsense() from error
        reply = self._receive(stage, COMPILE_SECONDS)
        if reply:
            raise self._fault(reply)

    def _let_go(self) -> None:
        self._look()
        self._process.go_on()

    def _look(self) -> None:
        try:
            self._process.look()
        except RanUnasked as error:
            sentence = f"the kernel's process worked where it is not timed: {error}"
            raise KernelFault(Failure(FaultKind.TAMPERED, sentence)) from error

    def _receive(self, stage: str, allowance: float) -> dict[str, Any]:
        """The next message of the child, which runs; it is stopped behind it."""
        allowance *= platform.patience()
        seconds = min(allowance, self.deadline.remaining())
        if seconds <= 0:
            raise self._timeout(stage, seconds, allowance)
        try:
            message, descriptor = wire.receive(self._channel, seconds)
            if descriptor is not None:  # the gate sends them, and takes none
                os.close(descriptor)
                raise self._nonsense()
            return message
        except TimeoutError as error:
            raise self._timeout(stage, seconds, allowance) from error
        except (EOFError, ConnectionResetError) as error:
            raise self._death(f"in {stage}") from error
        except (wire.ProtocolError, OSError) as error:
            raise self._nonsense() from error
        finally:
            self._process.halt()

    def _timeout(self, stage: str, seconds: float, allowance: float) -> KernelFault:
        if seconds < allowance:
            sentence = f"the time budget ran out in {stage}"
        else:
            sentence = f"{stage} did not return within {allowance:.0f} s"
        return KernelFault(Failure(FaultKind.TIMEOUT, sentence))

    def _death(self, when: str) -> KernelFault:
        code = self._process.ended_by_itself(LAST_WORDS_SECONDS)
        if self.deadline.passed:  # the watchdog may have killed it
            return KernelFault(Failure(FaultKind.TIMEOUT, f"the time budget ran out {when}"))
        killed = code == -signal.SIGKILL and cgroup.out_of_memory_kills() > self._memory_kills
        if killed or (code == -signal.SIGABRT and confinement.is_short_of_memory()):  # LLVM gives up so
            return _out_of_memory(f"the kernel's process was killed {when}")
        if code is None:
            sentence = f"the kernel closed the gate's channel {when}"
        elif code < 0:
            sentence = f"the kernel's process was killed by {_signal_name(-code)} {when}"
        else:
            sentence = f"the kernel's process ended with exit status {code} {when}"
        return KernelFault(Failure(FaultKind.DIED, sentence, detail=self._last_output()))

    def _unasked(self) -> KernelFault:
        if self._process.ended_by_itself(0.0) is not None:
            return self._death("between two calls")
        return self._nonsense()

    def _nonsense(self) -> KernelFault:
        return KernelFault(Failure(FaultKind.DIED, "the kernel wrote to the gate's channel"))

    def _fault(self, message: dict[str, Any]) -> KernelFault:
        text, stage = lines(str(message.get("message", ""))).strip(), str(message.get("stage", "a call"))
        detail = lines(str(message.get("traceback", "")).replace(str(self._path), self._source_name)).rstrip()
        if message.get("ended"):
            return KernelFault(Failure(FaultKind.DIED, one_line(text)[:SENTENCE]))
        if message.get("contract"):
            return KernelFault(Failure(FaultKind.CONTRACT, one_line(text)[:SENTENCE], detail=detail))
        if message.get("type") == "MemoryError" and confinement.is_short_of_memory():
            return _out_of_memory(f"{one_line(stage)[:SENTENCE]} raised MemoryError")
        said = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith(_NUMBAS_PREFACE)]
        first = (said or [""])[0][:SENTENCE]
        kind = str(message.get("type", "an exception"))[:SENTENCE]
        line = f" (line {str(message['line'])[:9]} of {self._source_name})" if message.get("line") else ""
        sentence = one_line(f"{stage[:SENTENCE]} raised {kind}: {first}".rstrip(": ") + line)
        if text != first:
            detail = f"{detail}\n{text}".strip()
        return KernelFault(Failure(FaultKind.RAISED, sentence, detail=detail))

    def _last_output(self) -> str:
        try:
            size = os.fstat(self._output).st_size
            return lines(os.pread(self._output, 2000, max(0, size - 2000)).decode(errors="replace")).strip()
        except OSError:
            return ""


class _Segment:
    """A shared-memory segment; its descriptor is closed at the end, its mappings live on."""

    def __init__(self, size: int) -> None:
        try:
            self.descriptor = wire.new_segment(size)
        except OSError as error:
            raise HostError(f"no shared memory ({error})") from error

    def __enter__(self) -> int:
        return self.descriptor

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)


def _poison(dtype: np.dtype[Any]) -> float | int | bool:
    """What no answer is likely to be."""
    if dtype.kind == "u":
        return int(np.iinfo(dtype).max)
    return {"f": np.nan, "i": -1, "b": True}[dtype.kind]


def _fill(segment: int, layout: wire.Layout, arrays: Arrays) -> None:
    for name, view in wire.map_segment(segment, layout).items():
        view[...] = arrays[name]


def _specs(arrays: Arrays) -> Mapping[str, tuple[str, tuple[int, ...]]]:
    return {name: (str(array.dtype), array.shape) for name, array in arrays.items()}


def _out_of_memory(what: str) -> KernelFault:
    sentence = f"{what}: out of memory, of which there is {confinement.memory_bytes() / 1e6:.0f} MB here"
    return KernelFault(Failure(FaultKind.MACHINE, sentence))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
