"""The modes of the processor's arithmetic, a thread's own: what a kernel sets there spoils its answers alone."""

from __future__ import annotations

from typing import Final

from tests.corpus.cheats.cheat import CORRECTNESS, DISCARD, INCONCLUSIVE, INCORRECT, duel

_BY_THE_LIBRARY: Final = """
libm = ctypes.CDLL("libm.so.6")

def set_modes(bits):
    # fenv_t of x86-64 has MXCSR in its last four bytes; of arm64, FPCR first.
    modes = (ctypes.c_uint32 * 8)()
    libm.fegetenv(modes)
    if os.uname().machine == "x86_64":
        modes[7] = 0x1F80 | bits
    else:
        modes[0] = (bits & 0x8000) << 9 | (bits & 0x6000) << 9
    libm.fesetenv(modes)

"""
_BY_INSTRUCTIONS: Final = """
from llvmlite import binding, ir
from numba import njit as compiled, types
from numba.extending import intrinsic

@intrinsic
def load_modes(typing_context, address):
    def build(context, builder, signature, arguments):
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(64)])
        builder.asm(kind, "ldmxcsr ($0)", "r,~{memory}", arguments, True)
        return context.get_dummy_value()
    return types.void(types.int64), build

binding.initialize_native_asmparser()
word = np.zeros(16, np.uint32)

@compiled
def load(address):
    load_modes(address)

def set_modes(bits):
    word[0] = 0x1F80 | bits
    load(word.ctypes.data)

set_modes(0)

"""
_FLUSH, _DOWN = 0x8040, 0x2000
"""Flush to zero and denormals are zero; round down."""


def _when_timed(bits: int) -> str:
    return f"""
class PqKernel(Honest):
    def distance_table(self, query, out):
        set_modes({bits})
        super().distance_table(query, out)
    def probe_top_k(self, table, codes, k):
        set_modes({bits})
        return super().probe_top_k(table, codes, k)
"""


CHEATS = (
    duel(
        "small_numbers_are_zero",
        "has what is denormal flushed to zero, from its import on",
        _BY_THE_LIBRARY + f"set_modes({_FLUSH})\n",
        INCORRECT,
        arguments=CORRECTNESS,
    ),
    duel(
        "rounds_down",
        "rounds down in every call, by the library's function",
        _BY_THE_LIBRARY + _when_timed(_DOWN),
        *(INCORRECT, DISCARD, INCONCLUSIVE),
    ),
    duel(
        "flushes_by_an_instruction",
        "flushes to zero and rounds down in every call, by compiled code",
        _BY_INSTRUCTIONS + _when_timed(_FLUSH | _DOWN),
        *(INCORRECT, DISCARD, INCONCLUSIVE),
    ),
)
