"""The kernel under experiment: asymmetric L2 search over product-quantized vectors.

This is the one file to edit. It may import numpy, numba, llvmlite, math, typing, functools, dataclasses, __future__
and `PqShape`; nothing else. `program.md` says how the experiment runs.

Asymmetric distance computation (ADC): a vector is stored as M one-byte codes, each the index of a centroid. For a
query, `distance_table` holds the squared L2 distance of each of its M sub-vectors to each of the K centroids, and the
distance to a stored vector is the sum of M table entries, one per code.

How this kernel finds the k nearest, exactly, without summing float32 entries for most vectors:

1. Byte shuffles look up 64 lanes at a time in tables so small that they stay in registers [2, 3, 4]. The
   tables hold lower bounds: entries rounded down to 4 or 6 bits, and, where that is enough, one entry for a group of
   near centroids (their minimum). A vector whose sum of bounds exceeds the k-th distance so far is ruled out.
2. A first threshold comes from the vectors with the smallest bounds; then one pass selects what may still be nearer.
3. The survivors' distances are summed from the float32 table in the reference's order, so they agree bit for bit.

How fine the tables are is decided by `pack_codes`, which tries each `Fineness` on sampled vectors.

[1] Jegou, Douze & Schmid, "Product Quantization for Nearest Neighbor Search", TPAMI 2011: ADC and IVFADC.
[2] Andre, Kermarrec & Le Scouarnec, "Cache locality is not enough: High-Performance Nearest Neighbor Search with
    Product Quantization Fast Scan", VLDB 2015: small tables of minima in SIMD registers, lower bounds, pruning.
[3] Andre, Kermarrec & Le Scouarnec, "Quicker ADC", TPAMI 2019; faiss's 4-bit `IndexPQFastScan`: codes in blocks.
[4] Blalock & Guttag, "Bolt", KDD 2017: tables quantised to bytes with one scale for all sub-vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from llvmlite import binding, ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from pytest_lance_ar import PqShape

LANES: Final = 64
"""Vectors in a block: two SIMD registers of 32 bytes, so that each table is loaded once for both."""
SEGMENT: Final = 16_384
"""Vectors whose bounds are computed before any is selected: their sums, two bytes each, stay in the L1 cache. After
one, the query may give up on bounds that rule out too little."""
HUGE_PAGE: Final = 2 * 1024 * 1024
SMALL: Final = 1024
"""Of so few vectors, all distances are summed."""
SAMPLE: Final = 512
"""Sums from which the first limit is guessed."""


@dataclass(frozen=True)
class Fineness:
    """How a sub-vector's bounds are stored: one entry for each group of centroids, of a byte or of 4 bits."""

    groups: int
    nibbles: bool
    reach: float
    """The largest entry stands for so many times the mean entry; what is larger is clipped, which keeps it a bound."""
    cost: float
    """About how many nanoseconds a look-up takes: only ratios matter."""

    @property
    def table_bytes(self) -> int:
        return self.groups // 2 if self.nibbles else self.groups


TOP_BYTE: Final = 63  # the largest entry: four of them add up to less than 256
TOP_NIBBLE: Final = 15


def host_shuffle() -> str:
    """The byte shuffle of this CPU, "" where it is not known: then all distances are summed."""
    try:
        features = dict(binding.get_host_cpu_features())
    except RuntimeError:
        features = {}
    architecture = binding.get_process_triple().partition("-")[0]
    if architecture in ("aarch64", "arm64"):
        return "neon"
    if features.get("avx512vbmi") and features.get("avx512bw"):
        return "vbmi"
    if features.get("avx2"):
        return "avx2"
    return "ssse3" if features.get("ssse3") else ""


SHUFFLE: Final = host_shuffle()
DIFFERENCE: Final = 256 if SHUFFLE in ("vbmi", "neon") else 16
FINENESSES: Final = (
    (
        Fineness(64, False, 2.5, 0.01),
        Fineness(128, False, 2.5, 0.02),
        Fineness(256, False, 2.5, 0.03),
    )
    if SHUFFLE in ("vbmi", "neon")
    else (
        Fineness(32, False, 5.0, 0.05),
        Fineness(64, False, 5.0, 0.09),
        Fineness(128, True, 1.75, 0.07),
        Fineness(256, True, 1.75, 0.11),
    )
)

# ---- SIMD, in LLVM's own vector types: only the byte shuffle differs between CPUs -----------------------------------

