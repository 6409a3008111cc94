"""The kernel under experiment: asymmetric L2 search over product-quantized vectors.

This is the one file to edit. It may import numpy, numba, llvmlite, math, typing, functools, dataclasses, __future__
and `PqShape`; nothing else. `program.md` says how the experiment runs.

Asymmetric distance computation (ADC) [1]: a vector is stored as M one-byte codes, each the index of a centroid. For a
query, `distance_table` holds the squared L2 distance of each of its M sub-vectors to each of the K centroids, and the
distance to a stored vector is the sum of M table entries, one per code.

How this kernel finds the k nearest, exactly:

1. The first rows are summed from the float32 table in the reference's order, bit for bit the same, eight rows at once.
   The k-th distance so far is the limit. For k > FEW it is guessed from a sample instead, and all is done again should
   the guess have been too low.
2. Where the vectors form clusters, they are stored list by list. A list is skipped if the triangle inequality says
   that no member can be nearer than the limit.
3. Of what is left, byte shuffles look up 64 lanes at a time in tables so small that they stay in registers [2, 3, 4].
   They hold lower bounds: entries rounded down to 4 or 6 bits. What its sum of bounds does not rule out is summed
   exactly. So is everything else once bounds turn out to rule out too little.
4. Those nearer than the limit are appended to a buffer, which a quickselect tidies up when it is full.

`pack_codes` decides how far the bounds reach, and whether lists pay, by trying on sampled vectors.

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
from functools import cache
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
SPAN: Final = 64
"""Bytes of a small table within which they are looked up without a choice."""


@dataclass(frozen=True)
class Kind:
    """How the bounds of up to so many centroids are stored: an entry of a byte or of 4 bits for each."""

    groups: int
    nibbles: bool
    cost: float
    """About how many nanoseconds it takes to sweep over a code."""
    reaches: tuple[float, ...]
    """The largest entry stands for so many times the mean at the limit. Larger ones are clipped: still a bound."""

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


FINE, COARSE = (2.5, 5.0, 9.0), (1.5, 2.5, 4.0, 6.0)
KINDS: Final = (
    (
        Kind(32, False, 0.025, FINE),
        Kind(64, False, 0.045, FINE),
        Kind(128, True, 0.05, COARSE),
        Kind(256, True, 0.085, COARSE),
        Kind(256, False, 0.12, FINE),
    )
    if SHUFFLE in PSHUFB
    else (Kind(64, False, 0.03, FINE), Kind(128, False, 0.036, FINE), Kind(256, False, 0.05, FINE))
)
"""The first that is wide enough serves a shape; where more than MANY sub-vectors lose by rounding, the last as wide."""
MANY: Final = 64
SCORED_NS: Final = (4.0, 0.6)
"""What the exact distance of a row that bounds leave over costs, and for every code, about."""
SUMMED_NS: Final = (0.5, 0.35)
"""The same of a row where all are summed."""

# ---- SIMD, in LLVM's own vector types: only the byte shuffle differs between CPUs. Memory is known by its address ----

I1, I8, I16, I32, I64, F32 = (*map(ir.IntType, (1, 8, 16, 32, 64)), ir.FloatType())
QUARTER, BYTES, WORDS = ir.VectorType(I8, 16), ir.VectorType(I8, LANES), ir.VectorType(I16, LANES // 2)
FLOATS = ir.VectorType(F32, 32)
number = types.int64


def const(value: int) -> Any:
    return ir.Constant(I64, value)


def splat(vector: Any, value: int) -> Any:
    return ir.Constant(vector, [value] * vector.count)


def pick(builder: Any, a: Any, b: Any, lanes: list[int]) -> Any:
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, len(lanes)), lanes))


def everywhere(builder: Any, vector: Any, value: Any) -> Any:
    """A vector with this value in each of its lanes."""
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(I32, 0))
    return pick(builder, one, one, [0] * vector.count)


def call(builder: Any, name: str, result: Any, *args: Any) -> Any:
    """An intrinsic of LLVM."""
    function = ir.FunctionType(result, [arg.type for arg in args])
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


def along(builder: Any, at: Any, index: Any, size: int) -> Any:
    """The address of element `index`, of so many bytes each, behind an address."""
    return builder.add(at, builder.mul(index if isinstance(index, ir.Value) else const(index), const(size)))


def load(builder: Any, at: Any, kind: Any) -> Any:
    return builder.load(builder.inttoptr(at, kind.as_pointer()), align=1)


def store(builder: Any, value: Any, at: Any) -> None:
    builder.store(value, builder.inttoptr(at, value.type.as_pointer()), align=1)


def look_up(builder: Any, kind: Kind, table: Any, code: Any) -> Any:
    """The entries of 64 codes. table: the address of the small table of their sub-vector."""

    def registers(vector: Any) -> list[Any]:
        return [load(builder, along(builder, table, at, 1), vector) for at in range(0, kind.table_bytes, vector.count)]

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
    index, spans = builder.and_(code, splat(BYTES, SPAN - 1)), [splat(BYTES, 0)] * (-(-kind.table_bytes // SPAN))
    for i, row in enumerate(rows):
        # 16 bytes a register. Each holds differences to the one before: index - 16 i is negative, so that its bit 7
        # is set and the shuffle gives 0, exactly in the registers behind the one that the code belongs to. So it is in
        # each span of 64 bytes, between which bits 6 and 7 of the code choose.
        repeated = pick(builder, row, row, [*range(16)] * (width // 16))

        def pshufb(part: Any, register: Any = repeated) -> Any:
            return call(builder, name, register.type, register, part)

        span, at = divmod(16 * i, SPAN)
        spans[span] = builder.add(spans[span], in_parts(builder, width, pshufb, builder.sub(index, splat(BYTES, at))))
    left = builder.bitcast(builder.shl(builder.bitcast(code, WORDS), splat(WORDS, 1)), BYTES)
    for chooser in (left, code):
        if len(spans) > 1:
            second = is_negative(builder, chooser)
            spans = [builder.select(second, b, a) for a, b in zip(spans[::2], spans[1::2], strict=True)]
    (entry,) = spans
    if kind.nibbles:  # bit 7 of the code says which
        high = builder.bitcast(builder.lshr(builder.bitcast(entry, WORDS), splat(WORDS, 4)), BYTES)
        entry = builder.and_(builder.select(is_negative(builder, code), high, entry), splat(BYTES, 15))
    return entry


def block_sums(kind: Kind) -> Any:
    """Compile-time factory: the function that sums the bounds of one block, for one kind."""

    @intrinsic
    def block(_context, codes, table, runs, sums):
        """Store the sums of the entries of each lane's codes, uint16, even lanes before odd ones.

        codes: the address of a block; runs: of kind.run sub-vectors. A sum is taken modulo 65,536, so it is a bound.
        """

        def generate(context, builder, _signature, args):
            codes, table, runs, sums = args
            # u16 sums of (both bytes as one number, its high byte): the low byte's sum is their difference.
            totals = [cgutils.alloca_once_value(builder, splat(WORDS, 0)) for _ in range(2)]
            with cgutils.for_range(builder, runs) as loop:
                run_sum = splat(BYTES, 0)
                for i in range(kind.run):
                    m = builder.add(builder.mul(loop.index, const(kind.run)), const(i))
                    at = along(builder, codes, m, LANES)
                    code = load(builder, at, BYTES)
                    if kind.table_bytes == 256:  # fewer bytes a block: slower
                        ask_for(builder, builder.add(at, const(2048)))
                    run_sum = builder.add(
                        run_sum, look_up(builder, kind, along(builder, table, m, kind.table_bytes), code)
                    )
                words = builder.bitcast(run_sum, WORDS)
                for total, term in zip(totals, (words, builder.lshr(words, splat(WORDS, 8))), strict=True):
                    builder.store(builder.add(builder.load(total), term), total)
            both, odd = map(builder.load, totals)
            even = builder.sub(both, builder.shl(odd, splat(WORDS, 8)))
            store(builder, even, sums)
            store(builder, odd, along(builder, sums, LANES, 1))
            return context.get_dummy_value()

        return types.void(number, number, number, number), generate

    return block


def small_table_of(kind: Kind) -> Any:
    """Compile-time factory: the function that rounds the distances of one sub-vector, for one kind."""

    @intrinsic
    def small_table(_context, entries, low, inverse, to):
        """Write (entry - low) * inverse, rounded down, at most kind.top, of the entries at an address to another."""

        def generate(context, builder, _signature, args):
            entries, low, inverse, to = args
            rows, tops = [], ir.Constant(FLOATS, [float(kind.top)] * FLOATS.count)
            low, inverse = (everywhere(builder, FLOATS, value) for value in (low, inverse))
            for at in range(0, kind.groups, FLOATS.count):
                value = builder.fsub(load(builder, along(builder, entries, at, 4), FLOATS), low)
                value = builder.fmul(value, inverse)
                value = builder.select(builder.fcmp_ordered("<", value, tops), value, tops)
                value = builder.fptosi(value, ir.VectorType(I32, FLOATS.count))
                entry = builder.trunc(value, ir.VectorType(I8, FLOATS.count))
                first, second = (pick(builder, entry, entry, [*range(half, half + 16)]) for half in (0, 16))
                both = builder.or_(first, builder.shl(second, splat(QUARTER, 4)))
                rows.extend([both] if kind.nibbles else [first, second])
            for i, row in enumerate(rows):  # see `look_up`
                is_difference = SHUFFLE in PSHUFB and 16 * i % SPAN
                store(builder, builder.sub(row, rows[i - 1]) if is_difference else row, along(builder, to, i, 16))
            return context.get_dummy_value()

        return types.void(number, types.float32, types.float32, number), generate

    return small_table


@intrinsic
def lanes_within(_context, sums, limit):
    """Bit n of the result: lane n of the 64 sums at this address is at most the limit."""

    def generate(_context, builder, _signature, args):
        limits, lanes = everywhere(builder, WORDS, builder.trunc(args[1], I16)), splat(WORDS, 0)
        for at, byte in ((0, 0x00FF), (LANES, 0xFF00)):
            total = load(builder, along(builder, args[0], at, 1), WORDS)
            within = builder.sext(builder.icmp_unsigned("<=", total, limits), WORDS)
            lanes = builder.or_(lanes, builder.and_(within, splat(WORDS, byte)))
        return builder.bitcast(is_negative(builder, builder.bitcast(lanes, BYTES)), I64)

    return types.uint64(number, number), generate


@intrinsic
def lowest_bit(_context, bits):
    """The position of the lowest bit that is set."""

    def generate(_context, builder, _signature, args):
        return builder.cttz(args[0], ir.Constant(I1, 1))

    return number(types.uint64), generate


def ask_for(builder: Any, at: Any) -> None:
    """Prefetch the cache line at an address."""
    read, keep, data = (ir.Constant(I32, value) for value in (0, 3, 1))
    call(builder, "llvm.prefetch.p0", ir.VoidType(), builder.inttoptr(at, I8.as_pointer()), read, keep, data)


@intrinsic
def prefetch(_context, at):
    def generate(context, builder, _signature, args):
        ask_for(builder, args[0])
        return context.get_dummy_value()

    return types.void(number), generate


AT_ONCE: Final = 8
"""Rows whose distances are summed together."""


@intrinsic(prefer_literal=True)
def add_entries(_context, stride, table, is_first, codes, row_bytes, width, positions, distances, ahead):
    """Add `width` entries to each of AT_ONCE distances, or set them to the sum if these are the first.

    table: the address of the first sub-vector's entries, each next one's are `stride` entries on; codes: of its codes,
    row_bytes from row to row; positions: of the rows, int32. Eight codes come in one load and eight rows advance
    together, so a code costs its extraction and one addition. ahead: the address of what will be needed in a while.
    """

    stride_bytes = 4 * stride.literal_value

    def generate(context, builder, _signature, args):
        table, is_first, codes, row_bytes, width, positions, distances, ahead = args[1:]
        rows, totals = [], []
        for line in (0, 64):
            ask_for(builder, builder.add(ahead, const(line)))
        for i in range(AT_ONCE):
            position = builder.zext(load(builder, along(builder, positions, i, 4), I32), I64)
            rows.append(builder.add(codes, builder.mul(position, row_bytes)))
            yet = load(builder, along(builder, distances, i, 4), F32)
            yet = builder.select(builder.icmp_signed("!=", is_first, const(0)), ir.Constant(F32, 0.0), yet)
            totals.append(cgutils.alloca_once_value(builder, yet))

        def add(total, entries, code):
            return builder.fadd(total, load(builder, along(builder, entries, code, 4), F32))

        words = builder.sdiv(width, const(8))
        with cgutils.for_range(builder, words) as loop:
            here = along(builder, table, loop.index, 8 * stride_bytes)
            for row, total in zip(rows, totals, strict=True):
                word, value = load(builder, along(builder, row, loop.index, 8), I64), builder.load(total)
                for j in range(8):
                    code = builder.and_(builder.lshr(word, const(8 * j)), const(255))
                    value = add(value, along(builder, here, j, stride_bytes), code)
                builder.store(value, total)
        done = builder.mul(words, const(8))
        with cgutils.for_range(builder, builder.sub(width, done)) as loop:
            m = builder.add(done, loop.index)
            for row, total in zip(rows, totals, strict=True):
                code = builder.zext(load(builder, builder.add(row, m), I8), I64)
                builder.store(add(builder.load(total), along(builder, table, m, stride_bytes), code), total)
        for i, total in enumerate(totals):
            store(builder, builder.load(total), along(builder, distances, i, 4))
        return context.get_dummy_value()

    return types.void(stride, *[number] * 8), generate


WIDTH: Final = FLOATS.count


@intrinsic
def copy_block(_context, source, target):
    """Copy WIDTH floats, from address to address."""

    def generate(context, builder, _signature, args):
        store(builder, load(builder, args[0], FLOATS), args[1])
        return context.get_dummy_value()

    return types.void(number, number), generate


@intrinsic
def table_block(_context, query, centroids, dsub, out, count):
    """Squared distances of a sub-vector to WIDTH centroids, of which the first `count` are stored.

    All are addresses: query, float32 (dsub,); centroids, float32 (dsub, WIDTH); out, float32 (count,).
    """

    def generate(context, builder, _signature, args):
        query, centroids, dsub, out, count = args
        total = cgutils.alloca_once_value(builder, ir.Constant(FLOATS, [0.0] * WIDTH))
        with cgutils.for_range(builder, dsub) as loop:
            value = everywhere(builder, FLOATS, load(builder, along(builder, query, loop.index, 4), F32))
            difference = builder.fsub(value, load(builder, along(builder, centroids, loop.index, 4 * WIDTH), FLOATS))
            builder.store(builder.fadd(builder.load(total), builder.fmul(difference, difference)), total)
        with builder.if_else(builder.icmp_signed(">=", count, const(WIDTH))) as (whole, partly):
            with whole:
                store(builder, builder.load(total), out)
            with partly, cgutils.for_range(builder, count) as loop:
                value = builder.extract_element(builder.load(total), loop.index)
                store(builder, value, along(builder, out, loop.index, 4))
        return context.get_dummy_value()

    return types.void(*[number] * 5), generate


# ---- The arrays of a query, and its functions: all known by their addresses, in one table ---------------------------

KINDS_OF: Final = {
    "SETTINGS": types.float64, "PACKED": types.uint8, "ROWS": types.uint8, "ROW_IDS": types.int32,
    "STARTS": types.int64, "RADII": types.float64,
    "NUMBERS": types.int64, "LIMIT": types.float32, "LOWS": types.float32,
    "TABLES": types.uint8, "SUMS": types.uint16, "POSITIONS": types.int32, "DISTANCES": types.float32,
    "TO_CENTER": types.float32, "HISTOGRAM": types.int64, "PADDED": types.float32, "ENTRIES": types.float32,
    "KEYS": types.uint64,
}  # fmt: skip
"""See `Packed`."""
ITEMS: Final = tuple(KINDS_OF.values())
(
    SETTINGS, PACKED, ROWS, ROW_IDS, STARTS, RADII,
    NUMBERS, LIMIT, LOWS, TABLES, SUMS, POSITIONS, DISTANCES, TO_CENTER, HISTOGRAM, PADDED, ENTRIES, KEYS,
    SUM_UP, SCORE, TIDY, SORT_KEYS, BEYOND, LEAST, SELECT, SCAN, SEARCH, QUANTISE, SWEEP,
) = range(len(KINDS_OF) + 11)  # fmt: skip
REACH, ERROR, BASE, STEP = range(4)
"""What SETTINGS holds: of a code set, then of a query."""
WANTED, WIDE, SUB_VECTORS, SIZE, STATE, IN_TURN, ABOVE, MOST, SWEPT, SCORED, SUMMED, STRIDE = range(12)
"""What NUMBERS holds: k, K and M; keys; what is known of bounds; whether rows are summed
in turn; the sums of bounds that are wanted, above .. most; rows whose bounds were summed, those of them whose
distances were, and rows of which no bounds were; entries from one sub-vector's to the next."""
LAYOUT: Final = types.Array(number, 2, "C")


