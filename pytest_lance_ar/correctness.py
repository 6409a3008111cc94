"""Examines a kernel, case by case, against the target's reference."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Final

from pytest_lance_ar.evidence import Failure, FaultKind, Mismatch
from pytest_lance_ar.host.parent import Deadline, KernelFault, KernelHost, Pack
from pytest_lance_ar.kernel_source import Kernel, contract_failure
from pytest_lance_ar.targets.protocol import Case, Target

FATAL: Final = frozenset({FaultKind.DIED, FaultKind.TIMEOUT})
"""Faults that cost the kernel's process."""


class ExaminationFailed(AssertionError):
    """A kernel failed an examination."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


SHRINK_SECONDS: Final = 2.0
"""How long, after its first failure, a test may look for a smaller one."""


class Examiner:
    """Runs cases through a kernel in a host of its own.

    A case that failed fails again in the same words, without a call: a kernel that fails now and then is wrong.
    A test is settled once a failure cost the process (a crash, a call that never returns), or when it has looked for
    a smaller failure for long enough: then its known failures are all that fails, and Hypothesis ends on the smallest.
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
        self._settles_at = math.inf

    def examine(self, case: Case) -> None:
        """Run one case. Raises ExaminationFailed."""
        known = self._unusable or self._failures.get(case.spec)
        if known is None and self._clock() < self._settles_at:
            known = self._run(case)
        if known is not None:
            self.failure = known
            raise ExaminationFailed(known)

    def _run(self, case: Case) -> Failure | None:
        try:
            wrong = self._first_mismatch(case)
        except KernelFault as fault:
            if self._unusable:
                return self._unusable
            failure = fault.failure
            if failure.kind in FATAL:
                self._stop()
                self._settles_at = -math.inf
        else:
            if wrong is None:
                return None
            call, mismatch = wrong
            sentence = str(mismatch) if call == 0 else f"{mismatch} (in call {call + 1} on the same kernel)"
            failure = Failure(FaultKind.WRONG_ANSWER, sentence, hint=hint(mismatch))
        failure = replace(failure, where=case.where, case=case.spec)
        self._failures[case.spec] = failure
        self._settles_at = min(self._settles_at, self._clock() + SHRINK_SECONDS)
        return failure

    def _first_mismatch(self, case: Case) -> tuple[int, Mismatch] | None:
        host = self._running_host()
        instance = case.instance()
        kernel = host.build(instance)
        packs: list[Pack] = []
        try:
            packs += [host.pack(kernel, pack)[0] for pack in instance.packs]
            self.examples += 1
            wrong = _first_difference(packs, self._rtol)
        except KernelFault as fault:
            if fault.failure.kind not in FATAL:
                host.drop(kernel, packs)
            raise
        host.drop(kernel, packs)
        return wrong

    def _running_host(self) -> KernelHost:
        if self._host is None:
            failure = contract_failure(self.kernel, self.target.kernel_class)
            if failure:
                self._unusable = failure
                raise KernelFault(failure)
            self._host = KernelHost(self.target.driver, core=None, deadline=self._deadline)
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
        return (
            "rounding only: every value agrees within 1e-6 of itself; keep the reference's order (sum over d, then "
            "over m, in float32, without FMA), or let a person allow it with --lance-ar-rtol 1e-6"
        )
    return "not rounding: the arithmetic differs, or precision was given up (float16, 8- or 16-bit tables)"
