"""Examines a kernel, case by case, against the target's reference."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Final

from pytest_lance_ar.host.parent import KernelFault, KernelHost, Pack
from pytest_lance_ar.targets.mismatch import Mismatch
from pytest_lance_ar.targets.protocol import Case, Target
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.evidence import Failure, FaultKind
from pytest_lance_ar.trial.kernel_source import Kernel, contract_failure

FATAL: Final = frozenset({FaultKind.DIED, FaultKind.TIMEOUT, FaultKind.TAMPERED})
"""Faults that cost the kernel's process."""


ROUNDING_HINT: Final = (
    "rounding only: every value agrees within 1e-6 of itself; keep the reference's order (sum over d, then over m, in "
    "float32, without FMA), or let a person allow it with --lance-ar-rtol 1e-6"
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
    ) -> None:
        self.kernel = kernel
        self.target = target
        self.examples = 0
        self.failure: Failure | None = None
        self._deadline = deadline
        self._rtol = rtol
        self._clock = clock
        self._host: KernelHost | None = None
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

    def begin(self) -> None:
        """A new test starts."""
        self.examples = 0
        self.failure = None
        self._failures.clear()
        self._failed = None
        self._first_failed_at = math.inf
        self._settles_at = math.inf

    def examine(self, case: Case) -> None:
        """Run one case. Raises ExaminationFailed."""
        known = self._unusable or self._failures.get(case.spec)
        if known is None and self._clock() < self._settles_at:
            known = self._run(case)
        if known is not None:
            self.failure, self._failed = known, case
            raise ExaminationFailed(known)

    def reduce(self) -> None:
        """Replace the failure that a test ended on by that of the smallest case which fails in the same way."""
        failure, case = self.failure, self._failed
        if failure is None or case is None or not failure.case or failure.kind in FATAL:
            return
        ends_at = self._first_failed_at + SHRINK_SECONDS

        def still_fails(candidate: Case) -> bool:
            if self._unusable or self._clock() >= ends_at:
                return False
            found = self._failure_of(candidate)
            return found is not None and _alike(found, failure)

        smallest = case.reduced(still_fails)
        if smallest.spec != failure.case:
            # Once more, and from its text: that is what the report promises.
            again = self._failure_of(self.target.parse_case(smallest.spec))
            if again is not None and _alike(again, failure):
                self.failure = again

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
        kernels: list[tuple[int, list[Pack]]] = []
        try:
            for number in (instance, *instance.beside):
                kernels.append((host.build(number), []))
                kernels[-1][1].extend(host.pack(kernels[-1][0], pack)[0] for pack in number.packs)
            self.examples += 1
            wrong = _first_difference([pack for _, packs in kernels for pack in packs], self._rtol)
        except KernelFault as fault:
            if fault.failure.kind not in FATAL:
                _drop(host, kernels)
            raise
        _drop(host, kernels)
        return wrong

    def _running_host(self) -> KernelHost:
        if self._host is None:
            failure = contract_failure(self.kernel, self.target.kernel_class)
            if failure:
                self._unusable = failure
                raise KernelFault(failure)
            self._host = KernelHost(self.target.driver, core=None, deadline=self._deadline, fenced=True)
            try:
                self._host.load(self.kernel.source, self.kernel.name)
            except KernelFault as fault:
                self._stop()
                self._unusable = fault.failure
                raise
        return self._host

    def _stop(self) -> None:
        if self._host is not None:
            self._host.close()
            self._host = None


def _drop(host: KernelHost, kernels: list[tuple[int, list[Pack]]]) -> None:
    for kernel, packs in kernels:
        host.drop(kernel, packs)


def _alike(one: Failure, other: Failure) -> bool:
    """Whether a failure looks like the same bug as another: the same kind, of the same array, with the same advice.

    What seemed to be rounding and is more than that on a smaller case is the same bug, seen better.
    """
    if (one.kind, _subject(one)) != (other.kind, _subject(other)):
        return False
    return one.hint == other.hint or (other.hint == ROUNDING_HINT and one.hint != "")


def _subject(failure: Failure) -> str:
    return failure.sentence.partition(":")[0].partition("[")[0]


def _first_difference(packs: list[Pack], rtol: float) -> tuple[int, Mismatch] | None:
    """Make every call and compare. Code sets take turns, so that an answer computed from another set shows."""
    turns = range(max(len(pack.instance.calls) for pack in packs))
    calls = [(pack, i) for i in turns for pack in packs if i < len(pack.instance.calls)]
    for number, (pack, i) in enumerate(calls):
        pack.call(i)
        mismatch = pack.instance.check(i, pack.outputs, rtol)
        if mismatch:
            return number, mismatch
    return None


def replay_command(case: str, kernel_path: str, rtol: float = 0.0) -> str:
    """The command that replays exactly one case."""
    words = ["python", "-m", "pytest_lance_ar", "replay", f"--kernel={kernel_path}"]
    if rtol:
        words += [f"--rtol={rtol!r}"]
    return shlex.join([*words, case])


def hint(mismatch: Mismatch) -> str:
    """What to do about a wrong value, in one sentence."""
    if mismatch.abs_error is None:
        return ""
    if mismatch.rounding_only:
        return ROUNDING_HINT
    if mismatch.missed:
        return (
            "not rounding: each distance is right for its id, but nearer vectors were missed; look at thresholds, "
            "lower bounds, tails and the heap"
        )
    if mismatch.lossy:
        return (
            "not rounding: precision was given up, as float16, bfloat16, 8- or 16-bit tables and expanded squares do; "
            "use them for lower bounds only, and sum what is returned in float32"
        )
    return "not rounding: the arithmetic differs; compare loop bounds, indices and initial values with the reference"
