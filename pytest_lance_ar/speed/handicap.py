"""Kernels that are slower than another one by a known share: the ruler that the gate is measured with."""

from __future__ import annotations

from typing import Final

from pytest_lance_ar.targets.protocol import Target
from pytest_lance_ar.trial.kernel_source import Kernel

CLOCK_NS: Final = 500
"""About what it costs to read a clock that does not stand still; the wait is shorter by it."""

_WRAPPER: Final = '''

{clock}


class _Handicapped({name}):
    """Answers when {share} of its own time has passed once more; a last step that the kernel calls itself, at once."""

    _begun = never = 1 << 63
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
_BEGIN: Final = "self._begun = _now()"
_END: Final = """wait = int((_now() - self._begun) * {share}) - {clock_ns}
        end = _now() + wait
        while _now() < end:
            pass
        self._begun = self.never"""
_CLOCK: Final = "from time import perf_counter_ns as _now"
_NO_CLOCK: Final = "_now = int"
"""Always 0."""


def handicapped(kernel: Kernel, share: float, target: Target) -> Kernel:
    """The same kernel, slower by `share` (0.02: 2%) on every query: between its first step and the end of its last.

    To wait costs microseconds of its own, where caches have grown cold. So a ruler is two of these: the one of share 0
    does all that the other does, but its clock always reads 0, and none is imported.
    """
    steps, end = list(target.steps), _END.format(share=share, clock_ns=CLOCK_NS if share else 0)
    methods = [
        _METHOD.format(name=name, begin=_BEGIN if i == 0 else "", end=end if i == len(steps) - 1 else "")
        for i, name in enumerate(steps)
        if i in (0, len(steps) - 1)
    ]
    clock = _CLOCK if share else _NO_CLOCK
    wrapper = _WRAPPER.format(clock=clock, name=target.kernel_class, share=share, methods="".join(methods))
    return Kernel(f"{kernel.name} + {100 * share:g}%", kernel.source + wrapper.encode())


def twin(kernel: Kernel, number: int) -> Kernel:
    """The same kernel with another comment."""
    return Kernel(f"{kernel.name} again", kernel.source + f"\n# twin {number}\n".encode())
