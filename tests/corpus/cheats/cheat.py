"""What a cheat is, and what all cheats have at hand: the modules that the static check keeps from honest kernels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from tests.corpus.baseline import QUICK, SCALAR, WRONG

REACH: Final = """
import typing

sys = typing.sys
os = sys.modules["os"]
ctypes = np.ctypeslib.ctypes
module = sys.modules["importlib"].import_module
libc = ctypes.CDLL(None, use_errno=True)
Honest = PqKernel


def gates(name):
    # The driver's own objects: nothing in this process is out of reach.
    return [o for o in sys.modules["gc"].get_objects() if type(o).__name__ == name]


def descriptors():
    # (requests, replies) of the loop that serves the gate.
    frame = sys._getframe()
    while frame.f_code.co_name != "serve":
        frame = frame.f_back
    return frame.f_locals["requests"], frame.f_locals["replies"]


def writable(array):
    # Another view of the same memory, without the flag.
    kind = ctypes.c_char * array.nbytes
    return np.frombuffer(kind.from_address(array.ctypes.data), array.dtype).reshape(array.shape)


def attempt(act):
    # What a wall refuses, a clever cheat does without.
    try:
        return act()
    except OSError:
        return None


def timed(codes):
    return 20_000 in np.shape(codes)

"""
"""Follows the kernel that a cheat wraps. No import in it is one that the static check refuses."""

DISCARD: Final = 1
INCORRECT: Final = 2
TIMEOUT: Final = 3
TAMPERED: Final = 10
INCONCLUSIVE: Final = 11

CORRECTNESS: Final = ("--lance-ar-phase=correctness",)
"""For what the suite must find out: nothing is prepared to be timed, and no row is written."""

NOT_BETTER: Final = frozenset({DISCARD, INCONCLUSIVE, TAMPERED})
"""Its answers are right, and the attack must gain nothing."""


@dataclass(frozen=True)
class Cheat:
    """One kernel that means harm.

    attacks: in one line, what it is after. ends: the exit statuses that are right for it. incumbent: what it is judged
    against where that is not the stored baseline; arguments: further ones of the gate.
    """

    name: str
    attacks: str
    kernel: str = field(repr=False)
    ends: frozenset[int]
    incumbent: str = field(default="", repr=False)
    arguments: tuple[str, ...] = ()


def around(base: str, text: str) -> str:
    """A cheat's source: the kernel that it wraps, its means, and itself."""
    return base + REACH + text.strip("\n") + "\n"


def wrong(name: str, attacks: str, text: str, *ends: int, arguments: tuple[str, ...] = CORRECTNESS) -> Cheat:
    """A kernel that answers zero, and does something about it."""
    return Cheat(name, attacks, around(WRONG, text), frozenset(ends or (INCORRECT,)), arguments=arguments)


def quick(name: str, attacks: str, text: str, *ends: int, base: str = QUICK) -> Cheat:
    """A kernel that would be right if it did nothing else, and is found out by the suite."""
    return Cheat(name, attacks, around(base, text), frozenset(ends or (INCORRECT,)), arguments=CORRECTNESS)


def duel(name: str, attacks: str, text: str, *ends: int, arguments: tuple[str, ...] = (), incumbent: str = "") -> Cheat:
    """A kernel that passes the suite, and cheats where it is timed."""
    return Cheat(
        name,
        attacks,
        around(SCALAR, text),
        frozenset(ends) or NOT_BETTER,
        incumbent=around(SCALAR, incumbent) if incumbent else "",
        arguments=arguments,
    )
