"""Kernels that are slower than another one by a known share: the ruler that the gate is measured with."""

from __future__ import annotations

from typing import Final

from pytest_lance_ar.targets.protocol import Target
from pytest_lance_ar.trial.kernel_source import Kernel

WRAPPER_NS: Final = 250
"""What the two extra Python calls cost, and the wait must not add."""

_WRAPPER: Final = '''

import time as _time


class _Handicapped({name}):
    """Answers when (1 + {share}) times its own time has passed."""
{methods}

{name} = _Handicapped
'''
_METHOD: Final = """
    def {name}(self, *arguments):
        {begin}
        answer = super().{name}(*arguments)
        {end}
        return answer
"""
_BEGIN: Final = "self._begun = _time.perf_counter_ns()"
_END: Final = """end = self._begun + int((_time.perf_counter_ns() - self._begun) * (1 + {share})) - {wrapper_ns}
        while _time.perf_counter_ns() < end:
            pass"""


def handicapped(kernel: Kernel, share: float, target: Target) -> Kernel:
    """The same kernel, slower by `share` (0.02: 2%) on every query: between its first step and the end of its last."""
    steps, end = list(target.steps), _END.format(share=share, wrapper_ns=WRAPPER_NS)
    methods = [
        _METHOD.format(name=name, begin=_BEGIN if i == 0 else "", end=end if i == len(steps) - 1 else "")
        for i, name in enumerate(steps)
        if i in (0, len(steps) - 1)
    ]
    wrapper = _WRAPPER.format(name=target.kernel_class, share=share, methods="".join(methods))
    return Kernel(f"{kernel.name} + {100 * share:g}%", kernel.source + wrapper.encode())


def twin(kernel: Kernel, number: int) -> Kernel:
    """The same kernel with another comment."""
    return Kernel(f"{kernel.name} again", kernel.source + f"\n# twin {number}\n".encode())
