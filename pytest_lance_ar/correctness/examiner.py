"""Examines a kernel, case by case, against the target's reference."""

from __future__ import annotations

import math
import shlex
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.host.parent import KernelFault, KernelHost, Pack
from pytest_lance_ar.targets.mismatch import Mismatch
from pytest_lance_ar.targets.protocol import DROP, PACK, Case, Instance, Step, Target
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.evidence import Failure, FaultKind
from pytest_lance_ar.trial.kernel_source import Kernel, contract_failure

FATAL: Final = frozenset({FaultKind.DIED, FaultKind.TIMEOUT, FaultKind.TAMPERED, FaultKind.MACHINE})
"""Faults that cost the kernel's process."""


ROUNDING_HINT: Final = (
    "rounding only: every value agrees within 1e-6 of itself; keep the order in which the reference adds, in float32, "
    "without FMA, or let a person allow it with --lance-ar-rtol 1e-6"
)


class ExaminationFailed(AssertionError):
    """A kernel failed an examination."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


SHRINK_SECONDS: Final = 6.0
"""How long, after its first failure, a test may look for a smaller one. On an idle machine most need a sixth of it."""
DRAW_SECONDS: Final = 1.0
"""The part of it in which its strategies may look."""


class Examiner:
    """Runs cases through a kernel in a host of its own.

    A case that failed fails again in the same words, without a call: a kernel that fails now and then is wrong.
    A test is settled once a failure cost the process (a crash, a call that never returns), or when it has looked for
    a smaller failure for long enough: then its known failures are all that fails, and Hypothesis ends on the smallest.
    What it ends on, `reduce` cuts down to literal data, if it can.
    """

    def __init__(
        self,
        kernel: Kernel,
        target: Target,
        *,
        deadline: Deadline,
        rtol: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        code: Callable[[], bytes] = bytes,
    ) -> None:
        """code: the machine code of the kernel, once it is there; it may raise KernelFault."""
        self.kernel = kernel
        self.target = target
        self.examples = 0
        self.failure: Failure | None = None
        self._deadline = deadline
        self._rtol = rtol
        self._clock = clock
        self._code = code
        self._awaited: threading.Thread | None = None
        self._host: KernelHost | None = None
        self._loaded = False
        self._slowest = 0.0
        self._unusable: Failure | None = None
        self._failures: dict[str, Failure] = {}
        self._failed: Case | None = None
        self._first_failed_at = math.inf
        self._settles_at = math.inf

    def __enter__(self) -> Examiner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def is_compiling(self) -> bool:
        """Whether the code is being made: time for what the suite needs later. Starts the process."""
        if self._awaited is None:
            with suppress(KernelFault):  # told of by the first case
                self._start()
            self._awaited = threading.Thread(target=self._await_code, daemon=True)
            self._awaited.start()
        return self._awaited.is_alive()

    def begin(self) -> None:
        """A new test starts."""
        self.examples = 0
        self.failure = None
        self._failures.clear()
        self._failed = None
        self._first_failed_at = math.inf
        self._settles_at = math.inf

    def examine(self, case: Case) -> float:
        """Run one case. Returns the seconds that its slowest call took. Raises ExaminationFailed."""
        known = self._unusable or self._failures.get(case.spec)
        if known is None and self._clock() < self._settles_at:
            known = self._run(case)
        if known is not None:
            self.failure, self._failed = known, case
            raise ExaminationFailed(known)
        return self._slowest

    def reduce(self) -> None:
        """Replace the failure that a test ended on by that of the smallest case which fails in the same way."""
        failure, case = self.failure, self._failed
        if failure is None or case is None or not failure.case or failure.kind in FATAL:
            return
        ends_at = self._first_failed_at + SHRINK_SECONDS

        def still_fails(case: Case, *, loosely: bool = False) -> bool:
            if self._unusable or self._clock() >= ends_at:
                return False
            found = self._failure_of(case)
            return found is not None and _alike(found, failure, loosely)

        smallest, extent = self.target.reduced(case, still_fails)
        if smallest.spec != failure.case:
            # Once more, and from its text: that is what the report promises.
            again = self._failure_of(self.target.parse_case(smallest.spec))
            if again is not None and _alike(again, failure, loosely=bool(extent)):
                self.failure = again
        if extent:
            self.failure = replace(self.failure or failure, extent=extent)

    def _run(self, case: Case) -> Failure | None:
        failure = self._failure_of(case)
        if failure is not None and failure is not self._unusable:
            self._failures[case.spec] = failure
            self._first_failed_at = min(self._first_failed_at, self._clock())
            self._settles_at = min(self._settles_at, self._first_failed_at + DRAW_SECONDS)
            if failure.kind in FATAL:
                self._settles_at = -math.inf
        return failure

    def _failure_of(self, case: Case) -> Failure | None:
        try:
            wrong = self._first_mismatch(case)
        except KernelFault as fault:
            if self._unusable:
                return self._unusable
            failure = fault.failure
            if failure.kind in FATAL:
                self._stop()
        else:
            if wrong is None:
                return None
            call, mismatch = wrong
            sentence = str(mismatch) if call == 0 else f"{mismatch} (in call {call + 1} on the same kernel)"
            failure = Failure(FaultKind.WRONG_ANSWER, sentence, hint=hint(mismatch))
        return replace(failure, where=case.where, case=case.spec)

    def _first_mismatch(self, case: Case) -> tuple[int, Mismatch] | None:
        host = self._running_host()
        instance = case.instance()
        objects = [_Object(host, one) for one in (instance, *instance.beside)]
        try:
            for each in objects:
                each.build()
            self.examples += 1
            wrong = _first_difference(objects, instance.script or _in_turns(objects), self._rtol)
            self._slowest = max(each.slowest for each in objects)
        except KernelFault as fault:
            if fault.failure.kind not in FATAL:
                try:
                    _drop(objects)
                except KernelFault:  # one that waits for nothing, behind words of its own: the first fault is told
                    self._stop()
            raise
        _drop(objects, later=True)
        return wrong

    def _running_host(self) -> KernelHost:
        host = self._host or self._start()
        if not self._loaded:
            try:
                host.load(self.kernel.source, self.kernel.name, code=self._code())
                self._loaded = True
            except KernelFault as fault:
                self._stop()
                self._unusable = fault.failure
                raise
        return host

    def _start(self) -> KernelHost:
        failure = contract_failure(self.kernel, self.target)
        if failure:
            self._unusable = failure
            raise KernelFault(failure)
        self._host = KernelHost(self.target.driver, core=None, deadline=self._deadline, fenced=True)
        self._loaded = False
        return self._host

    def _await_code(self) -> None:
        with suppress(KernelFault):
            self._code()

    def _stop(self) -> None:
        if self._host is not None:
            self._host.close()
            self._host = None


class _Object:
    """A kernel object in the host, and those of its packs that are packed."""

    def __init__(self, host: KernelHost, instance: Instance) -> None:
        self.host = host
        self.instance = instance
        self.number: int | None = None
        self.packs: dict[int, Pack] = {}
        self.slowest = 0.0

    def build(self) -> None:
        self.number = self.host.build(self.instance)

    def pack(self, number: int) -> None:
        assert self.number is not None
        self.packs[number], _ = self.host.pack(self.number, self.instance.packs[number])

    def drop(self, number: int) -> None:
        self.host.drop(-1, [self.packs.pop(number)], later=True)


def _drop(objects: list[_Object], *, later: bool = False) -> None:
    for each in objects:
        if each.number is not None:
            each.host.drop(each.number, list(each.packs.values()), later=later)


def _alike(one: Failure, other: Failure, loosely: bool) -> bool:
    """Whether a failure looks like the same bug as another: the same kind, of the same array, with the same advice.

    What seemed to be rounding and is more than that on a smaller case is the same bug, seen better.
    """
    if (one.kind, _subject(one)) != (other.kind, _subject(other)):
        return False
    if loosely:
        return True
    return one.hint == other.hint or (other.hint == ROUNDING_HINT and one.hint != "")


def _subject(failure: Failure) -> str:
    return failure.sentence.partition(":")[0].partition("[")[0]


def _in_turns(objects: list[_Object]) -> Iterator[Step]:
    """Pack everything, then make every call. Code sets take turns, so that an answer from another set shows."""
    packs = [(who, number, pack) for who, each in enumerate(objects) for number, pack in enumerate(each.instance.packs)]
    for who, number, _ in packs:
        yield Step(who, number, PACK)
    for turn in range(max(len(pack.calls) for _, _, pack in packs)):
        for who, number, pack in packs:
            if turn < len(pack.calls):
                yield Step(who, number, turn)


def _first_difference(objects: list[_Object], script: Iterable[Step], rtol: float) -> tuple[int, Mismatch] | None:
    """Do what a script says and compare every answer, of which those that were given before must be the same again."""
    given: dict[Step, dict[str, NDArray[Any]]] = {}
    calls = 0
    for step in script:
        one = objects[step.object]
        if step.action == PACK:
            one.pack(step.pack)
            continue
        if step.action == DROP:
            one.drop(step.pack)
            continue
        pack = one.packs[step.pack]
        one.slowest = max(one.slowest, pack.call(step.action) / 1e9)
        mismatch = pack.instance.check(step.action, pack.outputs, rtol)
        if mismatch is None and step in given:
            mismatch = _changed(given[step], pack.outputs)
        if mismatch:
            return calls, mismatch
        calls += max(pack.instance.repeats, 1)
        if script is objects[0].instance.script and not pack.instance.repeats:
            given[step] = {name: array.copy() for name, array in pack.outputs.items()}
    return None


def _changed(before: Mapping[str, NDArray[Any]], now: Mapping[str, NDArray[Any]]) -> Mismatch | None:
    """The first value of an answer that is not, bit for bit, what it was."""
    for name, array in now.items():
        old = before[name]
        if old.tobytes() != array.tobytes():
            place = tuple(int(i) for i in np.unravel_index(int(np.argmax(old != array)), array.shape))
            expected = f"{old[place]!s}, which the same call returned before"
            return Mismatch(f"the same query again: {name}", place, expected, str(array[place]))
    return None


def replay_command(case: str, kernel_path: str, rtol: float = 0.0) -> str:
    """The command that replays exactly one case."""
    words = ["python", "-m", "pytest_lance_ar", "replay", f"--kernel={kernel_path}"]
    if rtol:
        words += [f"--rtol={rtol!r}"]
    return shlex.join([*words, case])


def hint(mismatch: Mismatch) -> str:
    """What to do about a wrong value, in one sentence."""
    if mismatch.advice:
        return mismatch.advice
    if mismatch.abs_error is None:
        return ""
    if mismatch.rounding_only:
        return ROUNDING_HINT
    if mismatch.missed:
        return (
            "not rounding: each distance is right for its id, but nearer vectors were missed; look at thresholds, "
            "lower bounds, tails and the heap"
        )
    if mismatch.allowed is not None:
        return (
            "right within 1e-4, which is too little where all values are small: precision was given up, as float16, "
            "tables of 8 or 16 bits, an absolute threshold and values flushed to zero do"
        )
    if mismatch.lossy:
        return (
            "not rounding: precision was given up, as float16, bfloat16, 8- or 16-bit tables and expanded squares do; "
            "use them for lower bounds only, and sum what is returned in float32"
        )
    return "not rounding: the arithmetic differs; compare loop bounds, indices and initial values with the reference"
