"""What a duel needs before it can begin: workloads, and kernels compiled in their processes.

It runs beside the correctness suite, on the core that the suite leaves free, and is over before anything is timed.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from pytest_lance_ar.host.parent import KernelHost
from pytest_lance_ar.speed.sides import Side
from pytest_lance_ar.targets.protocol import Instance, Target
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.kernel_source import Kernel


def fresh_seed() -> int:
    """A seed for data to be timed on: unknown to all before, whatever the trial's seed is, and too long to guess."""
    return secrets.randbits(63)


class Cancelled(Exception):
    """The preparation was given up."""


class Preparation:
    """Two pairs of processes, (candidate, incumbent) each, and the workloads of the first stage.

    Start it from the thread that will time: the processes die with the thread that started them. The
    workloads have a seed of their own.
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
    ) -> None:
        self.target = target
        self.seed = fresh_seed()
        self.queries = queries
        self.workloads: list[Instance] = []
        self.pairs: list[tuple[Side, Side]] = []
        self._cancelled = threading.Event()
        self._error: BaseException | None = None
        self._hosts: list[KernelHost] = []
        self._thread = threading.Thread(target=self._run, name="lance-ar preparation", daemon=True)

        def side(is_candidate: bool) -> Side:
            host = KernelHost(target.driver, core=core, deadline=deadline)
            self._hosts.append(host)
            return Side(candidate if is_candidate else incumbent, host, is_candidate=is_candidate)

        # In random order here and below: a kernel that knew its side could be slow as the incumbent, to be beaten.
        try:
            for _ in range(2):
                first = secrets.choice((True, False))
                sides = {which: side(which) for which in (first, not first)}
                self.pairs.append((sides[True], sides[False]))
        except BaseException:
            self.close()
            raise
        self._thread.start()

    def wait(self) -> None:
        """Wait until all is ready. Raises what stopped it: KernelFault, IncumbentFailed."""
        self._thread.join()
        if self._error is not None:
            raise self._error

    def fresh_workloads(self, seed: int) -> list[Instance]:
        """The workloads of another seed, built on two cores."""
        with ThreadPoolExecutor(max_workers=2) as pool:
            # The largest first, so that both threads end together.
            built = pool.map(self._workload(seed), range(len(self.target.combos))[::-1])
            return list(built)[::-1]

    def end_processes(self) -> None:
        """End the processes of both sides; the workloads stay."""
        for host in self._hosts:
            host.close()

    def close(self) -> None:
        """Give up whatever is not done yet, and end the processes."""
        self._cancelled.set()
        for host in self._hosts:
            host.kill()
        if self._thread.is_alive():
            self._thread.join()
        for host in self._hosts:
            host.close()

    def _run(self) -> None:
        try:
            build = self._workload(self.seed)
            self.workloads = [build(combo) for combo in range(len(self.target.combos))]
            sides = [side for pair in self.pairs for side in pair]
            for side in secrets.SystemRandom().sample(sides, len(sides)):
                self._check()
                side.load()
                side.renew(self.workloads, [range(1)] * len(self.workloads))
        except Exception as error:
            self._error = error

    def _workload(self, seed: int) -> Callable[[int], Instance]:
        def build(combo: int) -> Instance:
            self._check()
            return self.target.workload(self.target.combos[combo], self.queries, seed)

        return build

    def _check(self) -> None:
        if self._cancelled.is_set():
            raise Cancelled
