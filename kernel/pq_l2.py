"""The kernel under experiment: asymmetric L2 search over product-quantized vectors.

This is the one file to edit. It may import numpy, numba, llvmlite, math, typing, functools, dataclasses, __future__
and `PqShape`; nothing else. `program.md` says how the experiment runs.

Asymmetric distance computation (ADC) [1]: a vector is stored as M one-byte codes, each the index of a centroid. For a
query, `distance_table` holds the squared L2 distance of each of its M sub-vectors to each of the K centroids, and the
distance to a stored vector is the sum of M table entries, one per code.

How this kernel finds the k nearest, exactly. The figures: time / that of the scalar baseline, AVX2, N = 20,000:

1. Where the vectors form clusters, they are stored list by list. A list is skipped if the triangle inequality says
   that no member can be among the k nearest: 0.06 on clustered data.
2. Of what is left, byte shuffles look up 64 lanes at a time in tables so small that they stay in registers [2, 3, 4].
   They hold lower bounds: entries rounded down to 4 or 6 bits and, where that is enough, one entry for a group of near
   centroids (their minimum). A vector whose sum of bounds exceeds the k-th distance so far is ruled out: 0.18 to 0.37
   on uniform and sparse data.
3. Distances are summed from the float32 table in the reference's order, so they agree bit for bit: eight rows at once,
   CHUNK sub-vectors after CHUNK sub-vectors, 0.6 to 0.7 where all are summed. A query that finds, after TRIAL rows,
   that bounds rule out too little goes on like that; so do queries for many of few vectors.
4. Those nearer than the limit are appended to a buffer, which a quickselect tidies up when it is full. For k > FEW the
   limit is guessed from a sample, and all is done again should the guess have been too low: 0.2 to 0.65 for k = 1,000,
   where a heap takes 0.65 to 1.

`pack_codes` decides how fine the bounds are, and whether lists and bounds pay, by trying on sampled vectors.

[1] Jegou, Douze & Schmid, "Product Quantization for Nearest Neighbor Search", TPAMI 2011: ADC and IVFADC.
[2] Andre, Kermarrec & Le Scouarnec, "Cache locality is not enough: High-Performance Nearest Neighbor Search with
    Product Quantization Fast Scan", VLDB 2015: small tables of minima in SIMD registers, lower bounds, pruning.
[3] Andre, Kermarrec & Le Scouarnec, "Quicker ADC", TPAMI 2019; faiss's 4-bit `IndexPQFastScan`: codes in blocks.
[4] Blalock & Guttag, "Bolt", KDD 2017: tables quantised to bytes with one scale for all sub-vectors.
[5] Arthur & Vassilvitskii, "k-means++", SODA 2007; Elkan, "Using the Triangle Inequality to Accelerate k-Means", ICML
    2003.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from llvmlite import binding, ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np import arrayobj
from numpy.typing import NDArray

from pytest_lance_ar import PqShape

outer = njit(error_model="numpy", no_cfunc_wrapper=True)
inner = njit(error_model="numpy", no_cfunc_wrapper=True, no_cpython_wrapper=True)
"""Called from compiled code alone: without what calls from Python need, it is compiled in half the time."""
roughly = njit(error_model="numpy", no_cfunc_wrapper=True, no_cpython_wrapper=True, fastmath={"nnan", "nsz", "reassoc"})
"""Sums in any order: no float of these is a returned distance."""

# ---- What this CPU can look up, and what that costs ----------------------------------------------------------------

LANES: Final = 64
"""Vectors in a block: what is looked up at a time, in as many registers as that takes."""


def host_shuffle() -> str:
    """How bytes are looked up on this CPU; "" where that is not known: then all distances are summed."""
    try:
        features = dict(binding.get_host_cpu_features())
    except RuntimeError:
        features = {}
    if binding.get_process_triple().partition("-")[0] in ("aarch64", "arm64"):
        return "neon"
    if features.get("avx512vbmi") and features.get("avx512bw"):
        return "vbmi"
    return next((name for name in ("avx512bw", "avx2", "ssse3") if features.get(name)), "")


SHUFFLE: Final = host_shuffle()
PSHUFB: Final = {
    "avx512bw": (64, "llvm.x86.avx512.pshuf.b.512"),
    "avx2": (32, "llvm.x86.avx2.pshuf.b"),
    "ssse3": (16, "llvm.x86.ssse3.pshuf.b.128"),
}
"""Bytes of a register, and the instruction that looks up 16 bytes in every 16 of them."""
DIFFERENCE: Final = 16 if SHUFFLE in PSHUFB else 256
"""An entry is stored as the difference to the one so many places before: see `look_up`."""


@dataclass(frozen=True)
class Kind:
    """How a sub-vector's bounds are stored: one entry for each group of centroids, of a byte or of 4 bits."""

    groups: int
    nibbles: bool
    cost: float
    """About how many nanoseconds it takes to sweep over a code."""
    reaches: tuple[float, ...]
    """The largest entry stands for so many times the mean; what is larger is clipped, which keeps it a bound."""

    @property
    def table_bytes(self) -> int:
        return self.groups // 2 if self.nibbles else self.groups

    @property
    def top(self) -> int:
        """The largest entry."""
        return 15 if self.nibbles else 63

    @property
    def run(self) -> int:
        """Sub-vectors whose entries add up to less than 256."""
        return 8 if self.nibbles else 4


KINDS: Final = (
    (
        Kind(32, False, 0.025, (2.5, 5.0)),
        Kind(64, False, 0.045, (2.5, 5.0)),
        Kind(128, True, 0.05, (1.75, 4.0)),
        Kind(256, True, 0.085, (1.5, 2.5, 4.0)),
    )
    if SHUFFLE in PSHUFB
    else (Kind(64, False, 0.03, (2.5, 5.0)), Kind(128, False, 0.036, (2.5, 5.0)), Kind(256, False, 0.05, (2.5, 5.0)))
)
GROUPS: Final = tuple(kind.groups for kind in KINDS)
NIBBLES: Final = tuple(kind.nibbles for kind in KINDS)
RUNS: Final = tuple(kind.run for kind in KINDS)
TOPS: Final = tuple(kind.top for kind in KINDS)
TABLE_BYTES: Final = tuple(kind.table_bytes for kind in KINDS)
SCORED_NS: Final = (4.0, 0.6)
"""What the exact distance of a row that bounds leave over costs, and for every code, about."""
SUMMED_NS: Final = (0.5, 0.35)
"""The same of a row where all are summed."""

AT_ONCE: Final = 8
"""Rows whose distances are summed together."""
CHUNK: Final = 16
"""Sub-vectors whose table rows (16 KiB) stay in the L1 cache while the distances of many rows advance."""

# ---- SIMD, in LLVM's own vector types: only the byte shuffle differs between CPUs -----------------------------------

I8, I32, I64, F32 = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.FloatType()
QUARTER = ir.VectorType(I8, 16)
BYTES = ir.VectorType(I8, LANES)
WORDS = ir.VectorType(ir.IntType(16), LANES // 2)


def const(value: int) -> Any:
    return ir.Constant(I64, value)


def splat(vector: Any, value: int) -> Any:
    return ir.Constant(vector, [value] * vector.count)


def pick(builder: Any, a: Any, b: Any, lanes: list[int]) -> Any:
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, len(lanes)), lanes))


