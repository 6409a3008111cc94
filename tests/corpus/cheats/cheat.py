"""What a cheat is, and what all cheats have at hand: the modules that the static check keeps from honest kernels."""

from __future__ import annotations

from dataclasses import dataclass, field
from textwrap import indent
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


def outputs():
    # (ids, distances) that the gate reads, of the driver's call that is being served.
    frame = sys._getframe()
    while frame.f_code.co_name != "call":
        frame = frame.f_back
    take = frame.f_locals["take"]
    cells = dict(zip(take.__code__.co_freevars, take.__closure__))
    return cells["ids_out"].cell_contents, cells["distances_out"].cell_contents


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


def children():
    # Of the gate: this process, its rival, and whatever else there is.
    gate, found = os.getppid(), []
    for entry in os.listdir("/proc"):
        try:
            with open(f"/proc/{entry}/stat") as stat:
                if int(stat.read().rpartition(")")[2].split()[1]) == gate:
                    found.append(int(entry))
        except (OSError, ValueError):
            pass
    return found


def siblings():
    return [child for child in attempt(children) or () if child != os.getpid()]

"""
"""Follows the kernel that a cheat wraps. No import in it is one that the static check refuses."""

SIGNAL_BY_PIPE: Final = """
fcntl = module("fcntl")

def shoot(other):
    reader, writer = os.pipe()
    fcntl.fcntl(reader, fcntl.F_SETOWN, other)
    fcntl.fcntl(reader, 10, 9)  # F_SETSIG
    fcntl.fcntl(reader, fcntl.F_SETFL, os.O_ASYNC)
    os.write(writer, b"x")

"""
"""Has the system itself send SIGKILL to another process."""

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


def when_timed(statements: str) -> str:
    """The text of a kernel that does this in every search that is timed, before it answers as it should."""
    block = indent(statements.strip("\n"), 12 * " ")
    return f"""
class PqKernel(Honest):
    def probe_top_k(self, table, codes, k):
        if timed(codes):
{block}
        return super().probe_top_k(table, codes, k)
"""


def answering(expression: str) -> str:
    """The text of a kernel that returns this instead of (ids, distances)."""
    return f"""
class PqKernel(Honest):
    def probe_top_k(self, table, codes, k):
        ids, distances = super().probe_top_k(table, codes, k)
        return {expression}
"""


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
