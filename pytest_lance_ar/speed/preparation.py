"""What a duel needs before it can begin: workloads, and kernels compiled in their processes.

It runs beside the correctness suite, on the core that the suite leaves free, and is over before anything is timed.
"""

from __future__ import annotations

import itertools
import secrets
import threading
import time
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
"""In how many ways the code of a timed pair may lie in memory, by chance. That of the two sides lies alike: what they
have in common is as lucky in both."""
AHEAD: Final = 3
"""Pairs that wait for the timing to begin: as many as it takes to the first look at a gain."""
PATIENCE: Final = 2.0
"""Seconds that a thread which is given up may take to notice. It is a daemon: nobody waits for it any longer."""


def fresh_seed() -> int:
    """A seed for data to be timed on: unknown to all before, whatever the trial's seed is, and too long to guess."""
    return secrets.randbits(63)


class Preparation:
    """Workloads of the stage that is on, and pairs of new processes, (candidate, incumbent) each, as many as wanted.

    The workloads have a seed of their own. The first pairs are ready when the timing begins. They die with the thread
    that started them, which lives until `close`. code: machine code of the kernels that is known, by the hash of their
    source.
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
        self.pair_seconds = 0.0
        """What it took to get the last pair ready."""
        self.foundry = Foundry(target, deadline=deadline, known=code or {})
        self._kernels = {True: candidate, False: incumbent}
        self._core = core
        self._deadline = deadline
        self._ready = threading.Event()
        self._closed = threading.Event()
        self._error: BaseException | None = None
        self._hosts: list[KernelHost] = []
        self._ahead: list[tuple[Side, Side]] = []
        self._packings = itertools.cycle(secrets.choice([(1, 2), (2, 1)]))
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
        """Have workloads of another seed, built on two cores, and meanwhile load the pairs that come next.

        Raises KernelFault, also when the time is up, and IncumbentFailed.
        """
        quarry = Quarry(self.target, self.queries, seed)
        quarry.hurry()
        self._quarries.append(quarry)
        self._end_all()
        self._ahead = [self._load_pair() for _ in range(AHEAD)]
        self.seed, self.workloads = seed, self._dug(quarry)
        return self.workloads

    @contextmanager
    def pair(self) -> Iterator[tuple[Side, Side]]:
        """A pair that was never timed, packed and called on every workload; it ends at the end.

        Raises KernelFault, IncumbentFailed.
        """
        pair = self._ahead.pop(0) if self._ahead else self._load_pair()
        try:
            self._pack(pair)
            yield pair
        finally:
            for side in pair:
                side.close()
                self._hosts.remove(side.host)

    @contextmanager
    def others(self, *kernels: Kernel) -> Iterator[tuple[Side, ...]]:
        """New processes, loaded, of these kernels and of no other: what was loaded ahead ends first, these at the end.

        Raises KernelFault, IncumbentFailed.
        """
        self._end_all()
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
                side.close()

    @contextmanager
    def two_pairs(self) -> Iterator[list[tuple[Side, Side]]]:
        """Two new pairs of candidate and incumbent, loaded; they end at the end.

        Raises KernelFault, IncumbentFailed.
        """
        kernels = self._kernels[True], self._kernels[False]
        with self.others(*kernels) as (candidate, incumbent), self.others(*kernels) as (other, rival):
            yield [(candidate, incumbent), (other, rival)]

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
        for number in range(AHEAD):
            pair = self._load_pair()
            self._pack(pair)
            self._ahead.append(pair)
            if number == 0:
                for side in pair:
                    with side.blame():
                        self.foundry.learn(side.kernel, side.host)

    def _load_pair(self) -> tuple[Side, Side]:
        """In random order here and below: a kernel that knew its side could be slow as the incumbent, to be beaten."""
        begun, shift = time.perf_counter(), secrets.randbelow(SHIFTS)
        first = secrets.choice((True, False))
        sides = {which: self._side(which) for which in (first, not first)}
        for side in sides.values():
            self._check()
            with suppress(KernelFault):  # told of below, in the words of who is to blame
                side.code = self.foundry.code_of(side.kernel)
            side.load(shift=shift)
        self.pair_seconds = time.perf_counter() - begun
        return sides[True], sides[False]

    def _pack(self, pair: tuple[Side, Side]) -> None:
        """Unless it is packed: once and twice in turns, since a kernel that is fast the first time only is not fast."""
        if pair[0].packs:
            return
        begun = time.perf_counter()
        for _ in range(next(self._packings)):
            for side in secrets.SystemRandom().sample(pair, 2):
                self._check()
                side.renew(self.workloads, [range(1)] * len(self.workloads))
        self.pair_seconds += time.perf_counter() - begun

    def _side(self, is_candidate: bool) -> Side:
        self._check()
        host = KernelHost(self.target.driver, core=self._core, deadline=self._deadline)
        self._hosts.append(host)
        return Side(self._kernels[is_candidate], host, is_candidate=is_candidate)

    def _end_all(self) -> None:
        for host in self._hosts:
            host.close()
        self._hosts, self._ahead = [], []

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
