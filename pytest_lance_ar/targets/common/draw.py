"""Sizes drawn from a seed: log-uniform, with corners more often, and spread or dealt over the workloads of a family."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import numpy as np

from pytest_lance_ar.targets.common.inputs import Stream

T = TypeVar("T")
NOTHING: Final[Mapping[int, Any]] = {}


class Draw:
    """Sizes from one stream."""

    def __init__(self, seed: int, *tags: object) -> None:
        self._stream = Stream(seed, "domain", *tags)

    def below(self, bound: int) -> int:
        return int(self._stream.below(bound, 1)[0])

    def share(self) -> float:
        return float(self._stream.u32(1)[0]) / 2**32

    def chance(self, share: float) -> bool:
        return self.share() < share

    def log_uniform(self, low: int, high: int) -> int:
        """An integer in [low, high], each octave as likely as every other."""
        return min(int(low * ((high + 1) / low) ** self.share()), high)

    def size(self, low: int, high: int) -> int:
        """An integer in [low, high], corners more often: its ends, powers of two and their neighbours, primes."""
        kind = self.share()
        if kind < 0.1:
            return high if self.chance(0.6) else low
        value = self.log_uniform(low, high)
        if kind < 0.35:
            power = 1 << max(value.bit_length() - self.below(2), 0)
            return min(max(power + self.below(3) - 1, low), high)
        if kind < 0.45:
            return next((n for n in range(value, low - 1, -1) if _is_prime(n)), value)
        return value

    def one_of(self, choices: tuple[str, ...]) -> str:
        return choices[self.below(len(choices))]

    def k(self, n: int) -> int:
        """1 to a little above N, the neighbourhood of N more often."""
        if self.chance(0.2):
            return max(n + self.below(3) - 1, 1)
        return self.size(1, max(n, 1)) if self.chance(0.6) else self.log_uniform(1, 64)


def spread(bounds: tuple[int, int], count: int, stream: Stream) -> list[float]:
    """Log-uniform on the bounds, one value in each of `count` equal parts."""
    low, high = bounds
    places = (np.arange(count) + (stream.uniform(count) + 1.0) / 2.0) / count
    return [low * (high / low) ** float(place) for place in places]


def dealt(deck: Sequence[T], stream: Stream, wanted: Mapping[int, Callable[[T], bool]] = NOTHING) -> list[T]:
    """The deck shuffled, with a card that fits at every place that wants one."""
    left = [deck[i] for i in stream.distinct(len(deck), len(deck))]
    settled = {place: left.pop(next(i for i, card in enumerate(left) if fits(card))) for place, fits in wanted.items()}
    return [settled[place] if place in settled else left.pop() for place in range(len(deck))]


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, math.isqrt(number) + 1))
