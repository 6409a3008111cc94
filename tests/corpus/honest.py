"""Kernels of honest authors: every technique that the contract allows. None of them may ever be refused."""

from __future__ import annotations

from typing import Final

from tests.corpus.baseline import QUICK, SCALAR
from tests.kernels import SCAN, changed, whole

_HEAD: Final = whole("""
import numpy as np
from numba import njit

from pytest_lance_ar.targets.pq_l2.baseline import fill_table
from tests.parts import Table, insert, nearest
""")

ROW_MAJOR: Final = (
    _HEAD
    + '''
@njit
def scan(table, codes, distances):
    for n in range(codes.shape[0]):
        total = np.float32(0.0)
        for m in range(codes.shape[1]):
            total += table[m, codes[n, m]]
        distances[n] = total


class PqKernel(Table):
    """No pack_codes: the codes come as they are."""

    def probe_top_k(self, table, codes, k):
        distances = np.empty(len(codes), np.float32)
        scan(table, codes, distances)
        return nearest(distances, k)
'''
)

BLOCKED: Final = (
    _HEAD
    + """
BLOCK = 64


@njit
def scan(table, blocks, distances):
    # blocks: (number of blocks, M, 64)
    for b in range(blocks.shape[0]):
        total = np.zeros(BLOCK, np.float32)
        for m in range(blocks.shape[1]):
            entries, column = table[m], blocks[b, m]
            for n in range(BLOCK):
                total[n] += entries[column[n]]
        distances[b * BLOCK : (b + 1) * BLOCK] = total


class PqKernel(Table):
    def pack_codes(self, codes):
        count, num_sub_vectors = codes.shape
        padded = np.zeros((-(-count // BLOCK) * BLOCK, num_sub_vectors), np.uint8)
        padded[:count] = codes
        blocks = padded.reshape(-1, BLOCK, num_sub_vectors).transpose(0, 2, 1)
        return {"count": count, "blocks": np.ascontiguousarray(blocks)}

    def probe_top_k(self, table, codes, k):
        distances = np.empty(len(codes["blocks"]) * BLOCK, np.float32)
        scan(table, codes["blocks"], distances)
        return nearest(distances[: codes["count"]], k)
"""
)

EARLY_ABANDONING: Final = (
    _HEAD
    + """
@njit
def search(table, codes, ids, best):
    k = len(best)
    for n in range(codes.shape[0]):
        total = np.float32(0.0)
        for m in range(codes.shape[1]):
            total += table[m, codes[n, m]]
            if total >= best[k - 1]:  # entries are never negative
                break
        if total < best[k - 1]:
            insert(ids, best, n, total)


class PqKernel(Table):
    def probe_top_k(self, table, codes, k):
        n = min(k, len(codes))
        ids, best = np.full(n, -1, np.int64), np.full(n, np.inf, np.float32)
        if n:
            search(table, codes, ids, best)
        return ids, best
"""
)


def _bounded(kind: str, steps: int) -> str:
    """Pruning by lower bounds of quantised entries, each rounded down; what remains is scored exactly."""
    return (
        _HEAD
        + f"""
STEPS = {steps}


@njit
def quantise(table, low, small):
    # small[m, k] * step + low[m] <= table[m, k]: rounded down, and one step more for the rounding of the division.
    widest = np.float64(0.0)
    for m in range(table.shape[0]):
        low[m] = table[m].min()
        widest = max(widest, np.float64(table[m].max()) - low[m])
    step = widest / STEPS
    for m in range(table.shape[0]):
        for k in range(table.shape[1]):
            units = np.floor((np.float64(table[m, k]) - low[m]) / step) - 1 if step > 0 else 0.0
            small[m, k] = np.{kind}(max(units, 0.0))
    return step


@njit
def search(table, small, step, base, codes, ids, best):
    k = len(best)
    slack = 1e-5
    for n in range(codes.shape[0]):
        units = 0
        for m in range(codes.shape[1]):
            units += small[m, codes[n, m]]
        if (units * step + base) * (1 - slack) >= best[k - 1]:
            continue
        total = np.float32(0.0)
        for m in range(codes.shape[1]):
            total += table[m, codes[n, m]]
        if total < best[k - 1]:
            insert(ids, best, n, total)


class PqKernel(Table):
    def distance_table(self, query, out):
        super().distance_table(query, out)
        self.low = np.empty(out.shape[0])
        self.small = np.empty(out.shape, np.{kind})
        self.step = quantise(out, self.low, self.small)

    def probe_top_k(self, table, codes, k):
        n = min(k, len(codes))
        ids, best = np.full(n, -1, np.int64), np.full(n, np.inf, np.float32)
        if n:
            search(table, self.small, self.step, self.low.sum(), codes, ids, best)
        return ids, best
"""
    )


