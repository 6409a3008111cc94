"""Equivalence with the reference: pure functions from expected and given arrays to a `Mismatch`, or None.

Distances must agree within MAX_ABS_ERR, and within MAX_SHARE of the largest value of the same reference answer, so that
precision that is given up shows at every scale. Top-K is tie-tolerant: ids may differ from the reference's only where
their reference distances tie within the same two tolerances. NaN, infinity, a wrong dtype, shape or length never match.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pytest_lance_ar.targets.common.inputs import Float32
from pytest_lance_ar.targets.mismatch import Mismatch

MAX_ABS_ERR: Final = 1e-4
TOPK_DIST_TOL: Final = 1e-4
MAX_SHARE: Final = 1e-5
"""Of the largest |value| of the reference's answer: its table, or its n distances."""
ROUNDING_RTOL: Final = 1e-6
"""Errors below this share of the value are what another order of summation, or FMA, explains."""
LOSSY_RTOL: Final = 2.0**-7
"""Half a unit in the last place of bfloat16, and a sum's worth more; float16 is finer."""
LOSSY_STEP: Final = 1 / 250
"""One step of an 8-bit table, as a share of the largest value."""
FLOAT16_MAX: Final = 65504.0


def compare_array(what: str, expected: Float32, got: NDArray[Any], rtol: float = 0.0) -> Mismatch | None:
    """Compare an array with the reference's. Both float32, of one shape. what: which method filled it."""
    return _wrong_array(what, got, np.float32, expected.shape) or _first_difference(
        what, expected, got, _tolerance(MAX_ABS_ERR, expected), rtol
    )


@dataclass(frozen=True)
class Nearest:
    """What the reference says of `count` vectors: the n least distances, float32 (n,), ascending, and any others that
    it is asked for: ids (n,) -> float32 (n,)."""

    count: int
    least: Float32
    of: Callable[[NDArray[Any]], Float32]

    @classmethod
    def among(cls, distances: Float32, k: int) -> Nearest:
        """What the distances of all vectors say: float32 (N,)."""
        return cls(len(distances), least(distances, k), distances.__getitem__)


def least(distances: Float32, k: int) -> Float32:
    """The min(k, N) least of N distances, ascending."""
    n = min(k, len(distances))
    return np.sort(np.partition(distances, n - 1)[:n]) if n else distances[:0]


def compare_top_k(
    reference: Float32,
    k: int,
    ids: NDArray[Any],
    distances: NDArray[Any],
    rtol: float = 0.0,
    *,
    what: str = "probe_top_k",
) -> Mismatch | None:
    """Compare a top-K answer with the reference distances of all N vectors.

    reference: float32 (N,); ids: int64 (n,); distances: float32 (n,), with n = min(k, N). what: the method's name.
    """
    return compare_nearest(Nearest.among(reference, k), ids, distances, rtol, what=what)


def compare_nearest(
    reference: Nearest, ids: NDArray[Any], distances: NDArray[Any], rtol: float = 0.0, *, what: str = "probe_top_k"
) -> Mismatch | None:
    """As `compare_top_k`, where the reference's distances of all vectors are not at hand."""
    n = len(reference.least)
    wrong = _wrong_array(f"{what} ids", ids, np.int64, (n,)) or _wrong_array(
        f"{what} distances", distances, np.float32, (n,)
    )
    if wrong or n == 0:
        return wrong
    if rtol == 0 and _is_exact(reference, ids, distances):
        return None

    outside = (ids < 0) | (ids >= reference.count)
    if outside.any():
        i = int(np.argmax(outside))
        return Mismatch(f"{what} ids", (i,), f"an id in [0, {reference.count})", str(ids[i]))
    _, first, number = np.unique(ids, return_index=True, return_inverse=True)
    repeated = first[number] < np.arange(n)
    if repeated.any():
        i = int(np.argmax(repeated))
        return Mismatch(f"{what} ids", (i,), "every id once", f"{ids[i]} a second time")

    wrong = _wrong_values(what, reference, ids, distances, rtol)
    if wrong and wrong.rounding_only:
        # Rounding explains it only if it explains the whole answer.
        explained = _wrong_values(what, reference, ids, distances, ROUNDING_RTOL) is None
        return replace(wrong, rounding_only=explained)
    return wrong


