"""Examines a kernel, case by case, against the target's reference."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class _Fatal:
    """A failure that ended the kernel's process, and the case it happened in ("" : before any)."""

    case: str
    failure: Failure


class Examiner:
    """Runs cases through a kernel in a host of its own.

    A failure that costs a process (a crash, a call that never returns) is not shrunk: the case that met it fails again
    at once, without a process, and every other case of the same test passes unseen. So hypothesis settles on that
    case quickly, and the test fails all the same.
    """

    def __init__(
        self,
        kernel: Kernel,
        target: Target,
        *,
        deadline: Deadline,
        core: int | None = None,
        rtol: float = 0.0,
    ) -> None:
        self.kernel = kernel
        self.target = target
        self.examples = 0
        self.failure: Failure | None = None
        self._deadline = deadline
        self._core = core
        self._rtol = rtol
        self._host: KernelHost | None = None
        self._fatal: _Fatal | None = None

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
        if self._fatal and self._fatal.case:
            self._fatal = None

    def examine(self, case: Case) -> None:
        """Run one case. Raises ExaminationFailed."""
        if self._fatal:
            if self._fatal.case in ("", case.spec):
                self._fail(self._fatal.failure, case)
            return
        try:
            wrong = self._first_mismatch(case)
        except KernelFault as fault:
            failure = fault.failure
            if failure.kind in FATAL:
                self._stop()
                self._fatal = _Fatal(case.spec, failure)
            self._fail(failure, case)
        if wrong:
            call, mismatch = wrong
            sentence = str(mismatch) if call == 0 else f"{mismatch} (in call {call + 1} on the same kernel)"
            self._fail(Failure(FaultKind.WRONG_ANSWER, sentence, hint=hint(mismatch)), case)

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
                self._fatal = _Fatal("", failure)
                raise KernelFault(failure)
            self._host = KernelHost(self.target.driver, core=self._core, deadline=self._deadline)
            try:
                self._host.load(self.kernel.source, self.kernel.name)
            except KernelFault as fault:
                self._stop()
                self._fatal = _Fatal("", fault.failure)
                raise
        return self._host

    def _fail(self, failure: Failure, case: Case) -> None:
        if not (self._fatal and self._fatal.case == ""):
            failure = replace(failure, where=case.where, case=case.spec)
        self.failure = failure
        raise ExaminationFailed(failure)

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
    words = ["python", "-m", "pytest_lance_ar", "replay", "--kernel", kernel_path]
    if rtol:
        words += ["--rtol", f"{rtol:g}"]
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