INTRINSIC: Final = changed(
    SCALAR,
    "import numpy as np\nfrom numba import njit\n",
    '''from __future__ import annotations

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

AVX2 = bool(llvm.get_host_cpu_features().get("avx2", False))


@intrinsic
def prefetch(typing_context, array, index):
    """Ask for the cache line of array[index]."""
    def codegen(context, builder, signature, arguments):
        array_type, index_type = signature.args
        view = context.make_array(array_type)(context, builder, arguments[0])
        pointer = cgutils.get_item_pointer(
            context, builder, array_type, view, [context.cast(builder, arguments[1], index_type, types.intp)]
        )
        address = builder.bitcast(pointer, cgutils.voidptr_t)
        i32 = ir.IntType(32)
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, i32, i32, i32]), "llvm.prefetch.p0"
        )
        builder.call(function, [address, ir.Constant(i32, 0), ir.Constant(i32, 3), ir.Constant(i32, 1)])
        return context.get_dummy_value()
    return types.void(array, index), codegen


@intrinsic
def add8(typing_context, a, b, at):
    """a[at : at + 8] += b[at : at + 8] as one vector of eight float32."""
    def codegen(context, builder, signature, arguments):
        vector = ir.VectorType(ir.FloatType(), 8)
        pointers = []
        for array_type, array in zip(signature.args[:2], arguments[:2]):
            view = context.make_array(array_type)(context, builder, array)
            pointer = cgutils.get_item_pointer(
                context, builder, array_type, view, [context.cast(builder, arguments[2], signature.args[2], types.intp)]
            )
            pointers.append(builder.bitcast(pointer, vector.as_pointer()))
        total = builder.fadd(builder.load(pointers[0], align=4), builder.load(pointers[1], align=4))
        builder.store(total, pointers[0], align=4)
        return context.get_dummy_value()
    return types.void(a, b, at), codegen
''',
    SCAN,
    """    count = codes_t.shape[1]
    part = np.empty(count, np.float32)
    for m in range(codes_t.shape[0]):
        entries, column = table[m], codes_t[m]
        for n in range(count):
            part[n] = entries[column[n]]
        if count:
            prefetch(part, 0)
        n = 0
        if AVX2:
            while n + 8 <= count:
                add8(distances, part, n)
                n += 8
        while n < count:
            distances[n] += part[n]
            n += 1
""",
)

STRUCTURED: Final = (
    _HEAD
    + '''
class PqKernel(Table):
    """Codes as records of a structured dtype, each with its id."""

    def pack_codes(self, codes):
        records = np.empty(len(codes), np.dtype([("id", np.int64), ("code", np.uint8, (codes.shape[1],))], align=True))
        records["id"], records["code"] = np.arange(len(codes)), codes
        return records

    def probe_top_k(self, table, codes, k):
        distances = np.zeros(len(codes), np.float32)
        for m in range(table.shape[0]):
            distances += table[m][codes["code"][:, m]]
        places, best = nearest(distances, k)
        return codes["id"][places], best
'''
)

OBJECTS: Final = (
    _HEAD
    + '''
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple


class Plan(NamedTuple):
    block: int


@lru_cache(maxsize=None)
def plan_of(num_sub_vectors, num_centroids):
    return Plan(4096 if num_sub_vectors > 32 else 16_384)


@dataclass(frozen=True)
class Packed:
    columns: tuple
    count: int


class PqKernel(Table):
    """A dataclass as the pack, a plan that depends on the shape alone, a partial as a method."""

    def __init__(self, shape, codebook):
        super().__init__(shape, codebook)
        self.plan = plan_of(shape.num_sub_vectors, shape.num_centroids)
        self.probe_top_k = partial(self.search, self.plan.block)

    def pack_codes(self, codes):
        print("packing", codes.shape)
        return Packed(tuple(np.ascontiguousarray(column) for column in codes.T), len(codes))

    def search(self, block, table, codes, k):
        distances = np.zeros(codes.count, np.float32)
        for start in range(0, codes.count, block):
            part = distances[start : start + block]
            for entries, column in zip(table, codes.columns):
                part += entries[column[start : start + block]]
        return nearest(distances, k)
'''
)

