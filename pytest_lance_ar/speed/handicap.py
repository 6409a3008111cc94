"""Kernels that are slower than another one by a known share: the ruler that the gate is measured with."""

from __future__ import annotations

from typing import Final

from pytest_lance_ar.trial.kernel_source import Kernel

WRAPPER_NS: Final = 250
"""What the two extra Python calls cost, and the wait must not add."""

_WRAPPER: Final = '''

import time as _time


class _Handicapped({name}):
    """Answers when (1 + {share}) times its own time has passed."""

    def distance_table(self, query, out):
        self._begun = _time.perf_counter_ns()
        super().distance_table(query, out)

    def probe_top_k(self, table, codes, k):
        answer = super().probe_top_k(table, codes, k)
        end = self._begun + int((_time.perf_counter_ns() - self._begun) * (1 + {share})) - {wrapper_ns}
        while _time.perf_counter_ns() < end:
            pass
        return answer


{name} = _Handicapped
'''


def handicapped(kernel: Kernel, share: float) -> Kernel:
    """The same PQ kernel, slower by `share` (0.02: 2%) on every query."""
    wrapper = _WRAPPER.format(name="PqKernel", share=share, wrapper_ns=WRAPPER_NS)
    return Kernel(f"{kernel.name} + {100 * share:g}%", kernel.source + wrapper.encode())


def twin(kernel: Kernel, number: int) -> Kernel:
    """The same kernel with another comment."""
    return Kernel(f"{kernel.name} again", kernel.source + f"\n# twin {number}\n".encode())
