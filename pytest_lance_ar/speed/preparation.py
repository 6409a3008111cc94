"""What a duel needs before it can begin: workloads, and kernels compiled in their processes.

It runs beside the correctness suite, on the core that the suite leaves free, and is over before anything is timed.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

from pytest_lance_ar.host import platform
from pytest_lance_ar.host.parent import KernelFault, KernelHost
from pytest_lance_ar.speed.foundry import Foundry
from pytest_lance_ar.speed.quarry import Cancelled, Quarry
from pytest_lance_ar.speed.sides import Side
from pytest_lance_ar.targets.protocol import Instance, Target
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.evidence import Failure, FaultKind
from pytest_lance_ar.trial.kernel_source import Kernel

SHIFTS: Final = 64
"""In how many ways the code of a timed pair may lie in memory; by chance, so that no stage confirms luck. That of the
two sides lies alike: what they have in common is as lucky in both."""
PATIENCE: Final = 2.0
"""Seconds that a thread which is given up may take to notice. It is a daemon: nobody waits for it any longer."""


def fresh_seed() -> int:
    """A seed for data to be timed on: unknown to all before, whatever the trial's seed is, and too long to guess."""
    return secrets.randbits(63)


class Preparation:
    """Two pairs of processes, (candidate, incumbent) each, and the workloads of the stage that is on.

    Each pair has a twin, another process of one of its kernels; that of the second pair is there when it is needed.
    The workloads have a seed of their own. The processes die with the thread that started them, which lives until
    `close`. code: machine code of the kernels that is known, by the hash of their source.
    """

    def __init__(
        self,
        target: Target,
        candidate: Kernel,
        incumbent: Kernel,
        *,
        queries: int,
        core: int | None,
        deadline: Deadline,
        code: Mapping[str, bytes] | None = None,
    ) -> None:
        self.target = target
        self.seed = fresh_seed()
        self.queries = queries
        self.workloads: list[Instance] = []
        self.pairs: list[tuple[Side, Side]] = []
        self.twins: list[Side] = []
        self.foundry = Foundry(target, deadline=deadline, known=code or {})
        self._kernels = {True: candidate, False: incumbent}
        self._core = core
        self._deadline = deadline
        self._ready = threading.Event()
        self._closed = threading.Event()
        self._error: BaseException | None = None
        self._hosts: list[KernelHost] = []
        self._shifts = secrets.SystemRandom().sample(range(SHIFTS), 2)
        self._thread = threading.Thread(target=self._run, name="lance-ar preparation", daemon=True)
        with platform.kept_off(core):
            self._quarries = [Quarry(target, queries, self.seed)]
        with platform.kept_to(core):
            self._thread.start()

    def hurry(self) -> None:
        """Nothing else is being done: use the other cores too."""
        self._quarries[0].hurry()

    def wait(self) -> None:
        """Wait until all is ready. Raises what stopped it: KernelFault, IncumbentFailed."""
        if not self._ready.wait(max(0.0, self._deadline.remaining())):
            raise _too_late("preparing to time")
        if self._error is not None:
            raise self._error

    def confirm(self, seed: int) -> list[Instance]:
        """Have workloads of another seed, built on two cores, and meanwhile a twin for the second pair.

        Raises KernelFault, also when the time is up, and IncumbentFailed.
        """
        quarry = Quarry(self.target, self.queries, seed)
        quarry.hurry()
        self._quarries.append(quarry)
        self._start_twin()
        self.seed, self.workloads = seed, self._dug(quarry)
        return self.workloads

    @contextmanager
    def others(self, *kernels: Kernel) -> Iterator[tuple[Side, ...]]:
        """New processes, loaded, of these kernels and of no other: all that there were end first, these at the end.

        A process that was there before may know what it has seen. Raises KernelFault, IncumbentFailed.
        """
        for host in self._hosts:
            host.close()
        order = secrets.SystemRandom().sample(range(len(kernels)), len(kernels))
        sides: dict[int, Side] = {}
        try:
            for number in order:
                host = KernelHost(self.target.driver, core=self._core, deadline=self._deadline)
                kernel = kernels[number]
                sides[number] = Side(kernel, host, is_candidate=kernel.sha256 == self._kernels[True].sha256)
                sides[number].code = self.foundry.known(kernel)
            shift = secrets.randbelow(SHIFTS)
            for side in sides.values():
                side.load(shift=shift)
            yield tuple(sides[number] for number in range(len(kernels)))
        finally:
            for side in sides.values():
                side.host.close()

    def close(self) -> None:
        """Give up whatever is not done yet, and end the processes."""
        self._closed.set()
        for quarry in self._quarries:
            quarry.close()
        self.foundry.close()
        for host in list(self._hosts):
            host.kill()
        self._thread.join(PATIENCE)
        self._ready.set()
        for host in self._hosts:
            host.close()

    def _run(self) -> None:
        try:
            self._prepare()
        except Exception as error:
            self._error = error
        finally:
            self._ready.set()
        self._closed.wait()

    def _prepare(self) -> None:
        # The candidate first, and nothing beside it on this core: the suite waits for it, on the other one.
        self.foundry.forge(self._kernels[True])
        self._quarries[0].keep_to(self._core)
        self._check()
        self.foundry.forge(self._kernels[False])
        self.workloads = self._dug(self._quarries[0])
        # In random order here and below: a kernel that knew its side could be slow as the incumbent, to be beaten.
        for _ in range(2):
            first = secrets.choice((True, False))
            started = {which: self._side(which) for which in (first, not first)}
            self.pairs.append((started[True], started[False]))
        sides = [(side, shift) for pair, shift in zip(self.pairs, self._shifts, strict=True) for side in pair]
        for side, shift in secrets.SystemRandom().sample(sides, len(sides)):
            self._get_ready(side, shift)
        self._start_twin()

    def _start_twin(self) -> None:
        side = self._side(secrets.choice((True, False)))
        self._get_ready(side, self._shifts[len(self.twins)])
        self.twins.append(side)

    def _get_ready(self, side: Side, shift: int) -> None:
        self._check()
        with suppress(KernelFault):  # told of below, in the words of who is to blame
            side.code = self.foundry.code_of(side.kernel)
        side.load(shift=shift)
        side.renew(self.workloads, [range(1)] * len(self.workloads))

    def _side(self, is_candidate: bool) -> Side:
        self._check()
        host = KernelHost(self.target.driver, core=self._core, deadline=self._deadline)
        self._hosts.append(host)
        return Side(self._kernels[is_candidate], host, is_candidate=is_candidate)

    def _dug(self, quarry: Quarry) -> list[Instance]:
        try:
            return quarry.wait(self._deadline.remaining)
        except TimeoutError:
            raise _too_late("building workloads") from None

    def _check(self) -> None:
        if self._closed.is_set():
            raise Cancelled


def _too_late(what: str) -> KernelFault:
    return KernelFault(Failure(FaultKind.TIMEOUT, f"the time budget ran out in {what}"))