I32, I64 = ir.IntType(32), ir.IntType(64)
HALF = ir.VectorType(ir.IntType(8), 16)
BYTES = ir.VectorType(ir.IntType(8), LANES)
WORDS = ir.VectorType(ir.IntType(16), LANES // 2)


def splat(vector: Any, value: int) -> Any:
    return ir.Constant(vector, [value] * vector.count)


def pick(builder: Any, a: Any, b: Any, lanes: list[int]) -> Any:
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, len(lanes)), lanes))


def join(builder: Any, parts: list[Any]) -> Any:
    """One vector of several."""
    while len(parts) > 1:
        lanes = [*range(2 * parts[0].type.count)]
        parts = [pick(builder, a, b, lanes) for a, b in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


def call(builder: Any, name: str, vector: Any, *args: Any) -> Any:
    """An intrinsic of LLVM that returns such a vector."""
    function = ir.FunctionType(vector, [arg.type for arg in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, function, name), args)


def shuffle_16(builder: Any, register: Any, index: Any) -> Any:
    """16 bytes, 64 indices: register[index % 16], or 0 where bit 7 of the index is set."""
    if SHUFFLE == "avx2":
        both = pick(builder, register, register, [*range(16)] * 2)
        width, name = 32, "llvm.x86.avx2.pshuf.b"
    else:
        both, width, name = register, 16, "llvm.x86.ssse3.pshuf.b.128"
    parts = [pick(builder, index, index, [*range(at, at + width)]) for at in range(0, LANES, width)]
    return join(builder, [call(builder, name, both.type, both, part) for part in parts])


def load(builder: Any, pointer: Any, at: Any, vector: Any) -> Any:
    """The vector that starts `at` bytes behind a pointer to bytes."""
    return builder.load(builder.bitcast(builder.gep(pointer, [at]), vector.as_pointer()), align=1)


def look_up(builder: Any, fineness: Fineness, table: Any, code: Any) -> Any:
    """The entries of 64 codes. table: a pointer to the small tables of their sub-vector."""

    def registers(vector: Any) -> list[Any]:
        ends = range(0, fineness.table_bytes, vector.count)
        return [load(builder, table, ir.Constant(I64, at), vector) for at in ends]

    if SHUFFLE == "vbmi":
        rows = registers(BYTES)
        if len(rows) == 1:
            return call(builder, "llvm.x86.avx512.permvar.qi.512", BYTES, rows[0], code)
        name = "llvm.x86.avx512.vpermi2var.qi.512"
        halves = [call(builder, name, BYTES, a, code, b) for a, b in zip(rows[::2], rows[1::2], strict=True)]
        return halves[0] if len(halves) == 1 else builder.select(is_negative(builder, code), halves[1], halves[0])
    entry = splat(BYTES, 0)
    if SHUFFLE == "neon":
        for i in range(0, fineness.table_bytes, 64):  # an index beyond its 64 bytes gives 0
            index = builder.sub(code, splat(BYTES, i))
            rows = registers(HALF)[i // 16 : i // 16 + 4]
            parts = [pick(builder, index, index, [*range(at, at + 16)]) for at in range(0, LANES, 16)]
            found = [call(builder, "llvm.aarch64.neon.tbl4.v16i8", HALF, *rows, part) for part in parts]
            entry = builder.add(entry, join(builder, found))
        return entry
    index = builder.and_(code, splat(BYTES, fineness.table_bytes - 1))
    for i, row in enumerate(registers(HALF)):
        # Tables hold differences to the one before: index - 16 i is negative, so bit 7 is set and the shuffle gives
        # 0, exactly for the tables after the one that the code belongs to.
        entry = builder.add(entry, shuffle_16(builder, row, builder.sub(index, splat(BYTES, 16 * i))))
    if fineness.nibbles:  # bit 7 of the code says which
        high = builder.bitcast(builder.lshr(builder.bitcast(entry, WORDS), splat(WORDS, 4)), BYTES)
        entry = builder.and_(builder.select(is_negative(builder, code), high, entry), splat(BYTES, 15))
    return entry


def is_negative(builder: Any, vector: Any) -> Any:
    return builder.icmp_signed("<", vector, splat(vector.type, 0))


def data_of(context: Any, builder: Any, array_type: Any, array: Any, at: Any) -> Any:
    """A pointer to the byte `at` of an array."""
    data = builder.bitcast(context.make_array(array_type)(context, builder, array).data, ir.IntType(8).as_pointer())
    return builder.gep(data, [at])


def bounds_of_block(fineness: Fineness) -> Any:
    """Compile-time factory: the function that sums the bounds of one block, for one fineness."""
    run = 8 if fineness.nibbles else 4  # sub-vectors whose entries add up to less than 256

    @intrinsic
    def block(_context, packed, tables, sub_vectors, number, sums, at):
        """sums[at : at + 64] = the sums of the entries of every code of block `number`, even lanes before odd ones."""

        def generate(context, builder, signature, args):
            packed, tables, sub_vectors, number, sums, at = args
            kinds = signature.args

            def const(value):
                return ir.Constant(I64, value)

            start = builder.mul(builder.mul(number, sub_vectors), const(LANES))
            codes = data_of(context, builder, kinds[0], packed, start)
            table = data_of(context, builder, kinds[1], tables, const(0))
            # u16 sums of (both bytes as one number, its high byte): the low byte's sum is their difference.
            totals = [cgutils.alloca_once_value(builder, splat(WORDS, 0)) for _ in range(2)]
            with cgutils.for_range(builder, builder.sdiv(sub_vectors, const(run))) as loop:
                run_sum = splat(BYTES, 0)
                for i in range(run):
                    m = builder.add(builder.mul(loop.index, const(run)), const(i))
                    code = load(builder, codes, builder.mul(m, const(LANES)), BYTES)
                    row = builder.gep(table, [builder.mul(m, const(fineness.table_bytes))])
                    run_sum = builder.add(run_sum, look_up(builder, fineness, row, code))
                words = builder.bitcast(run_sum, WORDS)
                for total, term in zip(totals, (words, builder.lshr(words, splat(WORDS, 8))), strict=True):
                    builder.store(builder.add(builder.load(total), term), total)

            both, odd = map(builder.load, totals)
            even = builder.sub(both, builder.shl(odd, splat(WORDS, 8)))
            for parity, total in enumerate((even, odd)):
                to = data_of(context, builder, kinds[4], sums, builder.add(builder.mul(at, const(2)), const(LANES * parity)))
                builder.store(total, builder.bitcast(to, WORDS.as_pointer()), align=1)
            return context.get_dummy_value()

        return types.void(packed, tables, types.intp, types.intp, sums, types.intp), generate

    return block


BLOCKS: Final = tuple(bounds_of_block(fineness) for fineness in FINENESSES)
block_0, block_1, block_2, block_3 = (*BLOCKS, BLOCKS[-1])[:4]


@intrinsic
def lanes_within(_context, sums, at, limit):
    """Bit n of the result: lane n of the 64 sums from `at` on is <= limit."""

    def generate(context, builder, signature, args):
        sums, at, limit = args
        limits = builder.insert_element(splat(WORDS, 0), limit, ir.Constant(I32, 0))
        limits = pick(builder, limits, limits, [0] * WORDS.count)
        both = splat(WORDS, 0)
        for parity, byte in enumerate((0x00FF, 0xFF00)):
            offset = builder.add(builder.mul(at, ir.Constant(I64, 2)), ir.Constant(I64, LANES * parity))
            data = data_of(context, builder, signature.args[0], sums, offset)
            part = load(builder, data, ir.Constant(I64, 0), WORDS)
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


# ---- The table ------------------------------------------------------------------------------------------------------


@njit(error_model="numpy")
def fill_table(query, codebook_t, out):
    """out[m, k] = squared L2 distance of sub-vector m of the query to centroid k. codebook_t: (M, dsub, K).

    The loops over k become SIMD; each sum still runs over d in order.
    """
    num_sub_vectors, dsub, num_centroids = codebook_t.shape
    for m in range(num_sub_vectors):
        q = m * dsub
        for k in range(num_centroids):
            out[m, k] = np.float32(0.0)
        d = 0
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


# ---- Exact distances and the heap -----------------------------------------------------------------------------------


@njit(error_model="numpy")
def sift_down(best, ids, size):
    """Restore the max-heap after its root was replaced."""
    parent = 0
    while True:
        child = 2 * parent + 1
        if child >= size:
            return
        if child + 1 < size and best[child + 1] > best[child]:
            child += 1
        if best[parent] >= best[child]:
            return
        best[parent], best[child] = best[child], best[parent]
        ids[parent], ids[child] = ids[child], ids[parent]
        parent = child


@njit(error_model="numpy")
def score(table, rows, row_ids, positions, count, best, ids):
    """Offer the rows at positions[:count] to the heap, by their exact distances."""
    last = count - 1
    for i in range(0, count, 4):
        p0, p1 = positions[i], positions[min(i + 1, last)]
        p2, p3 = positions[min(i + 2, last)], positions[min(i + 3, last)]
        d0 = d1 = d2 = d3 = np.float32(0.0)
        for m in range(table.shape[0]):
            d0 += table[m, rows[p0, m]]
            d1 += table[m, rows[p1, m]]
            d2 += table[m, rows[p2, m]]
            d3 += table[m, rows[p3, m]]
        if min(min(d0, d1), min(d2, d3)) < best[0]:
            four = (d0, d1, d2, d3)
            for j in range(min(4, count - i)):
                if four[j] < best[0]:
                    best[0], ids[0] = four[j], row_ids[positions[i + j]]
                    sift_down(best, ids, best.size)


# ---- Lower bounds ---------------------------------------------------------------------------------------------------


@njit(error_model="numpy", fastmath={"nnan", "nsz", "reassoc"})
def quantise(table, leaves, groups, nibbles, reach, values, lows, raw, tables):
    """Write the small tables of one query. Returns the sum of the sub-vectors' minima, the step, and a magnitude.

    leaves (M, 256): centroids in an order in which the members of a group are `groups` apart. An entry e of sub-vector
    m says: at least lows[m] + e * step. values (M, 256) and lows (M,) are scratch. The magnitude bounds the rounding
    errors; no float here carries a returned distance.
    """
    num_sub_vectors = table.shape[0]
    bits = values.view(np.int32)  # floats that are not negative order as these do, whose minimum is SIMD
    base, mean = 0.0, 0.0
    for m in range(num_sub_vectors):
        for j in range(256):
            values[m, j] = table[m, leaves[m, j]]
        if groups <= 128:
            for j in range(128):
                bits[m, j] = min(bits[m, j], bits[m, j + 128])
        if groups <= 64:
            for j in range(64):
                bits[m, j] = min(bits[m, j], bits[m, j + 64])
        if groups <= 32:
            for j in range(32):
                bits[m, j] = min(bits[m, j], bits[m, j + 32])
        lowest, total = bits[m, 0], np.float32(0.0)
        for j in range(groups):
            lowest = min(lowest, bits[m, j])
        for j in range(groups):
            total += values[m, j]
        bits[num_sub_vectors, m] = lowest
        base += lows[m]
        mean += total / groups - lows[m]
    top = np.float32(TOP_NIBBLE if nibbles else TOP_BYTE)
    step = np.float32(reach * mean / num_sub_vectors) / top
    inverse = np.float32(1.0) / step
    each = groups // 2 if nibbles else groups
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
        for j in range(DIFFERENCE, each):  # each table as its difference to the one before, modulo 256
            row[j] = raw[j] - raw[j - DIFFERENCE]
    return base, np.float64(step), base


@njit(error_model="numpy")
def sum_bounds(fineness, packed, tables, sub_vectors, first, last, sums):
    """sums: the bounds of blocks first .. last - 1, in steps."""
    for block in range(first, last):
        at = (block - first) * LANES
        if fineness == 0:
            block_0(packed, tables, sub_vectors, block, sums, at)
        elif fineness == 1:
            block_1(packed, tables, sub_vectors, block, sums, at)
        elif fineness == 2:
            block_2(packed, tables, sub_vectors, block, sums, at)
        else:
            block_3(packed, tables, sub_vectors, block, sums, at)


@njit(error_model="numpy")
def select(sums, count, above, limit, start, positions):
    """Write start + n for each of the first `count` lanes with above < sum <= limit. Returns how many."""
    found = 0
    for at in range(0, count, LANES):
        bits = lanes_within(sums, at, limit)
        if bits != 0:
            if above >= 0:
                bits &= ~lanes_within(sums, at, above)
            if at + LANES > count:
                bits &= (np.uint64(1) << np.uint64(count - at)) - np.uint64(1)
            while bits != 0:
                positions[found] = start + at + lowest_bit(bits)
                found += 1
                bits &= bits - np.uint64(1)
    return found


@njit(error_model="numpy")
def limit_of_rank(sums, count, rank, sample):
    """A limit that about `rank` of `count` sums do not exceed: an order statistic of a sample, by bisection.

    sample: uint16 (SAMPLE,), scratch, one run, so that counting is SIMD.
    """
    stride = count // SAMPLE
    for i in range(SAMPLE):
        sample[i] = sums[i * stride]
    wanted = rank * SAMPLE // count + 2
    low, high = 0, 65535
    while low < high:
        middle = (low + high) // 2
        limit, within = np.uint16(middle), np.uint16(0)
        for i in range(SAMPLE):
            within += np.uint16(sample[i] <= limit)
        if within >= wanted:
            high = middle
        else:
            low = middle + 1
    return low


# ---- One query ------------------------------------------------------------------------------------------------------


@njit(error_model="numpy")
def probe(
    table, packed, rows, row_ids, leaves, spans, numbers, values, raw, tables,
    sums, positions, best, ids,
):  # fmt: skip
    """Fill best and ids, ascending. Returns how many vectors were scored. The arrays are those of `Packed`."""
    num_sub_vectors, k = table.shape[0], best.size
    padded = (num_sub_vectors + 7) // 8 * 8
    for i in range(k):
        best[i], ids[i] = np.inf, -1
    reach, fineness, groups, nibbles = numbers[0], int(numbers[1]), int(numbers[2]), numbers[3] > 0
    base, step, slack = 0.0, 0.0, 0.0
    prepared, usable = False, False
    scored = 0

    for span in range(spans.shape[0]):
        end = spans[span, 1]
        for start in range(spans[span, 0], end, SEGMENT):
            size = min(SEGMENT, end - start)
            worth_it = fineness >= 0 and size > SMALL and 8 * k < size
            if worth_it and not prepared:
                prepared = True
                base, step, lows_size = quantise(
                    table, leaves, groups, nibbles, reach, values, values[num_sub_vectors], raw, tables
                )
                # Every float32 operation errs by 2^-24 of its result; no magnitude here exceeds this sum of all.
                slack = lows_size * (num_sub_vectors + 16) * 2.0**-22
                usable = 1e-30 < step < 1e30 and slack < 16 * step
            if worth_it and usable:
                sum_bounds(
                    fineness, packed, tables, padded, start // LANES,
                    (start + size + LANES - 1) // LANES, sums,
                )  # fmt: skip
                above = -1
                if best[0] == np.inf:
                    above = limit_of_rank(sums, size, 3 * k + 16, sums[SEGMENT:])
                    count = select(sums, size, -1, above, start, positions)
                    score(table, rows, row_ids, positions, count, best, ids)
                    scored += count
                threshold = best[0] * (1.0 + (num_sub_vectors + 16) * 2.0**-22)
                limit = int(max(0.0, min(65535.0, (threshold - base + slack) / step + 1.0)))
                count = select(sums, size, above, limit, start, positions)
                usable = 2 * count < size
            else:
                count = size
                for i in range(size):
                    positions[i] = start + i
            score(table, rows, row_ids, positions, count, best, ids)
            scored += count
    for size in range(k - 1, 0, -1):
        best[0], best[size] = best[size], best[0]
        ids[0], ids[size] = ids[size], ids[0]
        sift_down(best, ids, size)
    return scored


# ---- Packing: not timed ---------------------------------------------------------------------------------------------


@njit(error_model="numpy")
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


@dataclass(frozen=True)
class Packed:
    """A code set as `probe` takes it: `arrays` are its arguments between the table and the answer.

    Rows are padded to whole blocks.
    packed uint8: block after block, in it sub-vector after sub-vector (M padded to 8), in that 64 codes; rows uint8 (P,
    M): the codes
    themselves; row_ids int32 (P,); leaves (M, 256): see `quantise`; spans int64 (1, 2): the rows that
    are vectors; numbers float64: reach, fineness, groups, nibbles. The rest is scratch, here so that no query has to
    allocate it.
    """

    count: int
    arrays: tuple[NDArray[Any], ...]


def in_huge_pages(*arrays: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    """Copies of arrays, side by side in memory that the kernel may back with huge pages.

    A query reads hundreds of small pages, and after a switch of processes each costs a walk through page tables.
    numpy asks for huge pages (MADV_HUGEPAGE) when an array has 4 MiB or more.
    """
    starts = np.cumsum([0, *(-(-array.nbytes // LANES) * LANES for array in arrays)])
    arena = np.empty(max(starts[-1] + HUGE_PAGE, 2 * HUGE_PAGE), np.uint8)
    arena = arena[-arena.ctypes.data % HUGE_PAGE :]
    copies = []
    for start, array in zip(starts[:-1], arrays, strict=True):
        copy = arena[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        copy[...] = array
        copies.append(copy)
    return tuple(copies)


class PqKernel:
    """Answers top-k queries over packed codes."""

    def __init__(self, shape: PqShape, codebook: NDArray[np.float32]) -> None:
        self.shape = shape
        self.codebook = codebook
        (self.codebook_t,) = in_huge_pages(np.ascontiguousarray(codebook.transpose(0, 2, 1)))

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
            probe(table, *codes.arrays, distances, ids)
        return ids, distances

    def pack_codes(self, codes: NDArray[np.uint8]) -> Packed:
        """Lay the codes, uint8 (N, M), out in blocks. Not timed."""
        count = len(codes)
        if count == 0:
            return Packed(0, ())
        row_ids = np.zeros(-(-count // LANES) * LANES, np.int32)
        row_ids[:count] = np.arange(count)
        rows = codes[row_ids]
        spans = np.array([[0, count]])

        if count <= SMALL or not SHUFFLE:
            return Packed(count, self._arrays(rows, row_ids, spans, -1, None))
        groups = self._groups(codes)
        # Try every fineness on sampled vectors, eight of them as queries; count what it would have to score exactly.
        sample = np.ascontiguousarray(rows[:: max(1, len(rows) // 4096)][:4096])
        tables = [self._table_of(sample[i * len(sample) // 8]) for i in range(8)]
        costs = {}
        for fineness, how in enumerate(FINENESSES):
            arrays = self._arrays(sample, row_ids, np.array([[0, len(sample)]]), fineness, groups)
            answer = np.empty(3, np.float32), np.empty(3, np.int64)
            scored = np.mean([probe(table, *arrays, *answer) for table in tables]) - 25
            exact = 0.8 + 6.0 / self.shape.num_sub_vectors
            costs[fineness] = how.cost + exact * scored / len(sample)
        fineness = min(costs, key=costs.__getitem__)
        if min(costs.values()) > exact:  # bounds would not pay
            return Packed(count, self._arrays(rows, row_ids, spans, -1, None))
        return Packed(count, self._arrays(rows, row_ids, spans, fineness, groups))

    def _table_of(self, code: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The distance table of a stored vector."""
        table = np.empty(self.codebook.shape[:2], np.float32)
        fill_table(self.codebook[np.arange(len(code)), code].reshape(-1), self.codebook_t, table)
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

    def _arrays(
        self, rows: NDArray[np.uint8], row_ids: NDArray[np.int32], spans: NDArray[np.int64], fineness: int,
        groups: NDArray[np.uint8] | None,
    ) -> tuple[NDArray[Any], ...]:  # fmt: skip
        """The arrays of `Packed`; without groups, those of a set whose distances are all summed."""
        num_sub_vectors, num_centroids = self.codebook.shape[:2]
        scratch = (
            np.empty((num_sub_vectors + 1, max(256, num_sub_vectors)), np.float32),
            np.empty(256, np.uint8),
            np.zeros(-(-num_sub_vectors // 8) * 8 * 256, np.uint8),
            np.empty(SEGMENT + SAMPLE, np.uint16),
            np.empty(SEGMENT, np.int32),
        )
        packed, numbers = np.empty(0, np.uint8), np.zeros(4)
        leaves = np.zeros((num_sub_vectors, 256), np.uint8)
        numbers[1] = -1
        if groups is not None:
            leaves = groups
            how, row = FINENESSES[fineness], np.arange(num_sub_vectors)[:, np.newaxis]
            # Place p of `leaves` becomes the byte: p itself modulo groups; or the nibble in bit 7.
            place = np.arange(256) % how.groups
            byte = (place >> 4 & 1) << 7 | place >> 5 << 4 | place & 15 if how.nibbles else place
            code_of = np.zeros((num_sub_vectors, num_centroids), np.uint8)
            code_of[row, leaves] = byte
            packed = np.zeros((len(rows) // LANES, -(-num_sub_vectors // 8) * 8, LANES), np.uint8)
            for m in range(num_sub_vectors):
                packed[:, m] = code_of[m][rows[:, m]].reshape(-1, LANES)
            numbers[:] = how.reach, fineness, how.groups, how.nibbles
            packed = packed.reshape(-1)
        return in_huge_pages(packed, rows, row_ids, leaves, spans, numbers, *scratch)