def call(builder: Any, name: str, vector: Any, *args: Any) -> Any:
    """An intrinsic of LLVM that returns such a vector."""
    function = ir.FunctionType(vector, [arg.type for arg in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, function, name), args)


def in_parts(builder: Any, width: int, function: Any, vector: Any) -> Any:
    """function(part) for every `width` bytes of 64, joined."""
    parts = [function(pick(builder, vector, vector, [*range(at, at + width)])) for at in range(0, LANES, width)]
    while len(parts) > 1:
        lanes = [*range(2 * parts[0].type.count)]
        parts = [pick(builder, a, b, lanes) for a, b in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


def is_negative(builder: Any, vector: Any) -> Any:
    return builder.icmp_signed("<", vector, splat(vector.type, 0))


def address(context: Any, builder: Any, array_type: Any, array: Any, byte: Any) -> Any:
    """A pointer to a byte of an array."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(builder.bitcast(data, I8.as_pointer()), [byte])


def load(builder: Any, pointer: Any, at: Any, kind: Any) -> Any:
    """The vector, or number, that starts `at` bytes behind a pointer to bytes."""
    return builder.load(builder.bitcast(builder.gep(pointer, [at]), kind.as_pointer()), align=1)


def look_up(builder: Any, kind: Kind, table: Any, code: Any) -> Any:
    """The entries of 64 codes. table: a pointer to the small table of their sub-vector."""

    def registers(vector: Any) -> list[Any]:
        return [load(builder, table, const(at), vector) for at in range(0, kind.table_bytes, vector.count)]

    if SHUFFLE == "vbmi":  # 64 bytes a register, one or two of them; bit 7 of the code chooses between two pairs
        rows = registers(BYTES)
        if len(rows) == 1:
            return call(builder, "llvm.x86.avx512.permvar.qi.512", BYTES, rows[0], code)
        name = "llvm.x86.avx512.vpermi2var.qi.512"
        pairs = [call(builder, name, BYTES, a, code, b) for a, b in zip(rows[::2], rows[1::2], strict=True)]
        return pairs[0] if len(pairs) == 1 else builder.select(is_negative(builder, code), pairs[1], pairs[0])

    entry, rows = splat(BYTES, 0), registers(QUARTER)
    if not SHUFFLE:
        return entry  # compiled, but never called
    if SHUFFLE == "neon":  # 64 bytes in four registers; an index beyond them gives 0
        for i in range(0, len(rows), 4):

            def tbl(part: Any, four: list[Any] = rows[i : i + 4]) -> Any:
                return call(builder, "llvm.aarch64.neon.tbl4.v16i8", QUARTER, *four, part)

            entry = builder.add(entry, in_parts(builder, 16, tbl, builder.sub(code, splat(BYTES, 16 * i))))
        return entry

    width, name = PSHUFB[SHUFFLE]
    index = builder.and_(code, splat(BYTES, kind.table_bytes - 1))
    for i, row in enumerate(rows):
        # 16 bytes a register. Each holds differences to the one before: index - 16 i is negative, so that its bit 7
        # is set and the shuffle gives 0, exactly in the registers behind the one that the code belongs to.
        repeated = pick(builder, row, row, [*range(16)] * (width // 16))

        def pshufb(part: Any, register: Any = repeated) -> Any:
            return call(builder, name, register.type, register, part)

        entry = builder.add(entry, in_parts(builder, width, pshufb, builder.sub(index, splat(BYTES, 16 * i))))
    if kind.nibbles:  # bit 7 of the code says which
        high = builder.bitcast(builder.lshr(builder.bitcast(entry, WORDS), splat(WORDS, 4)), BYTES)
        entry = builder.and_(builder.select(is_negative(builder, code), high, entry), splat(BYTES, 15))
    return entry


def block_bounds(kind: Kind) -> Any:
    """Compile-time factory: the function that sums the bounds of one block, for one kind."""

    @intrinsic
    def block(_context, packed, tables, sub_vectors, number, sums, at):
        """sums[at : at + 64] = the sums of the entries of every code of block `number`, even lanes before odd ones.

        sub_vectors: M, padded to a multiple of kind.run. A sum is taken modulo 65,536, which keeps it a bound.
        """

        def generate(context, builder, signature, args):
            packed, tables, sub_vectors, number, sums, at = args
            kinds = signature.args
            start = builder.mul(builder.mul(number, sub_vectors), const(LANES))
            codes = address(context, builder, kinds[0], packed, start)
            table = address(context, builder, kinds[1], tables, const(0))
            # u16 sums of (both bytes as one number, its high byte): the low byte's sum is their difference.
            totals = [cgutils.alloca_once_value(builder, splat(WORDS, 0)) for _ in range(2)]
            with cgutils.for_range(builder, builder.sdiv(sub_vectors, const(kind.run))) as loop:
                run_sum = splat(BYTES, 0)
                for i in range(kind.run):
                    m = builder.add(builder.mul(loop.index, const(kind.run)), const(i))
                    code = load(builder, codes, builder.mul(m, const(LANES)), BYTES)
                    row = builder.gep(table, [builder.mul(m, const(kind.table_bytes))])
                    run_sum = builder.add(run_sum, look_up(builder, kind, row, code))
                words = builder.bitcast(run_sum, WORDS)
                for total, term in zip(totals, (words, builder.lshr(words, splat(WORDS, 8))), strict=True):
                    builder.store(builder.add(builder.load(total), term), total)

            both, odd = map(builder.load, totals)
            even = builder.sub(both, builder.shl(odd, splat(WORDS, 8)))
            for parity, total in enumerate((even, odd)):
                byte = builder.add(builder.mul(at, const(2)), const(LANES * parity))
                to = address(context, builder, kinds[4], sums, byte)
                builder.store(total, builder.bitcast(to, WORDS.as_pointer()), align=1)
            return context.get_dummy_value()

        return types.void(packed, tables, types.intp, types.intp, sums, types.intp), generate

    return block


@intrinsic
def lanes_within(_context, sums, at, limit):
    """Bit n of the result: lane n of the 64 sums from `at` on is <= limit."""

    def generate(context, builder, signature, args):
        sums, at, limit = args
        limits = builder.insert_element(splat(WORDS, 0), limit, ir.Constant(I32, 0))
        limits = pick(builder, limits, limits, [0] * WORDS.count)
        start = address(context, builder, signature.args[0], sums, builder.mul(at, const(2)))
        both = splat(WORDS, 0)
        for parity, byte in enumerate((0x00FF, 0xFF00)):
            part = load(builder, start, const(LANES * parity), WORDS)
            within = builder.sext(builder.icmp_unsigned("<=", part, limits), WORDS)
            both = builder.or_(both, builder.and_(within, splat(WORDS, byte)))
        return builder.bitcast(is_negative(builder, builder.bitcast(both, BYTES)), I64)

    return types.uint64(sums, types.intp, types.uint16), generate


@intrinsic
def lowest_bit(_context, bits):
    """The position of the lowest bit that is set."""

    def generate(_context, builder, _signature, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


@intrinsic
def prefetch(_context, array, byte):
    """Ask for the cache line of a byte of an array."""

    def generate(context, builder, signature, args):
        at = address(context, builder, signature.args[0], *args)
        kind = ir.FunctionType(ir.VoidType(), [at.type, I32, I32, I32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        read, keep, data = (ir.Constant(I32, number) for number in (0, 3, 1))
        builder.call(function, [at, read, keep, data])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


@intrinsic
def lanes_below(_context, bits, at, limit):
    """Bit n of the result: bits[at + n] < limit, n < 16. Both as int32."""

    def generate(context, builder, signature, args):
        bits, at, limit = args
        vector = ir.VectorType(I32, 16)
        limits = builder.insert_element(splat(vector, 0), limit, ir.Constant(I32, 0))
        limits = pick(builder, limits, limits, [0] * 16)
        start = address(context, builder, signature.args[0], bits, builder.mul(at, const(4)))
        below = builder.icmp_signed("<", load(builder, start, const(0), vector), limits)
        return builder.zext(builder.bitcast(below, ir.IntType(16)), I64)

    return types.uint64(bits, types.intp, types.int32), generate


def entry_sums(scattered: bool) -> Any:
    """Compile-time factory: the function that adds up entries of AT_ONCE rows."""

    @intrinsic
    def add_entries(_context, entries, first, rows, start, width, positions, at, distances, to):
        """Add `width` entries, the first of them of sub-vector `first`, to each of distances[to : to + AT_ONCE].

        Row p's codes are `width` bytes from start + width * p on. Rows: positions[at : at + AT_ONCE] if scattered, else
        at, at + 1, ... entries: float32 (M, 256), contiguous: the compiler knows how far apart its rows are. Eight
        codes come in one load and eight rows advance together, so a code costs its extraction and one addition.
        """

        def generate(context, builder, signature, args):
            entries, first, rows, start, width, positions, at, distances, to = args
            kinds = signature.args
            out = address(context, builder, kinds[7], distances, builder.mul(to, const(4)))
            which = address(context, builder, kinds[5], positions, builder.mul(at, const(4)))
            codes = address(context, builder, kinds[2], rows, start)
            table = address(context, builder, kinds[0], entries, builder.mul(first, const(1024)))
            is_first = builder.icmp_signed("==", first, const(0))
            row, totals = [], []
            for i in range(AT_ONCE):
                position = builder.add(at, const(i))
                if scattered:
                    position = builder.zext(load(builder, which, const(4 * i), I32), I64)
                row.append(builder.gep(codes, [builder.mul(position, width)]))
                yet = builder.select(is_first, ir.Constant(F32, 0.0), load(builder, out, const(4 * i), F32))
                totals.append(cgutils.alloca_once_value(builder, yet))

            def add(total, table, code):
                entry = builder.load(builder.gep(builder.bitcast(table, F32.as_pointer()), [code]), align=4)
                return builder.fadd(total, entry)

            words = builder.sdiv(width, const(8))
            with cgutils.for_range(builder, words) as loop:
                here = builder.gep(table, [builder.mul(loop.index, const(8 * 1024))])
                byte = builder.mul(loop.index, const(8))
                for codes, total in zip(row, totals, strict=True):
                    word, value = load(builder, codes, byte, I64), builder.load(total)
                    for j in range(8):
                        code = builder.and_(builder.lshr(word, const(8 * j)), const(255))
                        value = add(value, builder.gep(here, [const(1024 * j)]), code)
                    builder.store(value, total)
            done = builder.mul(words, const(8))
            with cgutils.for_range(builder, builder.sub(width, done)) as loop:
                m = builder.add(done, loop.index)
                here = builder.gep(table, [builder.mul(m, const(1024))])
                for codes, total in zip(row, totals, strict=True):
                    code = builder.zext(load(builder, codes, m, I8), I64)
                    builder.store(add(builder.load(total), here, code), total)
            for i, total in enumerate(totals):
                place = builder.bitcast(builder.gep(out, [const(4 * i)]), F32.as_pointer())
                builder.store(builder.load(total), place)
            return context.get_dummy_value()

        number = types.intp
        return types.void(entries, number, rows, number, number, positions, number, distances, number), generate

    return add_entries


# ---- The arrays of a query -------------------------------------------------------------------------------------------

KINDS_OF: Final = {
    "SETTINGS": types.float64, "PACKED": types.uint8, "ROWS": types.uint8, "ROW_IDS": types.int32,
    "LEAVES": types.uint8, "STARTS": types.int64, "CENTERS": types.uint8, "RADII": types.float64,
    "ENTRIES": types.float32, "VALUES": types.float32, "LOWS": types.float32, "RAW": types.uint8,
    "TABLES": types.uint8, "SUMS": types.uint16, "POSITIONS": types.int32, "DISTANCES": types.float32,
    "TO_CENTER": types.float32, "SAMPLED": types.int32, "HISTOGRAM": types.int64,
}  # fmt: skip
"""See `Packed`."""
PARTS: Final = len(KINDS_OF)
(
    SETTINGS, PACKED, ROWS, ROW_IDS, LEAVES, STARTS, CENTERS, RADII,
    ENTRIES, VALUES, LOWS, RAW, TABLES, SUMS, POSITIONS, DISTANCES, TO_CENTER, SAMPLED, HISTOGRAM,
) = range(PARTS)  # fmt: skip


@intrinsic
def bits_of(_context, floats):
    """The same memory as int32: floats that are not negative order as these do, and their minimum is SIMD."""
    kind = types.Array(types.int32, floats.ndim, "C")

    def generate(context, builder, signature, args):
        source = context.make_array(signature.args[0])(context, builder, args[0])
        array = context.make_array(kind)(context, builder)
        data = builder.bitcast(source.data, array.data.type)
        arrayobj.populate_array(
            array, data, source.shape, source.strides, source.itemsize, source.meminfo, source.parent
        )
        return arrayobj.impl_ret_borrowed(context, builder, kind, array._getvalue())

    return kind(floats), generate


@intrinsic(prefer_literal=True)
def part(_context, layout, number):
    """One of the arrays that `Packed` names. Views and slices would take seconds to compile."""
    kind = types.Array([*KINDS_OF.values()][number.literal_value], 1 + (number.literal_value in (ENTRIES, VALUES)), "C")

    def generate(context, builder, signature, args):
        array = context.make_array(signature.return_type)(context, builder)
        row = context.make_array(signature.args[0])(context, builder, args[0]).data
        at, size = (builder.load(builder.gep(row, [const(2 * signature.args[1].literal_value + i)])) for i in range(2))
        item = context.get_abi_sizeof(array.data.type.pointee)
        columns = [const(256)] if kind.ndim == 2 else []
        shape = [builder.sdiv(size, const(256)), *columns] if columns else [size]
        strides = [const(256 * item), const(item)] if columns else [const(item)]
        arrayobj.populate_array(
            array,
            builder.inttoptr(at, array.data.type),
            shape,
            strides,
            const(item),
            cgutils.get_null_value(array.meminfo.type),
        )
        return array._getvalue()

    return kind(layout, number), generate


# ---- The table ------------------------------------------------------------------------------------------------------


@outer
def fill_table(query, codebook_t, out):
    """out[m, k] = squared L2 distance of sub-vector m of the query to centroid k. codebook_t: (M, dsub, K).

    The loops over k become SIMD; each sum still runs over d in order.
    """
    num_sub_vectors, dsub, num_centroids = codebook_t.shape
    for m in range(num_sub_vectors):
        q, d = m * dsub, 0
        if dsub >= 8:  # most are: without reading `out` again
            q0, q1, q2, q3 = query[q], query[q + 1], query[q + 2], query[q + 3]
            q4, q5, q6, q7 = query[q + 4], query[q + 5], query[q + 6], query[q + 7]
            for k in range(num_centroids):
                e0, e1 = q0 - codebook_t[m, 0, k], q1 - codebook_t[m, 1, k]
                e2, e3 = q2 - codebook_t[m, 2, k], q3 - codebook_t[m, 3, k]
                e4, e5 = q4 - codebook_t[m, 4, k], q5 - codebook_t[m, 5, k]
                e6, e7 = q6 - codebook_t[m, 6, k], q7 - codebook_t[m, 7, k]
                first_half = ((e0 * e0 + e1 * e1) + e2 * e2) + e3 * e3
                out[m, k] = (((first_half + e4 * e4) + e5 * e5) + e6 * e6) + e7 * e7
            d = 8
        else:
            for k in range(num_centroids):
                out[m, k] = np.float32(0.0)
        while d + 4 <= dsub:
            q0, q1, q2, q3 = query[q + d], query[q + d + 1], query[q + d + 2], query[q + d + 3]
            for k in range(num_centroids):
                e0, e1 = q0 - codebook_t[m, d, k], q1 - codebook_t[m, d + 1, k]
                e2, e3 = q2 - codebook_t[m, d + 2, k], q3 - codebook_t[m, d + 3, k]
                out[m, k] = (((out[m, k] + e0 * e0) + e1 * e1) + e2 * e2) + e3 * e3
            d += 4
        while d < dsub:
            for k in range(num_centroids):
                e0 = query[q + d] - codebook_t[m, d, k]
                out[m, k] += e0 * e0
            d += 1


@inner
def padded(table, entries):
    """Copy a table of fewer than 256 centroids: float32 (M, K) to (M, 256)."""
    for m in range(table.shape[0]):
        for c in range(table.shape[1]):
            entries[m, c] = table[m, c]
    return entries


# ---- The k smallest --------------------------------------------------------------------------------------------------

INFINITE: Final = np.int32(0x7FFFFFFF)
"""As bits: above every distance."""
SAMPLE: Final = 512
"""What a limit is guessed from."""


@inner
def keep_smallest(keys, size, k):
    """Quickselect: move the k smallest of keys[:size] to the front, the largest of them to keys[k - 1]."""
    left, right = 0, size - 1
    while left < right:
        low, pivot, high = keys[left], keys[(left + right) // 2], keys[right]
        pivot = max(min(low, pivot), min(max(low, pivot), high))
        i, j = left, right
        while i <= j:
            while keys[i] < pivot:
                i += 1
            while keys[j] > pivot:
                j -= 1
            if i <= j:
                keys[i], keys[j] = keys[j], keys[i]
                i += 1
                j -= 1
        if k - 1 <= j:
            right = j
        elif k - 1 >= i:
            left = i
        else:
            return


@inner
def sort_keys(keys, count, starts):
    """Sort the first keys by distance: few by insertion; many by radix, a byte at a time, through the next as many.

    starts: int64 (256,), scratch.
    """
    if count <= 64:
        for i in range(1, count):
            key, j = keys[i], i
            while j > 0 and keys[j - 1] > key:
                keys[j] = keys[j - 1]
                j -= 1
            keys[j] = key
        return
    source, target = 0, count
    for byte in range(4):
        shift = np.uint64(32 + 8 * byte)
        for b in range(256):
            starts[b] = 0
        for i in range(count):
            starts[(keys[source + i] >> shift) & np.uint64(255)] += 1
        total = target
        for b in range(256):
            total, starts[b] = total + starts[b], total
        for i in range(count):
            b = (keys[source + i] >> shift) & np.uint64(255)
            keys[starts[b]] = keys[source + i]
            starts[b] += 1
        source, target = target, source


@inner
def rank_limit(sampled, wanted):
    """The least number that at least `wanted` of SAMPLE numbers, int32, do not exceed: counting is SIMD."""
    low, high = 0, 0
    for i in range(SAMPLE):
        high = max(high, sampled[i])
    while low < high:
        middle = (low + high) // 2
        limit, within = np.int32(middle), np.int32(0)
        for i in range(SAMPLE):
            within += np.int32(sampled[i] <= limit)
        if within >= wanted:
            high = middle
        else:
            low = middle + 1
    return low


# ---- Exact distances -------------------------------------------------------------------------------------------------

SUMMED: Final = 512
"""Rows whose distances are summed before they are offered."""


add_scattered, add_run = entry_sums(scattered=True), entry_sums(scattered=False)


@inner
def sum_up(entries, layout, at, count, run):
    """DISTANCES[:count] = the exact distances of at most SUMMED rows: run, run + 1, ...; or, if run < 0, those at
    POSITIONS[at : at + count]. Up to seven more rows are read, whatever they are."""
    rows, distances, positions = part(layout, ROWS), part(layout, DISTANCES), part(layout, POSITIONS)
    num_sub_vectors, height = entries.shape[0], layout[ROWS, 1] // entries.shape[0]
    if run < 0:
        for i in range(at + count, at + (count + AT_ONCE - 1) // AT_ONCE * AT_ONCE):
            positions[i] = positions[at]
    for first in range(0, num_sub_vectors, CHUNK):
        width = min(CHUNK, num_sub_vectors - first)
        start = first * height
        if run >= 0 and width < 8:
            for m in range(width):
                for j in range(count):
                    entry = entries[first + m, rows[start + (run + j) * width + m]]
                    distances[j] = entry if first + m == 0 else distances[j] + entry
        elif run >= 0:
            for i in range(0, count, AT_ONCE):
                add_run(entries, first, rows, start, width, positions, run + i, distances, i)
        else:
            for i in range(0, count, AT_ONCE):
                add_scattered(entries, first, rows, start, width, positions, at + i, distances, i)


@inner
def score(entries, layout, first, last, in_run, keys, size, limit, k):
    """Append rows that are nearer than the limit to keys[:size]: rows first .. last - 1 if in_run, else those at
    POSITIONS[first:last]. Returns the new size and limit.

    A key is a distance's bits above a row: bits order as distances do, none of which is negative. Only a full buffer is
    tidied up, so a new key costs a store and no comparison with others.
    """
    positions, bits = part(layout, POSITIONS), bits_of(part(layout, DISTANCES))
    for at in range(first, last, SUMMED):
        count = min(SUMMED, last - at)
        sum_up(entries, layout, at, count, at if in_run else -1)
        for i in range(0, count, 16):
            below = lanes_below(bits, i, limit)
            if below != 0:
                if i + 16 > count:
                    below &= (np.uint64(1) << np.uint64(count - i)) - np.uint64(1)
                if size + 16 > keys.size:
                    keep_smallest(keys, size, k)
                    size, limit = k, np.int32(keys[k - 1] >> np.uint64(32))
                while below != 0:
                    j = i + lowest_bit(below)
                    row = np.int64(at + j) if in_run else np.int64(positions[at + j])
                    keys[size] = np.uint64(bits[j]) << np.uint64(32) | np.uint64(row)
                    size += 1
                    below &= below - np.uint64(1)
    return size, limit


@inner
def guessed_limit(entries, layout, count, k):
    """A limit, as bits, below which k of `count` rows are, but for bad luck: an order statistic of a sample."""
    positions, bits, sampled = part(layout, POSITIONS), bits_of(part(layout, DISTANCES)), part(layout, SAMPLED)
    for i in range(SAMPLE):
        positions[i] = i * count // SAMPLE
    sum_up(entries, layout, 0, SAMPLE, -1)
    for i in range(SAMPLE):
        sampled[i] = bits[i]
    expected = k * SAMPLE / count
    return np.int32(min(INFINITE, rank_limit(sampled, int(expected + 3.0 * np.sqrt(expected)) + 2) + 1))


# ---- Lower bounds ---------------------------------------------------------------------------------------------------

SEGMENT: Final = 16_384
"""Rows whose bounds are computed before any is selected: their sums, two bytes each, stay in the L1 cache."""
TRIAL: Final = min(1024, SEGMENT)
"""Rows of the first segment: little is lost where bounds do not pay."""
GIVE_UP: Final = 0.35
"""The share of rows left over by bounds from which it is quicker to sum all."""
BLOCKS: Final = tuple(block_bounds(kind) for kind in KINDS)
block_0, block_1, block_2, block_3 = (*BLOCKS, *BLOCKS[-1:] * 3)[:4]


@roughly
def quantise(entries, num_centroids, layout, kind, reach, threshold):
    """Write the small tables of one query. Returns the sum of the sub-vectors' minima, and the step.

    LEAVES (M, 256): centroids in an order in which the members of a group are GROUPS[kind] apart; not read where every
    centroid is a group. An entry e of sub-vector m says: at least lows[m] + e * step. The largest stands for `reach`
    times the mean entry, or times what a vector at the threshold has on average, if there is a threshold.
    """
    lows, raw, tables = part(layout, LOWS), part(layout, RAW), part(layout, TABLES)
    num_sub_vectors, groups, nibbles = entries.shape[0], GROUPS[kind], NIBBLES[kind]
    if num_centroids <= groups:
        values, groups = entries, num_centroids
    else:
        values, leaves = part(layout, VALUES), part(layout, LEAVES)
        bits = bits_of(values)  # floats that are not negative order as these do, whose minimum is SIMD
        for m in range(num_sub_vectors):
            for j in range(256):
                values[m, j] = entries[m, leaves[256 * m + j]]
            if groups <= 128:
                for j in range(128):
                    bits[m, j] = min(bits[m, j], bits[m, j + 128])
            if groups <= 64:
                for j in range(64):
                    bits[m, j] = min(bits[m, j], bits[m, j + 64])
            if groups <= 32:
                for j in range(32):
                    bits[m, j] = min(bits[m, j], bits[m, j + 32])
    bits, low_bits = bits_of(values), bits_of(lows)
    base, mean = 0.0, 0.0
    for m in range(num_sub_vectors):
        lowest, total = bits[m, 0], np.float32(0.0)
        for j in range(groups):
            lowest = min(lowest, bits[m, j])
        for j in range(groups):
            total += values[m, j]
        low_bits[m] = lowest
        base += lows[m]
        mean += total
    spread = mean / groups - base
    if threshold < np.inf:
        spread = max(threshold - base, 1e-3 * spread)
    top = np.float32(TOPS[kind])
    step = np.float32(reach * spread / num_sub_vectors) / top
    inverse = np.float32(1.0) / step
    each = TABLE_BYTES[kind]
    for j in range(num_sub_vectors * each, (num_sub_vectors + 7) * each):
        tables[j] = 0  # of the sub-vectors that M is padded with
    for m in range(num_sub_vectors):
        low = lows[m]
        for j in range(groups):
            raw[j] = np.uint8(np.int32(min((values[m, j] - low) * inverse, top)))
        if nibbles:
            for t in range(each // 16):
                for j in range(16):
                    raw[16 * t + j] = raw[32 * t + j] | raw[32 * t + 16 + j] << np.uint8(4)
        row = tables[m * each : (m + 1) * each]
        for j in range(min(DIFFERENCE, each)):
            row[j] = raw[j]
        for j in range(DIFFERENCE, each):  # modulo 256
            row[j] = raw[j] - raw[j - DIFFERENCE]
    return base, np.float64(step)


@inner
def sum_bounds(kind, layout, sub_vectors, first, last):
    """SUMS: the bounds of blocks first .. last - 1, in steps."""
    packed, tables, sums = part(layout, PACKED), part(layout, TABLES), part(layout, SUMS)
    for block in range(first, last):
        at = (block - first) * LANES
        if kind == 0:
            block_0(packed, tables, sub_vectors, block, sums, at)
        elif kind == 1:
            block_1(packed, tables, sub_vectors, block, sums, at)
        elif kind == 2:
            block_2(packed, tables, sub_vectors, block, sums, at)
        else:
            block_3(packed, tables, sub_vectors, block, sums, at)


@inner
def select(layout, num_sub_vectors, first, last, above, limit, start):
    """POSITIONS: start + n for each lane n from `first` to last - 1 with above < sum <= limit. Returns how many.

    The rows at those positions will be needed next.
    """
    sums, rows, positions = part(layout, SUMS), part(layout, ROWS), part(layout, POSITIONS)
    height = layout[ROWS, 1] // num_sub_vectors
    found = 0
    for at in range(first // LANES * LANES, last, LANES):
        bits = lanes_within(sums, at, limit)
        if bits != 0:
            if above >= 0:
                bits &= ~lanes_within(sums, at, above)
            if at < first:
                bits &= ~np.uint64(0) << np.uint64(first - at)
            if at + LANES > last:
                bits &= (np.uint64(1) << np.uint64(last - at)) - np.uint64(1)
            while bits != 0:
                position = start + at + lowest_bit(bits)
                for m in range(0, num_sub_vectors, CHUNK):
                    prefetch(rows, m * height + position * min(CHUNK, num_sub_vectors - m))
                positions[found] = position
                found += 1
                bits &= bits - np.uint64(1)
    return found


@inner
def limit_of_rank(layout, first, last, rank):
    """A limit that about `rank` of SUMS[first:last], at least SAMPLE, do not exceed."""
    sums, sampled = part(layout, SUMS), part(layout, SAMPLED)
    stride = (last - first) // SAMPLE
    for i in range(SAMPLE):
        sampled[i] = sums[first + i * stride]
    return rank_limit(sampled, rank * SAMPLE // (last - first) + 2)


# ---- Lists ----------------------------------------------------------------------------------------------------------


@inner
def beyond(to_center, radius, threshold, error):
    """Whether nothing within `radius` of a center is nearer than the threshold, by the triangle inequality.

    to_center and threshold are squared distances with a relative error each, so they must be far from 0 and infinity.
    """
    if not 1e-30 < threshold < 1e30 or not to_center < 1e30:
        return False
    nearest = np.sqrt(np.float64(to_center)) * (1.0 - error) - radius
    return nearest > 0.0 and nearest * nearest * (1.0 - error) > threshold


@outer
def assign(tables, codes, nearest, squared):
    """Find the nearest of L centers for every row of codes. tables: float32 (M, K, L), the centers' distance tables."""
    num_sub_vectors, num_lists = tables.shape[0], tables.shape[2]
    total = np.empty(num_lists, np.float32)
    for n in range(codes.shape[0]):
        for i in range(num_lists):
            total[i] = np.float32(0.0)
        for m in range(num_sub_vectors):
            c = codes[n, m]
            for i in range(num_lists):
                total[i] += tables[m, c, i]
        best = 0
        for i in range(num_lists):
            if total[i] < total[best]:
                best = i
        nearest[n], squared[n] = best, total[best]


# ---- One query -------------------------------------------------------------------------------------------------------

WORTHWHILE: Final = 1024
"""Of so few rows, all distances are summed: bounds cost more."""
FEW: Final = 32
"""For so few neighbours the first rows give a good limit; for more it is guessed from a sample."""


@inner
def to_centers(entries, layout):
    """TO_CENTER: the squared distance of every list's center. Returns the nearest list."""
    to_center, centers, num_sub_vectors, nearest = part(layout, TO_CENTER), part(layout, CENTERS), entries.shape[0], 0
    for i in range(layout[RADII, 1]):
        total = np.float32(0.0)
        for m in range(num_sub_vectors):
            total += entries[m, centers[i * num_sub_vectors + m]]
        to_center[i] = total
        if total < to_center[nearest]:
            nearest = i
    return nearest


@inner
def rows_left(layout, threshold, error):
    """How many rows the lists have that are not beyond the threshold."""
    starts, to_center, radii, left = part(layout, STARTS), part(layout, TO_CENTER), part(layout, RADII), 0
    for i in range(radii.size):
        if radii.size == 1 or not beyond(to_center[i], radii[i], threshold, error):
            left += starts[i + 1] - starts[i]
    return left


@inner
def tidied(layout, keys, size, k):
    """Keep the k nearest of keys[:size]. Returns k and the distance of the last of them, as bits and as a number."""
    keep_smallest(keys, size, k)
    distances = part(layout, DISTANCES)
    bits_of(distances)[0] = limit = np.int32(keys[k - 1] >> np.uint64(32))
    return k, limit, np.float64(distances[0])


@inner
def bound_of(threshold, base, step, error):
    """The largest sum of bounds that a vector at the threshold can have.

    A sum may be one step too high, and base and threshold are off by a relative error each.
    """
    return int(max(0.0, min(65535.0, (threshold * (1.0 + error) - base * (1.0 - error)) / step + 1.0)))


@inner
def search(entries, num_centroids, layout, keys, limit, k):
    """Write what is nearest, k or more, into keys. Returns how many, and the numbers that `probe` returns.

    With a limit that was guessed too low it may be fewer than k.
    """
    settings, starts, radii = part(layout, SETTINGS), part(layout, STARTS), part(layout, RADII)
    to_center = part(layout, TO_CENTER)
    distances, bits = part(layout, DISTANCES), bits_of(part(layout, DISTANCES))
    kind, reach, error = int(settings[0]), settings[1], settings[2]
    num_sub_vectors, num_lists = entries.shape[0], radii.size
    padded_width = (num_sub_vectors + RUNS[kind] - 1) // RUNS[kind] * RUNS[kind]
    guessed = limit != INFINITE
    size, swept, scored, summed, nearest, left, threshold = 0, 0, 0, 0, 0, 0, np.inf
    if num_lists > 1:
        nearest = to_centers(entries, layout)
    if guessed:
        bits[0] = limit
        threshold = np.float64(distances[0])
    undecided, bounded, base, step = kind >= 0 and (guessed or k <= FEW), False, 0.0, 1.0
    i, turn = nearest, 0
    while turn < 2:  # the nearest list first
        if turn == 1 and (i == nearest or (num_lists > 1 and beyond(to_center[i], radii[i], threshold, error))):
            start = end = starts[i + 1]
        else:
            start, end = starts[i], starts[i + 1]
        i += 1
        if turn == 0:
            i, turn = 0, 1
        else:
            while i < num_lists and i != nearest and end - start < (SEGMENT if bounded else SUMMED):
                if beyond(to_center[i], radii[i], threshold, error):
                    break
                end = starts[i + 1]
                i += 1
        if i == num_lists:
            turn = 2
        while start < end:
            if undecided and (num_lists == 1 or size >= k or guessed):
                undecided = False
                left = rows_left(layout, threshold, error)
                if left > WORTHWHILE and left > 16 * k:
                    base, step = quantise(
                        entries, num_centroids, layout, kind, reach, threshold if num_lists > 1 else np.inf
                    )
                    bounded = 1e-30 < step < 1e30 and base * error < 16 * step
            if bounded:
                first = start % LANES
                row = start - first
                stop = min(end, row + (SEGMENT if swept else TRIAL))
                last, rows_here = stop - row, stop - start
                sum_bounds(kind, layout, padded_width, row // LANES, (stop + LANES - 1) // LANES)
                above, found = -1, 0
                if not guessed and rows_here >= SAMPLE and rows_here > 3 * swept:
                    # The rows with the least bounds first: they give a better limit.
                    above = limit_of_rank(layout, first, last, 3 * k + 16)
                    found = select(layout, num_sub_vectors, first, last, -1, above, row)
                    size, limit = score(entries, layout, 0, found, False, keys, size, limit, k)
                    if size >= k:
                        size, limit, threshold = tidied(layout, keys, size, k)
                most = bound_of(threshold, base, step, error)
                more = select(layout, num_sub_vectors, first, last, above, most, row)
                size, limit = score(entries, layout, 0, more, False, keys, size, limit, k)
                if size >= k:
                    size, limit, threshold = tidied(layout, keys, size, k)
                found += more
                scored += found
                if swept == 0 and not guessed and size > 0:
                    # So many would be left if the limit were already as low as it is going to be, about.
                    nearest_yet = tidied(layout, keys, size, 1)[2]
                    most = bound_of(nearest_yet, base, step, error)
                    found = select(layout, num_sub_vectors, first, last, -1, most, row)
                swept += rows_here
                bounded = found < GIVE_UP * rows_here or rows_here < SAMPLE
            else:
                stop = min(end, start + SUMMED)
                size, limit = score(entries, layout, start, stop, True, keys, size, limit, k)
                summed += stop - start
                if size >= k and num_lists > 1 and (size >= 2 * k or threshold == np.inf):
                    size, limit, threshold = tidied(layout, keys, size, k)
            start = stop
    return size, swept, scored, summed


@outer
def probe(table, layout, best, ids):
    """Fill best and ids, ascending. layout: see `Packed`.

    Returns how many rows were swept, how many of them were scored, and how many were summed without a sweep.
    """
    num_centroids, k, count = table.shape[1], best.size, layout[ROW_IDS, 1]
    row_ids, bits = part(layout, ROW_IDS), bits_of(best)
    entries = table if num_centroids == 256 else padded(table, part(layout, ENTRIES))
    keys = np.empty(2 * k + 64, np.uint64)
    limit = INFINITE
    if k > FEW and count >= 4 * SAMPLE and count > 8 * k:
        limit = guessed_limit(entries, layout, count, k)
    size, swept, scored, summed = search(entries, num_centroids, layout, keys, limit, k)
    if size < k:
        size, swept, scored, summed = search(entries, num_centroids, layout, keys, INFINITE, k)
    keep_smallest(keys, size, k)
    sort_keys(keys, k, part(layout, HISTOGRAM))
    for i in range(k):
        bits[i] = np.int32(keys[i] >> np.uint64(32))
        ids[i] = row_ids[np.int64(keys[i] & np.uint64(0xFFFFFFFF))]
    return swept, scored, summed


# ---- Packing: not timed ---------------------------------------------------------------------------------------------

LISTS: Final = 64
"""Clusters that are looked for."""
TRIED: Final = 20_000
"""Rows that the choice is made on."""
QUERIES: Final = 16
"""Of these, how many are asked for."""
HUGE_PAGE: Final = 2 * 1024 * 1024


@outer
def pair_up(points, outer, pairs):
    """Match points in every sub-space, greedily: the outermost free one with its nearest free one.

    points: float32 (M, n, dsub), n even; outer: float32 (n,), scratch; pairs: int64 (M, n // 2, 2).
    """
    num_sub_vectors, n, dsub = points.shape
    for m in range(num_sub_vectors):
        for i in range(n):
            outer[i] = np.float32(0.0)  # squared distance to the mean; -1 once a point is taken
        for d in range(dsub):
            mean = np.float32(0.0)
            for i in range(n):
                mean += points[m, i, d]
            mean /= np.float32(n)
            for i in range(n):
                outer[i] += (points[m, i, d] - mean) * (points[m, i, d] - mean)
        for pair in range(n // 2):
            a = 0
            for i in range(n):
                if outer[i] > outer[a]:
                    a = i
            outer[a] = np.float32(-1.0)
            b, nearest = -1, np.float32(0.0)
            for i in range(n):
                if outer[i] >= 0:
                    distance = np.float32(0.0)
                    for d in range(dsub):
                        distance += (points[m, a, d] - points[m, i, d]) * (points[m, a, d] - points[m, i, d])
                    if b < 0 or distance < nearest:
                        b, nearest = i, distance
            outer[b] = np.float32(-1.0)
            pairs[m, pair, 0], pairs[m, pair, 1] = a, b


def grouped(points: NDArray[np.float32]) -> NDArray[np.int64]:
    """Order 256 points of every sub-space, (M, 256, dsub), so that near ones share their low bits: (M, 256).

    Pairs of points, then pairs of pairs, until 16 groups are left: places that agree modulo 16, 32, 64 or 128 hold
    the members of one group of 16, 8, 4 or 2.
    """
    num_sub_vectors, row = len(points), np.arange(len(points))[:, np.newaxis]
    members = np.tile(np.arange(256)[:, np.newaxis], (num_sub_vectors, 1, 1))
    while points.shape[1] > 16:
        pairs = np.empty((num_sub_vectors, points.shape[1] // 2, 2), np.int64)
        pair_up(points, np.empty(points.shape[1], np.float32), pairs)
        a, b = pairs[:, :, 0], pairs[:, :, 1]
        # The last merge is the first refinement: it must be the lowest bit above the group's own four.
        members = np.stack([members[row, a], members[row, b]], -1).reshape(num_sub_vectors, a.shape[1], -1)
        points = (points[row, a] + points[row, b]) * np.float32(0.5)
    return np.ascontiguousarray(members.transpose(0, 2, 1)).reshape(num_sub_vectors, 256)


def squared_distances(points: NDArray[np.float32], to: NDArray[np.float32]) -> NDArray[np.float32]:
    """About the squared distances of n points to l others: (n, l)."""
    norms, others = np.einsum("nd,nd->n", points, points), np.einsum("nd,nd->n", to, to)
    return np.maximum(norms[:, np.newaxis] + others - 2.0 * (points @ to.T), 0.0)


def cluster_centers(points: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """k-means++ and two of Lloyd's iterations: at most LISTS centers; None where the points form no clusters [5]."""
    some = np.sort(squared_distances(points, points[:: -(-len(points) // 64)]), axis=0)
    near, typical = some[2], some[len(some) // 2]
    if not np.median(near) < 0.25 * np.median(typical):
        return None
    random = np.random.default_rng(0)
    centers = points[:1]
    nearest = squared_distances(points, centers)[:, 0].astype(np.float64)
    while len(centers) < LISTS and 0.0 < nearest.sum() < np.inf:
        chosen = random.choice(len(points), p=nearest / nearest.sum())
        centers = np.concatenate([centers, points[chosen : chosen + 1]])
        nearest = np.minimum(nearest, squared_distances(points, centers[-1:])[:, 0])
    for _ in range(2):
        owner = squared_distances(points, centers).argmin(axis=1)
        centers = np.stack([points[owner == i].mean(axis=0) for i in np.unique(owner)])
    return centers


def in_one(*arrays: NDArray[Any], huge: bool = False) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All arrays in one, and the address and size of each, (n, 2). Large ones may be backed with huge pages.

    A query reads hundreds of small pages, and after a switch of processes each costs a walk through page tables.
    numpy asks for huge pages (MADV_HUGEPAGE) when an array has 4 MiB or more.
    """
    starts = np.cumsum([0, *(-(-array.nbytes // LANES) * LANES for array in arrays)])
    huge = huge or starts[-1] >= HUGE_PAGE
    align = HUGE_PAGE if huge else LANES
    memory = np.empty(max(starts[-1] + align, 2 * align), np.uint8)
    memory = memory[-memory.ctypes.data % align :]
    for start, array in zip(starts, arrays, strict=False):
        memory[start : start + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    layout = [(memory.ctypes.data + start, array.size) for start, array in zip(starts, arrays, strict=False)]
    return memory, np.array(layout, np.int64)


@dataclass(frozen=True)
class Lists:
    """Rows, list after list.

    rows uint8 (N, M): codes; row_ids int32 (N,): which vector a row is; starts int64 (L + 1,);
    centers uint8 (L, M): codes; radii float64 (L,): no member is farther from its center. One list has no center.
    """

    rows: NDArray[np.uint8]
    row_ids: NDArray[np.int32]
    starts: NDArray[np.int64]
    centers: NDArray[np.uint8]
    radii: NDArray[np.float64]


@dataclass(frozen=True)
class Packed:
    """A code set as `probe` takes it. layout, int64 (PARTS, 2): address and size of each part, in memory.

    SETTINGS: kind (-1: all distances are summed), reach, relative error of a distance. PACKED: block after block, in it
    sub-vector after sub-vector (M padded to whole runs), in that 64 codes. ROWS: CHUNK sub-vectors after CHUNK
    sub-vectors, in them row after row. LEAVES (M, 256): see `quantise`. ROW_IDS, STARTS, CENTERS and RADII: of `Lists`.
    The rest is the kernel's scratch.
    """

    count: int
    memory: tuple[NDArray[np.uint8], ...]
    layout: NDArray[np.int64]


class PqKernel:
    """Answers top-k queries over packed codes."""

    def __init__(self, shape: PqShape, codebook: NDArray[np.float32]) -> None:
        self.shape = shape
        self.codebook = codebook
        num_sub_vectors = shape.num_sub_vectors
        self.memory, layout = in_one(
            codebook.transpose(0, 2, 1),
            np.zeros((num_sub_vectors, 256), np.float32),
            np.zeros((num_sub_vectors, 256), np.float32),
            np.zeros(num_sub_vectors, np.float32),
            np.zeros(256, np.uint8),
            np.zeros((num_sub_vectors + 8) * 256, np.uint8),
            np.zeros(SEGMENT, np.uint16),
            np.zeros(SEGMENT + SAMPLE, np.int32),
            np.zeros(SUMMED + 16, np.float32),
            np.zeros(LISTS, np.float32),
            np.zeros(SAMPLE, np.int32),
            np.zeros(256, np.int64),
            huge=True,
        )
        self.scratch = layout[1:]
        transposed = (num_sub_vectors, shape.sub_vector_dim, shape.num_centroids)
        self.codebook_t = self.memory[: codebook.nbytes].view(np.float32).reshape(transposed)

    def distance_table(self, query: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """Fill out, float32 (M, K), for one query, float32 (dim,). Timed."""
        fill_table(query, self.codebook_t, out)

    def probe_top_k(
        self, table: NDArray[np.float32], codes: Packed, k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The min(k, N) nearest: ids int64 and distances float32, ascending. Timed.

        `codes` is what pack_codes returned.
        """
        size = min(k, codes.count)
        ids, distances = np.empty(size, np.int64), np.empty(size, np.float32)
        if size:
            probe(table, codes.layout, distances, ids)
        return ids, distances

    def pack_codes(self, codes: NDArray[np.uint8]) -> Packed:
        """Lay the codes, uint8 (N, M), out in lists and blocks, in the way that costs least on a sample. Not timed."""
        one_list = self._lists(codes, None)
        if len(codes) <= WORTHWHILE or not SHUFFLE:
            return self._packed(one_list)
        sample = codes[:: -(-len(codes) // TRIED)]
        queries = self._decoded(sample[:: -(-len(sample) // QUERIES)])
        tables = [self._table(query) for query in queries]
        groups = self._groups(codes)
        centers = cluster_centers(self._decoded(sample[:: -(-len(sample) // 1024)]))
        whole = len(sample) == len(codes)
        tried = [one_list if whole else self._lists(sample, None)]
        if centers is not None:
            tried.append(self._lists(sample, centers))

        answer = np.empty(min(10, len(sample)), np.float32), np.empty(min(10, len(sample)), np.int64)

        def costs(row_and_code: tuple[float, float]) -> float:
            return row_and_code[0] + row_and_code[1] * self.shape.num_sub_vectors

        least, chosen = len(sample) * costs(SUMMED_NS), (tried[0], -1, 0.0)
        for lists in tried:
            some = len(lists.radii) if len(lists.radii) > 1 else 0
            for kind, how in enumerate(KINDS):
                if kind and KINDS[kind - 1].groups >= self.shape.num_centroids:
                    break
                packed = self._packed(lists, groups, kind)
                for reach in how.reaches:
                    packed.memory[0][:24].view(np.float64)[1] = reach
                    swept, scored, summed = np.mean([probe(table, packed.layout, *answer) for table in tables], axis=0)
                    cost = (
                        swept * costs((0.0, how.cost)) + scored * costs(SCORED_NS) + (summed + some) * costs(SUMMED_NS)
                    )
                    if cost < least:
                        least, chosen = cost, (lists, kind, reach)
        lists, kind, reach = chosen
        if not whole:
            lists = one_list if lists is tried[0] else self._lists(codes, centers)
        return self._packed(lists, groups, kind, reach)

    def _decoded(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The vectors that codes (N, M) stand for, float32 (N, dim)."""
        return self.codebook[np.arange(codes.shape[1]), codes].reshape(len(codes), -1)

    def _table(self, query: NDArray[np.float32]) -> NDArray[np.float32]:
        table = np.empty(self.codebook.shape[:2], np.float32)
        fill_table(query, self.codebook_t, table)
        return table

    def _groups(self, codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """`grouped` centroids (M, 256), those that no code uses left out."""
        num_sub_vectors, num_centroids = self.codebook.shape[:2]
        used = np.empty((num_sub_vectors, 256), np.int64)
        for m in range(num_sub_vectors):
            times = np.bincount(codes[:, m], minlength=num_centroids)
            used[m] = np.resize(np.flatnonzero(times), 256)
        row = np.arange(num_sub_vectors)[:, np.newaxis]
        return used[row, grouped(self.codebook[row, used])].astype(np.uint8)

    def _lists(self, codes: NDArray[np.uint8], centers: NDArray[np.float32] | None) -> Lists:
        """Put every code into the list of its nearest center; without centers, all into one."""
        count = len(codes)
        order, starts, radii = np.arange(count), np.array([0, count]), np.array([np.inf])
        center_codes = np.zeros((1, codes.shape[1]), np.uint8)
        if centers is not None:
            # A coded center's distance to a query is a sum of table entries.
            center_codes = np.stack([self._table(center).argmin(axis=1) for center in centers]).astype(np.uint8)
            tables = np.stack([self._table(center) for center in self._decoded(center_codes)], axis=-1)
            nearest, squared = np.empty(count, np.uint8), np.empty(count, np.float32)
            assign(tables, codes, nearest, squared)
            order = np.argsort(nearest, kind="stable")
            starts = np.concatenate([[0], np.cumsum(np.bincount(nearest, minlength=len(centers)))])
            radii = np.zeros(len(centers))
            np.maximum.at(radii, nearest, squared)
            radii = np.sqrt(radii * (1.0 + self._error()) + 1e-28)  # what underflowed is far below 1e-28
        return Lists(codes if centers is None else codes[order], order.astype(np.int32), starts, center_codes, radii)

    def _error(self) -> float:
        """A bound of the relative error of a float32 distance: no term is negative, each operation errs by 2^-24."""
        return float((self.shape.num_sub_vectors + self.shape.sub_vector_dim + 16) * 2.0**-22)

    def _packed(
        self, lists: Lists, groups: NDArray[np.uint8] | None = None, kind: int = -1, reach: float = 0.0
    ) -> Packed:
        num_sub_vectors, num_centroids = self.codebook.shape[:2]
        count, rows = len(lists.rows), lists.rows
        packed, leaves = np.empty(0, np.uint8), np.empty((0, 256), np.uint8)
        if groups is not None and kind >= 0:
            how, row = KINDS[kind], np.arange(num_sub_vectors)[:, np.newaxis]
            leaves = groups
            if how.groups >= num_centroids:
                leaves = np.tile((np.arange(256) % num_centroids).astype(np.uint8), (num_sub_vectors, 1))
            # Place p of `leaves` becomes the byte: p itself modulo groups; or the nibble in bit 7.
            place = np.arange(min(256, num_centroids) if how.groups >= num_centroids else 256) % how.groups
            byte = (place >> 4 & 1) << 7 | place >> 5 << 4 | place & 15 if how.nibbles else place
            code_of = np.zeros((num_sub_vectors, num_centroids), np.uint8)
            code_of[row, leaves[:, : len(place)]] = byte
            whole, width = -(-count // LANES) * LANES, -(-num_sub_vectors // how.run) * how.run
            packed = np.zeros((whole // LANES, width, LANES), np.uint8)
            for m in range(num_sub_vectors):
                column = np.zeros(whole, np.uint8)
                column[:count] = code_of[m][rows[:, m]]
                packed[:, m] = column.reshape(-1, LANES)
        chunks = [rows[:, m : m + CHUNK].ravel() for m in range(0, num_sub_vectors, CHUNK)]
        memory, layout = in_one(
            np.array([kind, reach, self._error()]),
            packed,
            np.concatenate(chunks),
            lists.row_ids,
            leaves,
            lists.starts,
            lists.centers,
            lists.radii,
        )
        return Packed(count, (memory, self.memory), np.concatenate([layout, self.scratch]))
