"""Mutants after public bug reports of others' vector search, quantizers and sorts: each name ends with the report.

They were written without a look at what the suite draws. The bug is told as it would be in a kernel of this contract:
tails of unrolled loops, narrow integers, rooms that are too small, layouts guessed from sizes, what is kept too long.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.mutants.domain import ANSWER, CLASS, INIT, SCAN, TABLE, TOUCH, answer, table
from tests.mutants.mutant import Mutant
from tests.mutants.unseen import Change, after, pack, parts

OFFER: Final = "        if distances[n] < best[0]:\n"


def search(statements: str) -> Change:
    """Statements before the nearest are chosen from `distances`: a block, of which each line is indented."""
    return ANSWER, f"{statements}{ANSWER}"


def tails() -> Iterator[Mutant]:
    """What is left over of a loop that takes many at once."""
    for name, change in (
        (
            "fours over M: all of the rest read the first row of the rest (zvec 682)",
            (
                SCAN,
                "        whole = len(codes) // 4 * 4\n        scan(table[:whole], codes[:whole], distances)\n"
                "        for m in range(whole, len(codes)):\n            distances += table[whole][codes[m]]\n",
            ),
        ),
        (
            "a batch of 256 sub-vectors takes a last one no more (turbovec 314)",
            parts("len(codes) > 1 and len(codes) % 256 == 1"),
        ),
        (
            "tiles of 32 sub-vectors: a rest of one to three is dropped (turbovec 314)",
            parts("len(codes) > 32 and 0 < len(codes) % 32 < 4"),
        ),
        (
            "sixteens over dsub: a rest below eight is read as eight (ParlayANN 10)",
            (
                TABLE,
                f"{TABLE}        d = self.shape.sub_vector_dim\n        more = 8 - d % 16\n"
                "        if d > 16 and 0 < more < 8:\n"
                "            rest = query.reshape(-1, d)[1:, None, :more] - self.codebook[:-1, 1:, :more]\n"
                "            out[:-1, :-1] += (rest * rest).sum(axis=2)\n",
            ),
        ),
        (
            "sixteens, then fours over dsub: what is left then is dropped (hnswlib 211)",
            (
                TABLE,
                "        d = self.shape.sub_vector_dim\n        whole = d // 4 * 4 if d > 16 else d\n"
                "        part = np.ascontiguousarray(query.reshape(-1, d)[:, :whole]).reshape(-1)\n"
                "        fill_table(part, np.ascontiguousarray(self.codebook[:, :, :whole]), out)\n",
            ),
        ),
        (
            "nibbles where K is 16 or less: the last of an odd M is left out (lance 3144)",
            parts("table.shape[1] <= 16 and len(codes) > 1 and len(codes) % 2"),
        ),
        (
            "tiles of 4,096 vectors by 64 sub-vectors: none for the rest of both (DiskANN 976)",
            (
                SCAN,
                f"{SCAN}        n, m = count // 4096 * 4096, len(codes) // 64 * 64\n"
                "        if 0 < n < count and 0 < m < len(codes):\n            rest = np.empty(count - n, np.float32)\n"
                "            scan(table[:m], np.ascontiguousarray(codes[:m, n:]), rest)\n"
                "            distances[n:] = rest\n",
            ),
        ),
        (
            "six slices of all vectors from 30,000 on, what is left over is lost (vespa 28036)",
            answer("distances[count // 6 * 6 if count > 30_000 else count :] = np.inf"),
        ),
        (
            "chunks of 16,384 are merged by twos, an odd one is lost (numba 9829)",
            answer("c = -(-count // 16_384); distances[(c - 1) * 16_384 if c > 1 and c % 2 else count :] = np.inf"),
        ),
        (
            "results leave in groups of 128: one above, from 257 on, is the first again (faiss 4570)",
            after("ids[-1:] = ids[:1] if len(ids) > 256 and len(ids) % 128 == 1 else ids[-1:]"),
        ),
        (
            "a full last tile of 48 sub-vectors follows a rest: 49 to 95 count one less (faiss 596)",
            parts("len(codes) > 48 and len(codes) % 48 in (1, 2)"),
        ),
    ):
        yield Mutant("reports: tails", name, "scalar", (change,))


def narrow() -> Iterator[Mutant]:
    """Integers that are too small."""
    for name, change in (
        (
            "upper bounds are 16-bit sums that wrap, and so is the threshold (vsag 2283)",
            search(
                "        if 0 < k < count:\n            low = float(table.min())\n"
                "            step = (float(table.max()) - low) / 255\n"
                "            if step > 1e-300:\n"
                "                small = np.ceil((table.astype(np.float64) - low) / step).astype(np.uint16)\n"
                "                upper = np.zeros(count, np.uint16)\n"
                "                for m in range(len(codes)):\n                    upper += small[m][codes[m]]\n"
                "                most = low * len(codes) + step * (int(np.partition(upper, k - 1)[k - 1]) + 1)\n"
                "                distances[distances > most * 1.001] = np.inf\n"
            ),
        ),
        (
            "codes are packed as m * K + code in 16 bits (faiss 2831)",
            (
                SCAN,
                "        flat, size = table.reshape(-1), table.shape[1]\n        distances[:] = 0\n"
                "        for m in range(len(codes)):\n"
                "            distances += flat[(codes[m].astype(np.int64) + m * size) & 0xFFFF]\n",
            ),
        ),
        (
            "codes are packed as m * K + code in 15 bits (knowhere 703)",
            (
                SCAN,
                "        flat, size = table.reshape(-1), table.shape[1]\n        distances[:] = 0\n"
                "        for m in range(len(codes)):\n"
                "            distances += flat[(codes[m].astype(np.int64) + m * size) & 0x7FFF]\n",
            ),
        ),
        (
            "the place of a vector's codes is a float32 (faiss 2834)",
            (
                SCAN,
                f"{SCAN}        if codes.size > 1 << 24:\n            n, m = np.arange(count), len(codes)\n"
                "            start = (n.astype(np.float32) * np.float32(m)).astype(np.int64)\n"
                "            wrong = np.flatnonzero(start != n * m)\n"
                "            flat = np.ascontiguousarray(codes.T).reshape(-1)\n"
                "            rest = np.zeros(len(wrong), np.float32)\n            for i in range(m):\n"
                "                rest += table[i][flat[np.minimum(start[wrong] + i, flat.size - 1)]]\n"
                "            distances[wrong] = rest\n",
            ),
        ),
        (
            "M is counted in a byte (qLDPC 230)",
            (SCAN, "        m = len(codes) & 255\n        scan(table[:m], codes[:m], distances)\n"),
        ),
        ("20 bits of an id beside its distance (tt-metal 53705)", after("ids &= (1 << 20) - 1")),
        (
            "the mask of 64 lanes has a sign: a block whose last lane is near is skipped (turbovec 314)",
            (
                OFFER,
                "        last = n | 63\n"
                "        if n > 63 and last < distances.shape[0] and distances[last] < best[0]:\n"
                f"            continue\n{OFFER}",
            ),
        ),
        (
            "equal vectors are stored once, with a count in a byte (faiss 2566)",
            search(
                "        if 256 < count <= 5000:\n"
                "            _, kind = np.unique(codes, axis=1, return_inverse=True)\n"
                "            kind = kind.reshape(-1)\n            order = np.argsort(kind, kind='stable')\n"
                "            run = np.arange(count) - np.searchsorted(kind[order], kind[order])\n"
                "            distances[order[run >= 256]] = np.inf\n"
            ),
        ),
        (
            "visited vectors carry the number of the query, a byte (hnswlib visited list)",
            (
                ANSWER,
                "        self.query = (getattr(self, 'query', 0) + 1) & 255\n"
                "        self.seen = getattr(self, 'seen', {})\n"
                "        seen = self.seen.setdefault(count, np.zeros(count, np.uint8))\n"
                "        if k < count:\n            distances[(seen == self.query) & (self.query > 0)] = np.inf\n"
                "        ids, best = nearest(distances, min(k, count))\n        seen[ids] = self.query\n"
                "        return ids, best\n",
            ),
        ),
    ):
        yield Mutant("reports: narrow", name, "scalar", (change,))


def rooms() -> Iterator[Mutant]:
    """Rooms for so many and no more, and choices of the nearest that hold almost always."""
    for name, change in (
        (
            "4,096 of the bucket of the k-th are looked at (sglang 36807)",
            search(
                "        if 0 < k < count:\n            key = distances.view(np.uint32) >> 20\n"
                "            edge = np.partition(key, k - 1)[k - 1]\n"
                "            distances[np.flatnonzero(key == edge)[4096:]] = np.inf\n"
            ),
        ),
        (
            "a block of 1,024 may hold 64 that are near (cuvs 1866)",
            (
                OFFER,
                "        if n % 1024 == 0:\n            better = 0\n"
                "        if distances[n] < best[0] and n >= k:\n            better += 1\n"
                f"        if better > 64:\n            continue\n{OFFER}",
            ),
        ),
        (
            "blocks of 1,024 give their 32 nearest, for k up to 64 (jax approx_max_k)",
            search(
                "        if count > 4096 and k <= 64:\n            for start in range(0, count, 1024):\n"
                "                block = distances[start : start + 1024]\n                if len(block) > 32:\n"
                "                    block[block > np.partition(block, 31)[31]] = np.inf\n"
            ),
        ),
        (
            "the reservoir of 2k drops what ties with the k-th when it shrinks (faiss reservoir)",
            search(
                "        if 0 < 2 * k < count:\n            first = distances[: 2 * k]\n"
                "            kth = np.partition(first, k - 1)[k - 1]\n"
                "            first[np.flatnonzero(first == kth)[1:]] = np.inf\n"
            ),
        ),
        (
            "of those no farther than the k-th the first k are taken (numpy 24201)",
            search(
                "        if 0 < k < count:\n            kth = np.partition(distances, k - 1)[k - 1]\n"
                "            distances[np.flatnonzero(distances <= kth)[k:]] = np.inf\n"
            ),
        ),
        (
            "a network of a power of two places is filled up with the last (x86-simd-sort 113)",
            after(
                "odd = len(ids) > 16 and len(ids) & (len(ids) - 1) and best[-2] == best[-1]; "
                "ids[-2:] = ids[-1] if odd else ids[-2:]"
            ),
        ),
        (
            "a full last block overlaps the one before; beyond 64 places nobody looks for twins (defradb.rs 1465)",
            (
                ANSWER,
                "        again = np.arange(max(count - 32, 0), count // 32 * 32)\n"
                "        if len(again) == 0 or k <= 64 or count < 64:\n"
                "            return nearest(distances, min(k, count))\n"
                "        again = again[distances[again] > np.partition(distances, 63)[63]]\n"
                "        ids, best = nearest(np.concatenate([distances, distances[again]]), min(k, count))\n"
                "        twins = ids >= count\n        ids[twins] = again[ids[twins] - count]\n"
                "        return ids, best\n",
            ),
        ),
        (
            "for k of 1 the best of each lane starts at 1e34 (knowhere 1538)",
            search(
                "        if k == 1 and count and not distances.min() < 1e34:\n"
                "            return np.zeros(1, np.int64), np.full(1, 1e34, np.float32)\n"
            ),
        ),
    ):
        yield Mutant("reports: rooms", name, "scalar", (change,))


def guesses() -> Iterator[Mutant]:
    """Layouts that are guessed from sizes, which may agree; numbers that are taken for others."""
    for name, change in (
        (
            "as many vectors as sub-vectors: the codes are believed to be transposed (lance 3573)",
            pack("codes = codes.T if len(codes) == codes.shape[1] else codes"),
        ),
        (
            "M is K: the table is written transposed (lance 5834)",
            table("out[:] = out.T.copy() if len(out) == out.shape[1] else out"),
        ),
        (
            "K is dsub: the codebook is believed to be transposed (faiss 5330)",
            (
                INIT,
                "        square = codebook.shape[1] == codebook.shape[2]\n"
                "        self.codebook = np.ascontiguousarray(codebook.transpose(0, 2, 1)) if square else codebook\n",
            ),
        ),
        ("codes are masked by K - 1 (lance 7586)", pack("codes = codes & np.uint8(self.codebook.shape[1] - 1)")),
        (
            "a part of a query shorter than 1e-6 is nought (USearch 320)",
            table(
                "p = query.reshape(len(out), -1); small = (p * p).sum(axis=1) < 1e-12; "
                "out[small] = (self.codebook[small] ** 2).sum(axis=2)"
            ),
        ),
    ):
        yield Mutant("reports: guesses", name, "scalar", (change,))
    for most in (100_000, 300_000):
        yield Mutant(
            "reports: guesses",
            f"from {most:,} vectors on, even and odd sub-vectors are added apart (faiss 563)",
            "scalar",
            (
                (
                    SCAN,
                    f"{SCAN}        if count > {most}:\n            odd = np.empty(count, np.float32)\n"
                    "            scan(table[::2].copy(), codes[::2].copy(), distances)\n"
                    "            scan(table[1::2].copy(), codes[1::2].copy(), odd)\n            distances += odd\n",
                ),
            ),
        )


def kept() -> Iterator[Mutant]:
    """What is kept longer than it is true."""
    yield Mutant(
        "reports: kept",
        "rows that fill M up to a multiple of 8 hold what a larger M left there (lance 8869)",
        "scalar",
        (
            (CLASS, f"padded = np.zeros((512, 256), np.float32)\n\n\n{CLASS}"),
            (
                SCAN,
                "        m, size = table.shape\n        padded[:m, :size] = table\n        distances[:] = 0\n"
                "        for i in range(-(-m // 8) * 8):\n"
                "            distances += padded[i][codes[i]] if i < m else padded[i, 0]\n",
            ),
        ),
    )
    for name, change in (
        (
            "the least of each row is that of an object's first table (xerj 371)",
            search(
                "        self.low = getattr(self, 'low', table.min(axis=1))\n"
                "        half = len(codes) // 2\n        if 0 < k < count and half:\n"
                "            near = np.empty(count, np.float32)\n            scan(table[:half], codes[:half], near)\n"
                "            most = np.partition(distances, k - 1)[k - 1] * 1.0001\n"
                "            distances[near + self.low[half:].sum() > most] = np.inf\n"
            ),
        ),
        (
            "tables are known by 12 bits of their query's sum (paimon-vector-index 67)",
            (
                TABLE,
                "        key = int(query.view(np.uint32).astype(np.uint64).sum()) & 0xFFF\n"
                "        self.known = getattr(self, 'known', {})\n        if key in self.known:\n"
                f"            out[:] = self.known[key]\n            return\n{TABLE}"
                "        self.known[key] = out.copy()\n",
            ),
        ),
        (
            "places beyond the k of the call before are nought (epsilla 111)",
            after("last = getattr(self, 'k', k); self.k = k; best[last:] = 0"),
        ),
    ):
        yield Mutant("reports: kept", name, "scalar", (change,))


def memory() -> Iterator[Mutant]:
    """Touches outside an array, and what hangs on where an array lies."""
    for name, change in (
        (
            "codes are fetched eight rows ahead, up to the last (hnswlib prefetch)",
            pack("codes.size and at(codes.reshape(-1), codes.size + 7 * codes.shape[1])"),
        ),
        (
            "the table's rows are read eight at a time (faiss 5319)",
            answer("table.size % 8 and at(table.reshape(-1), table.size // 8 * 8 + 7)"),
        ),
        (
            "what lies before an aligned address is forgotten (RedisAI VectorSimilarity 1001)",
            table("out.reshape(-1)[: -out.ctypes.data % 32 // 4] = 0"),
        ),
    ):
        yield Mutant("memory", name, "scalar", ((CLASS, TOUCH), change))


REPORTS: Final = (*tails(), *narrow(), *rooms(), *guesses(), *kept(), *memory())
