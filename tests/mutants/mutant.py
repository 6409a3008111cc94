"""A kernel that is wrong by contract: an honest one with small changes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.kernels import BASELINE, DOT_BASELINE, IVF_BASELINE, IVF_SHIPPED, whole

HERE: Final = Path(__file__).parent
BASES: Final = {"scalar": BASELINE, "ivf_scalar": IVF_BASELINE, "ivf_shipped": IVF_SHIPPED} | {
    path.stem: whole(path.read_text()) for path in sorted(HERE.glob("bases/*.py"))
}
"""Honest kernels, by name."""
DOT_BASES: Final = {"dot scalar": DOT_BASELINE} | {
    f"dot {path.stem}": whole(path.read_text()) for path in sorted(HERE.glob("dot/*.py"))
}
"""Honest kernels of `pq_dot`, by name."""
KERNELS: Final = BASES | DOT_BASES


@dataclass(frozen=True)
class Mutant:
    """A base kernel and the pieces of its text that are replaced. why: the reason, where that is no bug."""

    family: str
    name: str
    base: str
    changes: tuple[tuple[str, str], ...] = ()
    why: str = ""

    @property
    def source(self) -> str:
        """The kernel's text. Raises ValueError unless each old piece is there exactly once."""
        text = "\n" + KERNELS[self.base]
        for old, new in self.changes:
            if text.count(old) != 1:
                raise ValueError(f"{self.name}: {text.count(old)} places in {self.base} have {old!r}")
            text = text.replace(old, new)
        return text.removeprefix("\n")