def parts_as(kind_of: Any) -> Any:
    """Compile-time factory: the function that returns one of these arrays."""

    @intrinsic(prefer_literal=True)
    def part(_context, layout, which):
        """Views and slices would take seconds to compile."""
        kind = types.Array(kind_of(which.literal_value), 1, "C")

        def generate(context, builder, signature, args):
            array = context.make_array(kind)(context, builder)
            row = context.make_array(signature.args[0])(context, builder, args[0]).data
            at, size = (builder.load(builder.gep(row, [const(2 * which.literal_value + i)])) for i in range(2))
            item = const(context.get_abi_sizeof(array.data.type.pointee))
            nobody = cgutils.get_null_value(array.meminfo.type)
            data = builder.inttoptr(at, array.data.type)
            arrayobj.populate_array(array, data, [size], [item], item, nobody)
            return array._getvalue()

        return kind(layout, which), generate

    return part


part = parts_as(lambda which: ITEMS[which])
bits_of = parts_as(lambda which: types.int32)
"""Floats as int32: if they are not negative they order alike, and their minimum is SIMD."""


@intrinsic
def address_of(_context, array):
    def generate(context, builder, signature, args):
        return builder.ptrtoint(context.make_array(signature.args[0])(context, builder, args[0]).data, I64)

    return number(array), generate


