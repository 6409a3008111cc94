"""Where an answer is not the reference's, and in what way."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mismatch:
    """The first element of an answer that does not match the reference.

    What is wrong with the whole answer: rounding_only, all values are within 1e-6 of themselves; lossy, all are within
    what tables of 8 or 16 bits lose; missed, each distance is right for its id, but there are nearer vectors.
    allowed: the tolerance, where it is below 1e-4 because all values are small, and that alone is what fails.
    advice: what to do about it, in a sentence, where the gate's own on all these is not to the point.
    """

    what: str
    index: tuple[int, ...]
    expected: str
    got: str
    abs_error: float | None = None
    ulps: int | None = None
    rounding_only: bool = False
    lossy: bool = False
    missed: bool = False
    allowed: float | None = None
    advice: str = ""

    def __str__(self) -> str:
        place = f"[{', '.join(map(str, self.index))}]" if self.index else ""
        text = f"{self.what}{place}: expected {self.expected}, got {self.got}"
        if self.abs_error is not None:
            text += f", abs error {self.abs_error:.6g}"
        if self.ulps is not None:
            text += f", {self.ulps} ulps"
        if self.allowed is not None:
            text += f"; allowed is {self.allowed:.2g}, 1e-5 x the largest value of the answer"
        return text
