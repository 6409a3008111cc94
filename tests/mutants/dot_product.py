"""Wrong kernels of `pq_dot`: those of its own kinds, and wrong L2 kernels whose terms became products.

`dot/mutants.txt` has what goes wrong where entries have either sign. An L2 kernel that misses a vector misses it with
inner products too: every fifth such change of `mutants.txt` and `domain.py` is taken over.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from tests.mutants.corpus import MUTANTS, parse
from tests.mutants.mutant import DOT_BASES, HERE, Mutant

SAME: Final = ("scalar", "plain", "rows", "transposed", "blocks")
"""Bases that rely on nothing that holds for squares alone."""
NOT_TAKEN_OVER: Final = ("terms", "comparisons", "beyond 1e-4")
"""Families that are about squares, or that inner products have their own of."""
TERM: Final = re.compile(r"\b(difference|[abce]) = (.+?) - ((?:self\.)?codebook|centroids)(?=\[)")


@dataclass(frozen=True)
class AsDot(Mutant):
    """A wrong L2 kernel whose terms are products."""

    @property
    def source(self) -> str:
        """Raises ValueError where a square is left."""
        text = TERM.sub(r"\1 = \2 * \3", super().source)
        text = text.replace("+= difference * difference", "-= difference").replace(
            "class PqKernel", "class PqDotKernel"
        )
        text = re.sub(r"total \+= a \* a$", "total -= a", re.sub(r" \+ ([abce]) \* \1\b", r" - \1", text), flags=re.M)
        if re.search(r"\b(difference|[abce]) \* \1\b", text):
            raise ValueError(f"{self.name}: there is still a square")
        return text


TAKEN_OVER: Final = tuple(
    AsDot(m.family, m.name, m.base, m.changes)
    for m in [m for m in MUTANTS if m.base in SAME and m.family not in NOT_TAKEN_OVER][::5]
)
DOT: Final = (*parse((HERE / "dot" / "mutants.txt").read_text()), *TAKEN_OVER)
HONEST_DOT: Final = (
    *(Mutant("honest", name, name) for name in DOT_BASES),
    *(AsDot("honest", f"{name}, of products", name) for name in SAME),
)