def _is_exact(reference: Nearest, ids: NDArray[Any], distances: NDArray[Any]) -> bool:
    """Whether an answer is the reference's own but for the order of equal distances: most are, and it costs little."""
    order = np.sort(ids)
    if order[0] < 0 or order[-1] >= reference.count or (order[1:] == order[:-1]).any():
        return False
    exact = np.array_equal(reference.least, distances) and np.array_equal(reference.of(ids), distances)
    return exact and bool(np.isfinite(distances[[0, -1]]).all())


def _wrong_values(
    what: str, reference: Nearest, ids: NDArray[Any], distances: NDArray[Any], rtol: float
) -> Mismatch | None:
    what = f"{what} distances"
    atol = _tolerance(TOPK_DIST_TOL, reference.least)
    wrong = _first_difference(what, reference.of(ids), distances, atol, rtol, "the reference distance of the id")
    if wrong:
        return wrong
    falling = np.diff(distances) < 0
    if falling.any():
        i = int(np.argmax(falling)) + 1
        return Mismatch(what, (i,), f"ascending order, at least {distances[i - 1]!s}", str(distances[i]))
    wrong = _first_difference(what, reference.least, distances, atol, rtol, "the reference's distance at this place")
    return replace(wrong, missed=True) if wrong else None


def ulps_apart(a: np.float32, b: np.float32) -> int | None:
    """How many float32 values lie between two finite ones; None when either is not finite."""
    if not (np.isfinite(a) and np.isfinite(b)):
        return None
    # The bits of a float, read as sign and magnitude, count the floats from zero.
    first, second = (
        -int(bits & 0x7FFFFFFF) if bits >> 31 else int(bits)
        for bits in np.array([a, b], np.float32).view(np.uint32).tolist()
    )
    return abs(first - second)


def _wrong_array(what: str, got: Any, dtype: type, shape: tuple[int, ...]) -> Mismatch | None:
    if type(got) is np.ndarray and got.dtype == dtype and got.shape == shape:
        return None
    wanted = f"a numpy array of {np.dtype(dtype)} with shape {shape}"
    given = f"{got.dtype} with shape {got.shape}" if type(got) is np.ndarray else f"a {type(got).__name__}"
    return Mismatch(what, (), wanted, given)


def _tolerance(absolute: float, answer: Float32) -> float:
    """The smaller of the two: `absolute`, and the share of the answer's largest value."""
    return min(absolute, MAX_SHARE * float(np.abs(answer).max()))


def _first_difference(
    what: str, expected: Float32, got: Float32, atol: float, rtol: float, meaning: str = ""
) -> Mismatch | None:
    if np.array_equal(expected, got) and np.isfinite(expected).all():  # the usual answer, at a fifth of the cost
        return None
    # float64 holds the difference of two float32 values exactly, or nearly so: the check adds no error of its own.
    exact = expected.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(got.astype(np.float64) - exact)
        finite = np.isfinite(got) & np.isfinite(expected)
        within = finite & (error <= np.maximum(atol, rtol * np.abs(exact)))
        rounding = finite & (error <= np.maximum(atol, ROUNDING_RTOL * np.abs(exact)))
        coarse = error <= LOSSY_RTOL * np.abs(exact) + LOSSY_STEP * np.abs(exact).max()
    if within.all():
        return None
    index = tuple(int(i) for i in np.unravel_index(int(np.argmin(within)), within.shape))
    return Mismatch(
        what=what,
        index=index,
        expected=f"{expected[index]!s}" + (f" ({meaning})" if meaning else ""),
        got=str(got[index]),
        abs_error=float(error[index]),
        ulps=ulps_apart(expected[index], got[index]),
        allowed=atol if error[index] <= MAX_ABS_ERR else None,
        rounding_only=bool(rounding.all()),
        lossy=bool(np.where(finite, coarse, np.abs(exact) >= FLOAT16_MAX).all()),
    )