TUPLES: Final = changed(
    QUICK,
    "        return np.ascontiguousarray(codes.T)\n",
    "        return (np.ascontiguousarray(codes.T), len(codes), None)\n",
    "        num_sub_vectors, count = codes.shape\n",
    "        codes, count, _ = codes\n        num_sub_vectors = len(codes)\n",
)

PARALLEL: Final = changed(
    SCALAR,
    "@njit(nogil=True)\ndef scan",
    "@njit(parallel=True)\ndef scan",
    f"    distances[:] = np.float32(0.0)\n{SCAN}",
    """    for n in prange(codes_t.shape[1]):
        total = np.float32(0.0)
        for m in range(codes_t.shape[0]):
            total += table[m, codes_t[m, n]]
        distances[n] = total
""",
    "from numba import njit",
    "from numba import njit, prange",
)

PRECOMPILED: Final = changed(
    SCALAR,
    "np.ascontiguousarray(codes.T)",
    'np.array(codes.T, order="C")',
    "@njit(nogil=True)\ndef fill_table",
    "@njit(\"void(Array(float32, 1, 'C', readonly=True), Array(float32, 3, 'C', readonly=True), float32[:, ::1])\")"
    "\ndef fill_table",
    "@njit(nogil=True)\ndef scan",
    '@njit("void(float32[:, ::1], uint8[:, ::1], float32[::1])", cache=True)\ndef scan',
)
"""A compiled signature takes no read-only array, and an array that needs no copy stays one."""

TYPED_LISTS: Final = (
    _HEAD
    + """
from numba import objmode
from numba.typed import List


@njit
def scan(table, columns, distances):
    distances[:] = np.float32(0.0)
    for m in range(len(columns)):
        entries, column = table[m], columns[m]
        for n in range(column.shape[0]):
            distances[n] += entries[column[n]]
    with objmode(count="int64"):
        count = len(distances)
    return count


class PqKernel(Table):
    def pack_codes(self, codes):
        columns = List()
        for column in codes.T:
            columns.append(np.ascontiguousarray(column))
        return columns

    def probe_top_k(self, table, codes, k):
        distances = np.empty(len(codes[0]), np.float32)
        assert scan(table, codes, distances) == len(distances)
        return nearest(distances, k)
"""
)

LARGE: Final = changed(
    SCALAR,
    "        self.codebook = codebook\n",
    "        self.codebook = codebook\n        self.work = np.ones(25_000_000)  # 200 MB\n",
)

COUNTING: Final = (
    _HEAD
    + '''
class PqKernel(Table):
    """Keeps state between calls that no answer depends on, prints, and raises and catches."""

    calls = 0

    def probe_top_k(self, table, codes, k):
        PqKernel.calls += 1
        if self.calls % 100 == 0:
            print("another hundred", flush=True)
        try:
            raise KeyError(self.calls)
        except KeyError:
            pass
        distances = np.zeros(len(codes), np.float32)
        for m in range(table.shape[0]):
            distances += table[m].take(codes[:, m])
        return nearest(distances, k)
'''
)

TRANSPOSED_TABLE: Final = changed(
    SCALAR,
    "        fill_table(query, self.codebook, out)\n",
    "        out[:] = 0\n"
    "        parts = query.reshape(out.shape[0], -1)\n"
    "        for d in range(self.transposed.shape[1]):\n"
    "            difference = parts[:, d, None] - self.transposed[:, d]\n"
    "            out += difference * difference\n",
    "        self.codebook = codebook\n",
    "        self.codebook = codebook\n        self.transposed = np.ascontiguousarray(codebook.transpose(0, 2, 1))\n",
)

KERNELS: Final = {
    "plain numpy": QUICK,
    "transposed codes": SCALAR,
    "row-major codes, nothing packed": ROW_MAJOR,
    "blocked codes in a dict": BLOCKED,
    "transposed codebook": TRANSPOSED_TABLE,
    "early abandoning": EARLY_ABANDONING,
    "lower bounds in 8 bits": _bounded("uint8", 250),
    "lower bounds in 16 bits": _bounded("uint16", 65_000),
    "intrinsics": INTRINSIC,
    "structured dtype": STRUCTURED,
    "dataclass, lru_cache, partial, print": OBJECTS,
    "a tuple as the pack": TUPLES,
    "parallel=True on one core": PARALLEL,
    "explicit signatures, cache=True": PRECOMPILED,
    "typed lists, objmode": TYPED_LISTS,
    "200 MB of its own": LARGE,
    "state, print, exceptions": COUNTING,
}
