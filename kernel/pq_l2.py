"""The kernel under experiment: asymmetric L2 search over product-quantized vectors.

This is the one file to edit. It may import numpy, numba, llvmlite, math, typing, functools, dataclasses, __future__
and `PqShape`; nothing else. `program.md` says how the experiment runs.

Asymmetric distance computation (ADC) [1]: a vector is stored as M one-byte codes, each the index of a centroid. For a
query, `distance_table` holds the squared L2 distance of each of its M sub-vectors to each of the K centroids, and the
distance to a stored vector is the sum of M table entries, one per code.

How this kernel finds the k nearest, exactly, without summing float32 entries for most vectors:

1. Where the vectors form clusters, they are stored list by list. A list is skipped if the triangle inequality says
   that no member can be among the k nearest.
2. Of what is left, byte shuffles look up 64 lanes at a time in tables so small that they stay in registers [2, 3, 4].
   They hold lower bounds: entries rounded down to 4 or 6 bits and, where that is enough, one entry for a group of near
   centroids (their minimum). A vector whose sum of bounds exceeds the k-th distance so far is ruled out.
3. The survivors' distances are summed from the float32 table in the reference's order, so they agree bit for bit.

`pack_codes` decides how fine the bounds are, and whether lists pay, by trying on sampled vectors.

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
from numpy.typing import NDArray

from pytest_lance_ar import PqShape

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
SCORED_NS: Final = 20.0
EXACT_NS: Final = 0.7
"""What an exact distance costs, and for every code, about."""

# ---- SIMD, in LLVM's own vector types: only the byte shuffle differs between CPUs -----------------------------------

I32, I64 = ir.IntType(32), ir.IntType(64)
QUARTER = ir.VectorType(ir.IntType(8), 16)
BYTES = ir.VectorType(ir.IntType(8), LANES)
WORDS = ir.VectorType(ir.IntType(16), LANES // 2)


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
    return builder.gep(builder.bitcast(data, ir.IntType(8).as_pointer()), [byte])


def load(builder: Any, pointer: Any, at: Any, vector: Any) -> Any:
    """The vector that starts `at` bytes behind a pointer to bytes."""
    return builder.load(builder.bitcast(builder.gep(pointer, [at]), vector.as_pointer()), align=1)


def look_up(builder: Any, kind: Kind, table: Any, code: Any) -> Any:
    """The entries of 64 codes. table: a pointer to the small table of their sub-vector."""

    def registers(vector: Any) -> list[Any]:
        return [load(builder, table, ir.Constant(I64, at), vector) for at in range(0, kind.table_bytes, vector.count)]

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

            def const(value):
                return ir.Constant(I64, value)

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
        start = address(context, builder, signature.args[0], sums, builder.mul(at, ir.Constant(I64, 2)))
        both = splat(WORDS, 0)
        for parity, byte in enumerate((0x00FF, 0xFF00)):
            part = load(builder, start, ir.Constant(I64, LANES * parity), WORDS)
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


# ---- The table ------------------------------------------------------------------------------------------------------


@njit(error_model="numpy")
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
    """Offer the rows at positions[:count] to the heap, by their exact distances, four independent sums at a time."""
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


@njit(error_model="numpy")
def score_run(table, rows, row_ids, start, count, positions, best, ids):
    """Offer the rows start .. start + count - 1 to the heap."""
    for i in range(count):
        positions[i] = start + i
    score(table, rows, row_ids, positions, count, best, ids)


# ---- Lower bounds ---------------------------------------------------------------------------------------------------

SEGMENT: Final = 16_384
"""Rows whose bounds are computed before any is selected: their sums, two bytes each, stay in the L1 cache. After one,
the query may give up on bounds that rule out too little."""
SAMPLE: Final = 512
"""Sums from which the first limit is guessed."""
BLOCKS: Final = tuple(block_bounds(kind) for kind in KINDS)
block_0, block_1, block_2, block_3 = (*BLOCKS, *BLOCKS[-1:] * 3)[:4]


@njit(error_model="numpy", fastmath={"nnan", "nsz", "reassoc"})
def quantise(table, leaves, kind, reach, threshold, values, lows, raw, tables):
    """Write the small tables of one query. Returns the sum of the sub-vectors' minima, and the step.

    leaves (M, 256): centroids in an order in which the members of a group are GROUPS[kind] apart; not read where every
    centroid is a group. An entry e of sub-vector m says: at least lows[m] + e * step. The largest stands for `reach`
    times the mean entry, or times what a vector at the threshold has on average, if there is a threshold.
    values (M, 256), lows (M,) and raw (256,) are scratch. No float here carries a returned distance.
    """
    num_sub_vectors, groups, nibbles = table.shape[0], GROUPS[kind], NIBBLES[kind]
    if groups == table.shape[1]:
        values = table
    else:
        bits = values.view(np.int32)  # floats that are not negative order as these do, whose minimum is SIMD
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
    bits, low_bits = values.view(np.int32), lows.view(np.int32)
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


@njit(error_model="numpy")
def sum_bounds(kind, packed, tables, sub_vectors, first, last, sums):
    """sums: the bounds of blocks first .. last - 1, in steps."""
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


@njit(error_model="numpy")
def select(sums, first, last, above, limit, start, rows, positions):
    """Write start + n for each lane n from `first` to last - 1 with above < sum <= limit. Returns how many.

    The rows at those positions will be needed next.
    """
    num_sub_vectors = rows.shape[1]
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
                for byte in range(0, num_sub_vectors, 64):
                    prefetch(rows, position * num_sub_vectors + byte)
                positions[found] = position
                found += 1
                bits &= bits - np.uint64(1)
    return found


@njit(error_model="numpy")
def limit_of_rank(sums, first, last, rank, sample):
    """A limit that about `rank` of sums[first:last] do not exceed: an order statistic of a sample, by bisection.

    sample: uint16 (SAMPLE,), scratch, one run, so that counting is SIMD. There must be as many sums.
    """
    stride = (last - first) // SAMPLE
    for i in range(SAMPLE):
        sample[i] = sums[first + i * stride]
    wanted = rank * SAMPLE // (last - first) + 2
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


# ---- Lists ----------------------------------------------------------------------------------------------------------


@njit(error_model="numpy")
def beyond(to_center, radius, threshold, error):
    """Whether nothing within `radius` of a center is nearer than the threshold, by the triangle inequality.

    to_center and threshold are squared distances with a relative error each, so they must be far from 0 and infinity.
    """
    if not 1e-30 < threshold < 1e30 or not to_center < 1e30:
        return False
    nearest = np.sqrt(np.float64(to_center)) * (1.0 - error) - radius
    return nearest > 0.0 and nearest * nearest * (1.0 - error) > threshold


@njit(error_model="numpy")
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


# ---- One query ------------------------------------------------------------------------------------------------------

WORTHWHILE: Final = 256
"""Of so few rows, all distances are summed: bounds cost more."""
PARTS: Final = 15
(
    SETTINGS, PACKED, ROWS, ROW_IDS, LEAVES, STARTS, CENTERS, RADII,
    TO_CENTER, VALUES, LOWS, RAW, TABLES, SUMS, POSITIONS,
) = range(PARTS)  # fmt: skip


@njit(error_model="numpy")
def part(memory, layout, number):
    """The bytes of one of the arrays that `Packed` holds."""
    return memory[layout[number, 0] : layout[number, 1]]


@njit(error_model="numpy")
def probe(table, memory, layout, best, ids):
    """Fill best and ids, ascending. Returns how many rows were swept, and scored. memory, layout: see `Packed`."""
    num_sub_vectors, k = table.shape[0], best.size
    settings = part(memory, layout, SETTINGS).view(np.float64)
    packed = part(memory, layout, PACKED)
    rows = part(memory, layout, ROWS).reshape(-1, num_sub_vectors)
    row_ids = part(memory, layout, ROW_IDS).view(np.int32)
    starts = part(memory, layout, STARTS).view(np.int64)
    centers = part(memory, layout, CENTERS).reshape(-1, num_sub_vectors)
    radii = part(memory, layout, RADII).view(np.float64)
    to_center = part(memory, layout, TO_CENTER).view(np.float32)
    tables = part(memory, layout, TABLES)
    sums = part(memory, layout, SUMS).view(np.uint16)
    positions = part(memory, layout, POSITIONS).view(np.int32)
    kind, reach, error = int(settings[0]), settings[1], settings[2]
    num_lists, padded = radii.size, num_sub_vectors
    if kind >= 0:
        padded = (num_sub_vectors + RUNS[kind] - 1) // RUNS[kind] * RUNS[kind]

    for i in range(k):
        best[i], ids[i] = np.inf, -1
    swept, scored, nearest = 0, 0, 0
    if num_lists > 1:
        for i in range(num_lists):
            total = np.float32(0.0)
            for m in range(num_sub_vectors):
                total += table[m, centers[i, m]]
            to_center[i] = total
            if total < to_center[nearest]:
                nearest = i

    base, step = 0.0, 0.0
    prepared, bounded, first_sweep = False, False, True
    for turn in range(-1, num_lists):  # the nearest list first
        i = nearest if turn < 0 else turn
        if turn == nearest or (turn >= 0 and beyond(to_center[i], radii[i], best[0], error)):
            continue
        start, end = starts[i], starts[i + 1]
        if num_lists > 1 and best[0] == np.inf:  # a first threshold
            size = min(end - start, max(LANES, k), SEGMENT)
            score_run(table, rows, row_ids, start, size, positions, best, ids)
            scored += size
            start += size
        if not prepared and (num_lists == 1 or best[0] < np.inf):
            prepared = True
            left = 0
            for j in range(num_lists):
                if not beyond(to_center[j], radii[j], best[0], error):  # one list is infinitely wide
                    left += starts[j + 1] - starts[j]
            if kind >= 0 and left > WORTHWHILE and left > 8 * k:
                leaves = part(memory, layout, LEAVES).reshape(-1, 256)
                values = part(memory, layout, VALUES).view(np.float32).reshape(-1, 256)
                lows, raw = part(memory, layout, LOWS).view(np.float32), part(memory, layout, RAW)
                base, step = quantise(table, leaves, kind, reach, best[0], values, lows, raw, tables)
                bounded = 1e-30 < step < 1e30 and base * error < 16 * step
        while start < end:
            first = start % LANES
            size = min(SEGMENT - first, end - start)
            if bounded:
                row = start - first
                sum_bounds(kind, packed, tables, padded, row // LANES, (start + size + LANES - 1) // LANES, sums)
                swept += size
                above = -1
                if first_sweep and size >= SAMPLE:  # the rows with the least bounds give a good threshold
                    above = limit_of_rank(sums, first, first + size, 3 * k + 16, sums[SEGMENT:])
                    count = select(sums, first, first + size, -1, above, row, rows, positions)
                    score(table, rows, row_ids, positions, count, best, ids)
                    scored += count
                first_sweep = False
                # A sum may be one step too high, and base and best[0] are off by a relative error each.
                limit = int(max(0.0, min(65535.0, (best[0] * (1.0 + error) - base * (1.0 - error)) / step + 1.0)))
                count = select(sums, first, first + size, above, limit, row, rows, positions)
                score(table, rows, row_ids, positions, count, best, ids)
                scored += count
                bounded = 2 * count < size or size < SAMPLE
            else:
                score_run(table, rows, row_ids, start, size, positions, best, ids)
                scored += size
            start += size

    for size in range(k - 1, 0, -1):
        best[0], best[size] = best[size], best[0]
        ids[0], ids[size] = ids[size], ids[0]
        sift_down(best, ids, size)
    return swept, scored


# ---- Packing: not timed ---------------------------------------------------------------------------------------------

LISTS: Final = 64
"""Clusters that are looked for."""
TRIED: Final = 20_000
"""Rows that the choice is made on."""
QUERIES: Final = 16
"""Of these, how many are asked for."""
HUGE_PAGE: Final = 2 * 1024 * 1024


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


def in_huge_pages(*arrays: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All arrays in one, which the system may back with huge pages, and the first and last byte of each, (n, 2).

    A query reads hundreds of small pages, and after a switch of processes each costs a walk through page tables.
    numpy asks for huge pages (MADV_HUGEPAGE) when an array has 4 MiB or more. One array is also less to hand over.
    """
    starts = np.cumsum([0, *(-(-array.nbytes // LANES) * LANES for array in arrays)])
    memory = np.empty(max(starts[-1] + HUGE_PAGE, 2 * HUGE_PAGE), np.uint8)
    memory = memory[-memory.ctypes.data % HUGE_PAGE :]
    layout = np.array([(start, start + array.nbytes) for start, array in zip(starts, arrays, strict=False)], np.int64)
    for (start, end), array in zip(layout, arrays, strict=True):
        memory[start:end].view(array.dtype).reshape(array.shape)[...] = array
    return memory, layout


@dataclass(frozen=True)
class Lists:
    """Rows, list after list.

    rows uint8 (P, M): codes, padded to whole blocks; row_ids int32 (P,): which vector a row is; starts int64 (L + 1,);
    centers uint8 (L, M): codes; radii float64 (L,): no member is farther from its center. One list has no center.
    """

    rows: NDArray[np.uint8]
    row_ids: NDArray[np.int32]
    starts: NDArray[np.int64]
    centers: NDArray[np.uint8]
    radii: NDArray[np.float64]


@dataclass(frozen=True)
class Packed:
    """A code set as `probe` takes it: `memory` holds arrays, and layout, (PARTS, 2), their first and last bytes.

    SETTINGS float64: kind (-1: all distances are summed), reach, relative error of a distance; PACKED uint8: block
    after block, in it sub-vector after sub-vector (M padded to whole runs), in that 64 codes; LEAVES uint8 (M, 256):
    see `quantise`; five of `Lists`. The rest is scratch, here so that no query has to allocate it.
    """

    count: int
    memory: NDArray[np.uint8]
    layout: NDArray[np.int64]


class PqKernel:
    """Answers top-k queries over packed codes."""

    def __init__(self, shape: PqShape, codebook: NDArray[np.float32]) -> None:
        self.shape = shape
        self.codebook = codebook
        transposed = np.ascontiguousarray(codebook.transpose(0, 2, 1))
        memory, ((start, end),) = in_huge_pages(transposed)
        self.codebook_t = memory[start:end].view(np.float32).reshape(transposed.shape)

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
            probe(table, codes.memory, codes.layout, distances, ids)
        return ids, distances

    def pack_codes(self, codes: NDArray[np.uint8]) -> Packed:
        """Lay the codes, uint8 (N, M), out in lists and blocks, in the way that costs least on a sample. Not timed."""
        one_list = self._lists(codes, None)
        if len(codes) <= WORTHWHILE or not SHUFFLE:
            return self._packed(len(codes), one_list)
        sample = codes[:: -(-len(codes) // TRIED)]
        queries = self._decoded(sample[:: -(-len(sample) // QUERIES)])
        tables = [self._table(query) for query in queries]
        groups = self._groups(codes)
        centers = cluster_centers(self._decoded(sample[:: -(-len(sample) // 1024)]))
        whole = len(sample) == len(codes)
        tried = [one_list if whole else self._lists(sample, None)]
        if centers is not None:
            tried.append(self._lists(sample, centers))

        least, chosen = np.inf, (tried[0], -1, 0.0)
        answer = np.empty(min(10, len(sample)), np.float32), np.empty(min(10, len(sample)), np.int64)
        for lists in tried:
            for kind, how in enumerate(KINDS):
                packed = self._packed(len(sample), lists, groups, kind)
                for reach in how.reaches:
                    packed.memory[: packed.layout[SETTINGS, 1]].view(np.float64)[1] = reach
                    swept, scored = np.mean(
                        [probe(table, packed.memory, packed.layout, *answer) for table in tables], axis=0
                    )
                    exact = scored + (len(lists.radii) if len(lists.radii) > 1 else 0)
                    cost = scored * SCORED_NS + codes.shape[1] * (exact * EXACT_NS + swept * how.cost)
                    if cost < least:
                        least, chosen = cost, (lists, kind, reach)
        lists, kind, reach = chosen
        if not whole:
            lists = one_list if lists is tried[0] else self._lists(codes, centers)
        return self._packed(len(codes), lists, groups, kind, reach)

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
        row_ids = np.zeros(-(-count // LANES) * LANES, np.int32)
        row_ids[:count] = order
        return Lists(codes[row_ids] if count else codes, row_ids, starts, center_codes, radii)

    def _error(self) -> float:
        """A bound of the relative error of a float32 distance: no term is negative, each operation errs by 2^-24."""
        return float((self.shape.num_sub_vectors + self.shape.sub_vector_dim + 16) * 2.0**-22)

    def _packed(
        self, count: int, lists: Lists, groups: NDArray[np.uint8] | None = None, kind: int = -1, reach: float = 0.0
    ) -> Packed:
        num_sub_vectors, num_centroids = self.codebook.shape[:2]
        packed, leaves = np.empty(0, np.uint8), np.empty((0, 256), np.uint8)
        padded = num_sub_vectors
        if groups is not None and kind >= 0:
            how, row = KINDS[kind], np.arange(num_sub_vectors)[:, np.newaxis]
            leaves = groups
            if how.groups == num_centroids:
                leaves = np.tile((np.arange(256) % num_centroids).astype(np.uint8), (num_sub_vectors, 1))
            # Place p of `leaves` becomes the byte: p itself modulo groups; or the nibble in bit 7.
            place = np.arange(256) % how.groups
            byte = (place >> 4 & 1) << 7 | place >> 5 << 4 | place & 15 if how.nibbles else place
            code_of = np.zeros((num_sub_vectors, num_centroids), np.uint8)
            code_of[row, leaves] = byte
            padded = -(-num_sub_vectors // how.run) * how.run
            packed = np.zeros((len(lists.rows) // LANES, padded, LANES), np.uint8)
            for m in range(num_sub_vectors):
                packed[:, m] = code_of[m][lists.rows[:, m]].reshape(-1, LANES)
        memory, layout = in_huge_pages(
            np.array([kind, reach, self._error()]),
            packed,
            lists.rows,
            lists.row_ids,
            leaves,
            lists.starts,
            lists.centers,
            lists.radii,
            np.empty(len(lists.radii), np.float32),
            np.empty((num_sub_vectors, 256), np.float32),
            np.empty(num_sub_vectors, np.float32),
            np.empty(256, np.uint8),
            np.zeros(padded * 256, np.uint8),
            np.empty(SEGMENT + SAMPLE, np.uint16),
            np.empty(SEGMENT, np.int32),
        )
        return Packed(count, memory, layout)