@intrinsic(prefer_literal=True)
def run(_context, layout, which, a, b):
    """Call one of these functions. What is linked by name is compiled again with each of its callers."""

    def generate(context, builder, signature, args):
        row = context.make_array(LAYOUT)(context, builder, args[0]).data
        at = builder.load(builder.gep(row, [const(2 * which.literal_value)]))
        types_of = LAYOUT, number, number
        callee = builder.inttoptr(at, context.call_conv.get_function_type(number, types_of).as_pointer())
        return context.call_conv.call_function(builder, callee, number, types_of, (args[0], *args[2:]))[1]

    return number(layout, which, number, number), generate


# ---- The table ------------------------------------------------------------------------------------------------------


@outer
def fill_table(query, centroids, out):
    """out[m, k] = squared distance of sub-vector m of the query to centroid k. centroids: (M, blocks, dsub, WIDTH).

    Where K is no multiple of WIDTH, what is stored too much belongs to the next sub-vectors, which come later.
    """
    q, c, to = address_of(query), address_of(centroids), address_of(out)
    num_sub_vectors, blocks, dsub, _ = centroids.shape
    for m in range(num_sub_vectors):
        for block in range(blocks):
            first = m * blocks + block
            place = m * out.shape[1] + block * WIDTH
            table_block(q + 4 * m * dsub, c + first * 4 * WIDTH * dsub, dsub, to + 4 * place, out.size - place)


