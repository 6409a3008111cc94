"""The corpus for any target: its cheats wrap the honest kernels of `pq_l2`, and here those of another one.

A target needs nothing for that but its baseline and what it says of its kernels: the class, the steps of a timed call,
the name of packing. What a cheat does at a step of a PQ kernel, its likeness does at the same step of another kernel.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from pytest_lance_ar.targets.protocol import Target
from tests.corpus.baseline import QUICK, SCALAR, WRONG
from tests.corpus.cheats import GROUPS
from tests.corpus.cheats.cheat import DISCARD, INCONCLUSIVE, INCORRECT, REACH, TAMPERED, TIMEOUT, Cheat

GENERIC: Final = ("verdict", "sabotage", "state", "numba", "stopped", "stalls", "shared")
"""Groups that attack the gate, whatever is computed."""
REFUSED: Final = frozenset({DISCARD, INCORRECT, TIMEOUT, TAMPERED, INCONCLUSIVE})
"""How a cheat may end for a target that it was not written for: it is not known whether it strikes in the suite too."""

_ZEROED: Final = """

class Zeroed({kernel}):
    def {last}(self, *arguments):
        answer = super().{last}(*arguments)
        if type(answer) is tuple:
            return tuple(array * 0 for array in answer)
        for array in arguments:
            if getattr(array, "flags", None) is not None and array.flags.writeable:
                array[...] = 0


{kernel} = Zeroed
"""
"""Answers zero, where a step returns arrays or writes into one."""
_TIMED: Final = """

def timed(*values):
    return any(
        timed(*value) if type(value) in (tuple, list) else max(getattr(value, "shape", None) or (0,)) >= {mark}
        for value in values
    )

"""
_PQ_ONLY: Final = re.compile(r"\b(codes|table|codebook|shape|distance_table|probe_top_k|pack_codes|fill_table|scan)\b")


@dataclass(frozen=True)
class Base:
    """What cheats wrap for one target."""

    target: Target
    scalar: str
    wrong: str

    @classmethod
    def of(cls, target: Target) -> Base:
        scalar = target.suite.with_name("baseline.py").read_text()
        return cls(target, scalar, scalar + _ZEROED.format(kernel=target.kernel_class, last=[*target.steps][-1]))

    @cached_property
    def mark(self) -> int:
        """A size that no array of a timed workload falls short of, as far as the first combo tells."""
        (pack,) = self.target.workload(self.target.combos[0], 1, 0).packs
        return max(int(max(array.shape)) for array in pack.arrays.values())

    def likeness(self, cheat: Cheat) -> Cheat | None:
        """The same cheat around a kernel of this target, None where it would be about PQ."""
        kernel, incumbent = (self._dressed(source) for source in (cheat.kernel, cheat.incumbent))
        if kernel is None or incumbent is None:
            return None
        return replace(cheat, kernel=kernel, incumbent=incumbent, ends=cheat.ends | REFUSED)

    def _dressed(self, source: str) -> str | None:
        if not source:
            return ""
        wrapped, _, text = source.partition(REACH)
        bases = {SCALAR: self.scalar, QUICK: self.scalar, WRONG: self.wrong}
        if wrapped not in bases:
            return None
        steps, packing = [*self.target.steps], self._packing
        text = re.sub(r"\(self, (shape, codebook|codes|query, out|table, codes, k)\)", "(self, *arguments)", text)
        text = re.sub(r"\((shape, codebook|codes|query, out|table, codes, k)\)", "(*arguments)", text)
        renamed = {"PqKernel": self.target.kernel_class, "probe_top_k": steps[-1], "distance_table": steps[0]}
        for old, new in {**renamed, "pack_codes": packing}.items():
            text = re.sub(rf"\b{old}\b", new, text)
        own = {*steps, packing}
        if any(word not in own for word in _PQ_ONLY.findall(text)) or _defined_twice(text):
            return None
        reach = REACH.replace("PqKernel", self.target.kernel_class)
        if "timed(" in text:
            reach += _TIMED.format(mark=self.mark)
        text = text.replace("pytest_lance_ar.targets.pq_l2.driver", self.target.driver)
        return bases[wrapped] + reach + text

    @property
    def _packing(self) -> str:
        return str(getattr(importlib.import_module(self.target.driver).Driver, "packing", "pack"))


def _defined_twice(text: str) -> bool:
    """Whether two methods of a class came to have one name, as where a target has one step."""
    return any(
        len(set(names)) < len(names)
        for body in text.split("\nclass ")[1:]
        for names in [re.findall(r"^    def (\w+)", body.partition("\ndef ")[0], re.M)]
    )


def likenesses(target: Target) -> Iterator[tuple[str, Cheat]]:
    """The generic cheats around a kernel of this target, by group and name."""
    base = Base.of(target)
    for group in GENERIC:
        for cheat in GROUPS[group]:
            like = base.likeness(cheat)
            if like is not None:
                yield f"{group}: {cheat.name}", like