# ---- Exact distances, and the k smallest -----------------------------------------------------------------------------

INFINITE: Final = np.int32(0x7FFFFFFF)
"""As bits: above every distance."""
CHUNK: Final = 4096
"""Entries of the table (16 KiB) that stay in the L1 cache while the distances of many rows advance."""
FEW_CENTROIDS: Final = 64
"""Tables of so few have sub-vectors so many entries apart, others 256."""
PIECE: Final = 64
"""Sub-vectors whose codes lie together, row after row, a cache line each."""
BATCH: Final = 256
"""These rows: while they are summed, the next as many are asked for."""


@inner
def sum_up(layout, at, count):
    """DISTANCES[:count] = those of the rows at POSITIONS[at : at + count], at most BATCH. The next seven are set."""
    numbers, positions = part(layout, NUMBERS), part(layout, POSITIONS)
    rows, entries, totals = part(layout, ROWS), part(layout, ENTRIES), part(layout, DISTANCES)
    num_sub_vectors, in_turn, stride = numbers[SUB_VECTORS], numbers[IN_TURN], numbers[STRIDE]
    height = layout[ROWS, 1] // num_sub_vectors
    for i in range(at + count, at + (count + AT_ONCE - 1) // AT_ONCE * AT_ONCE):
        positions[i] = positions[at]
    for first in range(0, num_sub_vectors, CHUNK // stride):
        width, piece = min(CHUNK // stride, num_sub_vectors - first), first // PIECE * PIECE
        codes, row_bytes = layout[ROWS, 0] + height * piece, min(PIECE, num_sub_vectors - piece)
        if in_turn and num_sub_vectors < 4:  # few: eight rows at once would cost more than they save
            for m in range(num_sub_vectors):
                code, entry = np.uint64(positions[at] * row_bytes + m), np.uint64(stride * m)  # no sign to look at
                for j in range(count):
                    totals[j] = (np.float32(0.0) if m == 0 else totals[j]) + entries[entry + np.uint64(rows[code])]
                    code += np.uint64(row_bytes)
            continue
        ahead = codes + in_turn * ((positions[at] + BATCH) * row_bytes + (first - piece) * count)
        for i in range(0, count, AT_ONCE):
            which, distances = layout[POSITIONS, 0] + 4 * (at + i), layout[DISTANCES, 0] + 4 * i
            table, at_row = layout[ENTRIES, 0] + 4 * stride * first, codes + first - piece
            if stride == FEW_CENTROIDS:
                add_entries(FEW_CENTROIDS, table, first == 0, at_row, row_bytes, width, which, distances, ahead)
            else:
                add_entries(256, table, first == 0, at_row, row_bytes, width, which, distances, ahead)
            ahead += in_turn * AT_ONCE * width
    return 0


@inner
def score(layout, total, _):
    """Append the rows at POSITIONS[:total] that are nearer than the limit to KEYS.

    A key is a distance's bits above a row: bits order as distances do, none of which is negative. Only a full buffer is
    tidied up, so a new key costs a store and no comparison with others.
    """
    numbers, positions, keys = part(layout, NUMBERS), part(layout, POSITIONS), part(layout, KEYS)
    bits, limit, size = bits_of(layout, DISTANCES), bits_of(layout, LIMIT), numbers[SIZE]
    for at in range(0, total, BATCH):
        count = min(BATCH, total - at)
        run(layout, SUM_UP, at, count)
        if size + count > keys.size:
            size = run(layout, TIDY, size, numbers[WANTED])
        most = limit[0]
        for first in range(0, count, 16):
            lowest = bits[first]
            for i in range(first, first + 16):  # SIMD; what is left behind the last does no harm
                lowest = min(lowest, bits[i])
            if lowest < most:
                for i in range(first, min(first + 16, count)):  # without a branch that nobody predicts
                    keys[size] = np.uint64(bits[i]) << np.uint64(32) | np.uint64(positions[at + i])
                    size += bits[i] < most
    numbers[SIZE] = size
    return 0


@inner
def tidy(layout, size, k):
    """Keep the k smallest of KEYS[:size], by quickselect, and make the largest of them the limit. Returns k."""
    keys = part(layout, KEYS)
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
            break
    part(layout, NUMBERS)[SIZE] = k
    bits_of(layout, LIMIT)[0] = np.int32(keys[k - 1] >> np.uint64(32))
    return k


@inner
def sort_keys(layout, count, _):
    """Sort KEYS[:count] by distance: few by insertion; many by radix, a byte at a time, through the next as many."""
    keys, starts = part(layout, KEYS), part(layout, HISTOGRAM)
    if count <= 64:
        for i in range(1, count):
            key, j = keys[i], i
            while j > 0 and keys[j - 1] > key:
                keys[j] = keys[j - 1]
                j -= 1
            keys[j] = key
        return 0
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
    return 0


# ---- Lower bounds ---------------------------------------------------------------------------------------------------

SEGMENT: Final = 16_384
"""Rows whose bounds are summed in one go: two bytes each, they stay in the L1 cache."""
GIVE_UP: Final = 0.4
"""The share of rows left over by bounds from which it is quicker to sum all; twice that in the first segment, since the
limit is going to fall."""


@cache
def bounds_of(kind: Kind) -> Any:
    """Compile-time factory: the two functions that compute bounds, for one kind."""
    table_bytes, per_run, top = kind.table_bytes, kind.run, np.float32(kind.top)
    block, small_table = block_sums(kind), small_table_of(kind)

    @inner
    def quantise(layout, _, __):
        """Write the small tables of a query, BASE (the sum of the sub-vectors' minima) and STEP. Returns if they serve.

        An entry e of sub-vector m says: at least lows[m] + e * step. The largest stands for REACH times what a vector
        at the limit has on average.
        """
        settings, numbers, lows = part(layout, SETTINGS), part(layout, NUMBERS), part(layout, LOWS)
        tables, bits, low_bits = part(layout, TABLES), bits_of(layout, ENTRIES), bits_of(layout, LOWS)
        num_sub_vectors, num_centroids, stride, base = numbers[SUB_VECTORS], numbers[WIDE], numbers[STRIDE], 0.0
        for m in range(num_sub_vectors):
            lowest = bits[stride * m]
            for j in range(num_centroids):
                lowest = min(lowest, bits[stride * m + j])
            low_bits[m] = lowest
            base += lows[m]
        limit = np.float64(part(layout, LIMIT)[0])
        step = np.float32(settings[REACH] * max(limit - base, 1e-3 * limit) / num_sub_vectors) / top
        inverse = np.float32(1.0) / step
        for m in range(num_sub_vectors):
            small_table(layout[ENTRIES, 0] + 4 * stride * m, lows[m], inverse, layout[TABLES, 0] + m * table_bytes)
        for j in range(num_sub_vectors * table_bytes, (num_sub_vectors + per_run) * table_bytes):
            tables[j] = 0  # of the sub-vectors that M is padded with
        settings[BASE], settings[STEP] = base, np.float64(step)
        return 1e-30 < step < 1e30 and base * settings[ERROR] < 16 * step

    @inner
    def sweep(layout, first, last):
        """SUMS: the bounds of the blocks that hold rows first .. last - 1, in steps."""
        runs = (part(layout, NUMBERS)[SUB_VECTORS] + per_run - 1) // per_run
        start, sums = first // LANES * LANES, layout[SUMS, 0]
        for row in range(start, last, LANES):
            block(layout[PACKED, 0] + row * runs * per_run, layout[TABLES, 0], runs, sums + 2 * (row - start))
        return 0

    return quantise, sweep


@inner
def least(layout, first, rank):
    """A limit that about `rank` of SUMS[:first] do not exceed: an order statistic of a sample. Counting is SIMD."""
    sums, sampled, stride = part(layout, SUMS), part(layout, POSITIONS), first // SAMPLE
    for i in range(SAMPLE):
        sampled[i] = sums[i * stride]
    wanted, low, high = rank * SAMPLE // first + 2, 0, 65535
    while low < high:
        limit, within = np.int32((low + high) // 2), np.int32(0)
        for i in range(SAMPLE):
            within += np.int32(sampled[i] <= limit)
        if within >= wanted:
            high = np.int64(limit)
        else:
            low = np.int64(limit) + 1
    return low


@inner
def select(layout, first, last):
    """POSITIONS: the rows first .. last - 1 with ABOVE < sum <= MOST. Returns how many. They will be needed next."""
    numbers, positions = part(layout, NUMBERS), part(layout, POSITIONS)
    above, most, start, found = numbers[ABOVE], numbers[MOST], first // LANES * LANES, 0
    num_sub_vectors, height = numbers[SUB_VECTORS], layout[ROWS, 1] // numbers[SUB_VECTORS]
    for row in range(start, last, LANES):
        sums = layout[SUMS, 0] + 2 * (row - start)
        lanes = lanes_within(sums, most)
        if lanes != 0:
            if above >= 0:
                lanes &= ~lanes_within(sums, above)
            if row < first:
                lanes &= ~np.uint64(0) << np.uint64(first - row)
            if row + LANES > last:
                lanes &= (np.uint64(1) << np.uint64(last - row)) - np.uint64(1)
            while lanes != 0:
                position = row + lowest_bit(lanes)
                for piece in range(0, num_sub_vectors, PIECE):
                    prefetch(layout[ROWS, 0] + height * piece + position * min(PIECE, num_sub_vectors - piece))
                positions[found] = position
                found += 1
                lanes &= lanes - np.uint64(1)
    return found


# ---- Lists ----------------------------------------------------------------------------------------------------------


@inner
def beyond(layout, i, _):
    """Whether nothing in list i is nearer than the limit, by the triangle inequality.

    The squared distance to its center and the limit have a relative error each: they must be far from 0 and infinity.
    """
    limit, error, radii = np.float64(part(layout, LIMIT)[0]), part(layout, SETTINGS)[ERROR], part(layout, RADII)
    if radii.size == 1 or not 1e-30 < limit < 1e30:
        return 0
    to_center = np.float64(part(layout, TO_CENTER)[i])
    nearest = np.sqrt(to_center) * (1.0 - error) - radii[i]
    return to_center < 1e30 and nearest > 0.0 and nearest * nearest * (1.0 - error) > limit


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
SAMPLE: Final = 512
UNDECIDED, BOUNDED, EXACT = range(3)


@inner
def scan(layout, start, end):
    """Append what is nearer than the limit, of rows start .. end - 1."""
    numbers, limit, starts = part(layout, NUMBERS), bits_of(layout, LIMIT), part(layout, STARTS)
    settings, positions, k = part(layout, SETTINGS), part(layout, POSITIONS), numbers[WANTED]
    while start < end:
        if numbers[STATE] == UNDECIDED and numbers[SUMMED] >= BATCH and limit[0] < INFINITE:
            left = 0
            for i in range(starts.size - 1):
                if not run(layout, BEYOND, i, 0):
                    left += starts[i + 1] - starts[i]
            pays = left > max(WORTHWHILE, 16 * k) and run(layout, QUANTISE, 0, 0)
            numbers[STATE] = BOUNDED if pays else EXACT
        if numbers[STATE] == BOUNDED:
            stop = min(end, start + SEGMENT)
            rows, scored, numbers[IN_TURN], numbers[ABOVE] = stop - start, 0, 0, -1
            run(layout, SWEEP, start, stop)
            if k <= FEW and rows >= SAMPLE and rows > 3 * numbers[SWEPT]:
                # The rows with the least bounds first: they give a better limit.
                numbers[MOST] = run(layout, LEAST, rows, 3 * k + 16)
                scored = run(layout, SELECT, start, stop)
                run(layout, SCORE, scored, 0)
                if numbers[SIZE] >= k:
                    run(layout, TIDY, numbers[SIZE], k)
                numbers[ABOVE] = numbers[MOST]
            # A sum may be one step too high, and base and limit are off by a relative error each.
            base, error = settings[BASE] * (1.0 - settings[ERROR]), 1.0 + settings[ERROR]
            most = (np.float64(part(layout, LIMIT)[0]) * error - base) / settings[STEP] + 1.0
            numbers[MOST] = int(max(0.0, min(65535.0, most)))
            found = run(layout, SELECT, start, stop)
            if scored + found > (GIVE_UP if numbers[SWEPT] else 2 * GIVE_UP) * max(rows, BATCH):
                numbers[STATE] = EXACT
            numbers[SWEPT] += rows
            numbers[SCORED] += scored + found
        else:
            # First a few rows: their limit spares most of the others the buffer.
            stop = min(end, start + (BATCH - numbers[SUMMED] % BATCH if numbers[SUMMED] else LANES))
            found = stop - start
            for i in range(found):
                positions[i] = start + i
            numbers[SUMMED] += found
            numbers[IN_TURN] = 1
        run(layout, SCORE, found, 0)
        size = numbers[SIZE]
        if size >= k and (limit[0] == INFINITE or k <= FEW or size >= 2 * k):
            run(layout, TIDY, size, k)
        start = stop
    return 0


@inner
def search(layout, guess, _):
    """Write what is nearest, k or more, into KEYS; with a limit that was guessed too low it may be fewer."""
    numbers, limit, positions = part(layout, NUMBERS), bits_of(layout, LIMIT), part(layout, POSITIONS)
    starts, distances, to_center = part(layout, STARTS), part(layout, DISTANCES), part(layout, TO_CENTER)
    count, num_lists, k, nearest = layout[ROW_IDS, 1], starts.size - 1, numbers[WANTED], 0
    limit[0] = INFINITE
    for i in (SIZE, IN_TURN, SWEPT, SCORED, SUMMED):
        numbers[i] = 0
    numbers[STATE] = UNDECIDED if layout[PACKED, 1] > 0 and (guess or k <= FEW) else EXACT
    if guess:
        for i in range(SAMPLE):
            positions[i] = i * count // SAMPLE
        run(layout, SCORE, SAMPLE, 0)
        expected = k * SAMPLE / count
        run(layout, TIDY, SAMPLE, int(expected + 3.0 * np.sqrt(expected)) + 2)
        numbers[SIZE], numbers[SUMMED] = 0, SAMPLE
        limit[0] += 1
    if num_lists > 1:  # the nearest list first
        for i in range(num_lists):
            positions[i] = count + i  # behind the rows are the centers
        run(layout, SUM_UP, 0, num_lists)
        for i in range(num_lists):
            to_center[i] = distances[i]
            if distances[i] < distances[nearest]:
                nearest = i
        run(layout, SCAN, starts[nearest], starts[nearest + 1])
    i = 0
    while i < num_lists:
        start = end = starts[i]
        while (
            i < num_lists
            and end - start < SEGMENT
            and not (num_lists > 1 and i == nearest)
            and not run(layout, BEYOND, i, 0)
        ):
            i += 1
            end = starts[i]
        if start < end:
            run(layout, SCAN, start, end)
        else:
            i += 1
    return 0


@cache
def address_of_function(function: Any) -> int:
    """Compiled by the first who asks."""
    function.compile(number(LAYOUT, number, number))
    (compiled,) = function.overloads.values()
    return int(compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name))


@outer
def probe(table, layout, keys, distances, ids):
    """Fill ids and distances, ascending. layout: see `Packed`; keys: uint64 (2 k + 2 SAMPLE), scratch."""
    numbers, k, count = part(layout, NUMBERS), ids.size, layout[ROW_IDS, 1]
    numbers[WANTED], numbers[SUB_VECTORS], numbers[WIDE] = k, table.shape[0], table.shape[1]
    layout[ENTRIES, 0], layout[KEYS, 0], layout[KEYS, 1] = address_of(table), address_of(keys), keys.size
    numbers[STRIDE] = stride = FEW_CENTROIDS if table.shape[1] <= FEW_CENTROIDS else 256
    if table.shape[1] != stride:
        layout[ENTRIES, 0], padded = layout[PADDED, 0], part(layout, PADDED)
        width, blocks = table.shape[1], (table.shape[1] + WIDTH - 1) // WIDTH
        for m in range(table.shape[0]):
            if (table.shape[0] - m) * width >= blocks * WIDTH:  # whole blocks, with what is behind the row
                for c in range(0, width, WIDTH):
                    copy_block(address_of(table) + 4 * (width * m + c), layout[PADDED, 0] + 4 * (stride * m + c))
            else:
                for c in range(width):
                    padded[stride * m + c] = table[m, c]
    run(layout, SEARCH, k > FEW and count >= 16 * SAMPLE and count > 8 * k, 0)
    if numbers[SIZE] < k:
        run(layout, SEARCH, 0, 0)
    run(layout, TIDY, numbers[SIZE], k)
    run(layout, SORT_KEYS, k, 0)
    row_ids, bits, as_float = part(layout, ROW_IDS), bits_of(layout, LIMIT), part(layout, LIMIT)
    for i in range(k):
        bits[0] = np.int32(keys[i] >> np.uint64(32))
        distances[i] = as_float[0]
        ids[i] = row_ids[np.int64(keys[i] & np.uint64(0xFFFFFFFF))]


# ---- Packing: not timed ---------------------------------------------------------------------------------------------

LISTS: Final = 64
"""Clusters that are looked for."""
TRIED: Final = 20_000
"""Rows that the choice is made on."""
QUERIES: Final = 16
"""Of these, how many are asked for."""


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


def layout_of(arrays: tuple[NDArray[Any], ...]) -> NDArray[np.int64]:
    """Address and size of each: (n, 2)."""
    return np.array([(array.ctypes.data, array.size) for array in arrays], np.int64)


@dataclass(frozen=True)
class Packed:
    """A code set as `probe` takes it. layout, int64 (n, 2): address and size of each array.

    PACKED: block after block, in it sub-vector after sub-vector (M padded to whole runs), in that 64 codes; empty: all
    distances are summed. ROWS: PIECE sub-vectors after PIECE sub-vectors, in them the codes of row after row, list
    after list, and behind them the centers'. ROW_IDS: which vector a row is. STARTS (L + 1,): of lists. RADII (L,): no
    member of a list is farther from its center; one list has none.
    The rest is the kernel's scratch.
    """

    arrays: tuple[NDArray[Any], ...]
    layout: NDArray[np.int64]
    count: int


class PqKernel:
    """Answers top-k queries over packed codes."""

    def __init__(self, shape: PqShape, codebook: NDArray[np.float32]) -> None:
        self.codebook = codebook
        parts, wide, dsub = codebook.shape
        blocks = -(-wide // WIDTH)
        centroids = np.zeros((parts, blocks * WIDTH, dsub), np.float32)
        centroids[:, :wide] = codebook
        self.centroids = np.ascontiguousarray(centroids.reshape(parts, blocks, WIDTH, dsub).transpose(0, 1, 3, 2))
        groups = min(kind.groups for kind in KINDS if kind.groups >= wide)
        self.kind = [kind for kind in KINDS if kind.groups == groups][-1 if parts > MANY else 0]
        self.numbers = np.zeros(12, np.int64)
        self.most, self.keys = 0, np.zeros(0, np.uint64)
        sizes = {
            LIMIT: 1, LOWS: parts, TABLES: (parts + 8) * 256, SUMS: SEGMENT + LANES,
            POSITIONS: SEGMENT + AT_ONCE, DISTANCES: BATCH + 16, TO_CENTER: LISTS, HISTOGRAM: 256,
            PADDED: parts * 256, ENTRIES: 0, KEYS: 0,
        }  # fmt: skip
        scratch = [np.zeros(size, str(ITEMS[part])) for part, size in sizes.items()]
        self.scratch = (self.numbers, *scratch)
        functions = [sum_up, score, tidy, sort_keys, beyond, least, select, scan, search]
        functions += bounds_of(self.kind) if SHUFFLE else ()
        places = np.array([(address_of_function(function), 0) for function in functions], np.int64)
        self.layout = np.concatenate([layout_of(self.scratch), places])

    def distance_table(self, query: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """Fill out, float32 (M, K), for one query, float32 (dim,). Timed."""
        fill_table(query, self.centroids, out)

    def probe_top_k(
        self, table: NDArray[np.float32], codes: Packed, k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The min(k, N) nearest: ids int64 and distances float32, ascending. Timed.

        `codes` is what pack_codes returned.
        """
        size = k if k < codes.count else codes.count  # min(), or a view, takes longer than a scan of 100 rows
        ids, distances = np.empty(size, np.int64), np.empty(size, np.float32)
        if size:
            if size > self.most:
                self.most, self.keys = size, np.empty(2 * size + 2 * SAMPLE, np.uint64)
            probe(table, codes.layout, self.keys, distances, ids)
        return ids, distances

    def pack_codes(self, codes: NDArray[np.uint8]) -> Packed:
        """Lay the codes, uint8 (N, M), out in lists and blocks, in the way that costs least on a sample. Not timed."""
        if not self._may_bound(codes):
            return self._packed(codes)
        sample = codes[:: -(-len(codes) // TRIED)]
        tables = [self._table(query) for query in self._decoded(sample[:: -(-len(sample) // QUERIES)])]
        centers = cluster_centers(self._decoded(sample[:: -(-len(sample) // 1024)]))
        best, best_cost, best_reach = None, np.inf, 0.0
        for some in (None,) if centers is None else (None, centers):
            packed = self._packed(sample, some)
            for reach in self.kind.reaches:
                packed.arrays[SETTINGS][REACH] = reach
                cost = sum(self._cost(table, packed) for table in tables)
                if cost < best_cost:
                    best, best_cost, best_reach = some, cost, reach
        packed = self._packed(codes, best)
        packed.arrays[SETTINGS][REACH] = best_reach
        return packed

    def _may_bound(self, codes: NDArray[np.uint8]) -> bool:
        """Whether bounds can pay: hardly where there is little to sum."""
        return bool(SHUFFLE) and len(codes) > WORTHWHILE and codes.size > 3 * WORTHWHILE

    def _cost(self, table: NDArray[np.float32], packed: Packed) -> float:
        """About the nanoseconds that a query takes."""
        self.probe_top_k(table, packed, 10)
        rows, costs = self.numbers[[SWEPT, SCORED, SUMMED]], np.array([(0.0, self.kind.cost), SCORED_NS, SUMMED_NS])
        return float(rows @ costs @ (1, len(table)))

    def _decoded(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The vectors that codes (N, M) stand for, float32 (N, dim)."""
        return self.codebook[np.arange(codes.shape[1]), codes].reshape(len(codes), -1)

    def _table(self, query: NDArray[np.float32]) -> NDArray[np.float32]:
        table = np.empty(self.codebook.shape[:2], np.float32)
        fill_table(query, self.centroids, table)
        return table

    def _packed(self, codes: NDArray[np.uint8], centers: NDArray[np.float32] | None = None) -> Packed:
        """In the lists of the nearest centers, or in one; and in blocks, if there are enough rows for bounds."""
        count, num_sub_vectors = codes.shape
        # A bound of the relative error of a float32 distance: no term is negative, each operation errs by 2^-24.
        error = (num_sub_vectors + self.codebook.shape[2] + 16) * 2.0**-22
        order, starts, radii = np.arange(count), np.array([0, count]), np.array([np.inf])
        coded = np.empty((0, num_sub_vectors), np.uint8)
        if centers is not None:
            # A coded center's distance to a query is a sum of table entries.
            coded = np.stack([self._table(center).argmin(axis=1) for center in centers]).astype(np.uint8)
            tables = np.stack([self._table(center) for center in self._decoded(coded)], axis=-1)
            nearest, squared = np.empty(count, np.uint8), np.empty(count, np.float32)
            assign(tables, codes, nearest, squared)
            order = np.argsort(nearest, kind="stable")
            starts = np.concatenate([[0], np.cumsum(np.bincount(nearest, minlength=len(centers)))])
            radii = np.zeros(len(centers))
            np.maximum.at(radii, nearest, squared)
            radii = np.sqrt(radii * (1.0 + error) + 1e-28)  # what underflowed is far below 1e-28
        rows, packed = np.concatenate([codes if centers is None else codes[order], coded]), np.empty(0, np.uint8)
        pieces = np.concatenate([rows[:, m : m + PIECE].ravel() for m in range(0, num_sub_vectors, PIECE)])
        if self._may_bound(codes):
            code = np.arange(256, dtype=np.uint8)
            if self.kind.nibbles:  # bit 7 says which
                code = (code >> 4 & 1) << 7 | code >> 5 << 4 | code & 15
            packed = np.zeros(
                (-(-count // LANES), -(-num_sub_vectors // self.kind.run) * self.kind.run, LANES), np.uint8
            )
            for m in range(num_sub_vectors):
                column = np.zeros(len(packed) * LANES, np.uint8)
                column[:count] = code[rows[:count, m]]
                packed[:, m] = column.reshape(-1, LANES)
        arrays = np.array([0.0, error, 0.0, 0.0]), packed, pieces, order.astype(np.int32), starts, radii
        return Packed((*arrays, *self.scratch), np.concatenate([layout_of(arrays), self.layout]), count)
