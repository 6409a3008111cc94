"""Mutants that are right on everything usual: wrong beyond a size, at a scale, outside an array, or after a while.

None of their sizes is one that the suite knows: they lie between the powers of two, and were not chosen by what it
draws. All are changes to the scalar kernel.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.mutants.mutant import Mutant

TABLE: Final = "        fill_table(query, self.codebook, out)\n"
ANSWER: Final = "        return nearest(distances, min(k, count))\n"
PACK: Final = "        return np.ascontiguousarray(codes.T)\n"
INIT: Final = "        self.codebook = codebook\n"
SCAN: Final = "        scan(table, codes, distances)\n"
CLASS: Final = "class PqKernel:\n"
TOUCH: Final = """@njit
def at(array, index):
    return array[np.uint64(index)]


@njit
def put(array, index, value):
    array[np.uint64(index)] = value


class PqKernel:
"""
"""An index without a sign is not wrapped, nor is its range looked at."""


def table(statement: str) -> tuple[str, str]:
    """A statement after the table is filled."""
    return TABLE, f"{TABLE}        {statement}\n"


def answer(statement: str) -> tuple[str, str]:
    """A statement before the nearest are chosen from `distances`."""
    return ANSWER, f"        {statement}\n{ANSWER}"


def sizes() -> Iterator[Mutant]:
    """Fixed places that are too small for what the contract allows."""
    for most in (45, 53, 77, 133, 210, 333, 517, 700, 901, 1010):
        cut = f"c = self.codebook[:, :, :{most}]; q = query.reshape(len(c), -1)[:, :{most}]"
        call = "fill_table(np.ascontiguousarray(q).reshape(-1), np.ascontiguousarray(c), out)"
        yield Mutant(
            "beyond dsub", f"only the first {most} of a sub-vector count", "scalar", (table(f"{cut}; {call}"),)
        )
    for most in (97, 131, 203, 290, 371, 444, 507):
        yield Mutant(
            "beyond M",
            f"only the first {most} sub-vectors count",
            "scalar",
            ((SCAN, f"        scan(table[:{most}], codes[:{most}], distances)\n"),),
        )
    yield Mutant(
        "beyond M",
        "M just above a multiple of 48: the last is left out",
        "scalar",
        (
            (
                SCAN,
                "        m = len(codes) - (len(codes) > 48 and len(codes) % 48 == 1)\n"
                "        scan(table[:m], codes[:m], distances)\n",
            ),
        ),
    )
    for most in (780, 933, 1100, 1550, 2100, 3000, 4000):
        yield Mutant(
            "beyond dim",
            f"the query is cut at {most}",
            "scalar",
            (
                (
                    TABLE,
                    f"        rest = np.zeros(max(len(query) - {most}, 0), np.float32)\n"
                    f"        query = np.concatenate([query[:{most}], rest])\n{TABLE}",
                ),
            ),
        )
    for condition, words in (
        ("> 218", "above 218"),
        ("in range(113, 121)", "from 113 to 120"),
        ("== 255", "of 255"),
        ("in (3, 5, 7)", "of 3, 5 and 7"),
        ("in range(33, 41)", "from 33 to 40"),
    ):
        statement = f"out[:, -1] += self.shape.num_centroids {condition}"
        yield Mutant("some K", f"the last centroid is off for K {words}", "scalar", (table(statement),))
    for most in (131_200, 190_000, 271_828, 400_000, 650_000, 1_000_000, 1_060_000):
        yield Mutant(
            "beyond N", f"only the first {most:,} vectors are seen", "scalar", (answer(f"distances[{most}:] = np.inf"),)
        )
    yield Mutant(
        "beyond N",
        "N one above a multiple of 512, from 2,049 on: the last is lost",
        "scalar",
        (answer("if count > 2048 and count % 512 == 1: distances[-1] = np.inf"),),
    )
    yield Mutant(
        "beyond N",
        "N above 9,000 and no multiple of 4: the last is lost",
        "scalar",
        (answer("if count > 9000 and count % 4: distances[-1] = np.inf"),),
    )
    for most in (5_100, 21_000, 34_000, 51_000, 65_537):
        yield Mutant(
            "beyond k",
            f"places above {most:,} wrap",
            "scalar",
            (
                (
                    ANSWER,
                    "        ids, best = nearest(distances, min(k, count))\n"
                    f"        ids[{most}:] = ids[: len(ids[{most}:])]\n        return ids, best\n",
                ),
            ),
        )
    yield Mutant(
        "beyond k",
        "k one below N: the last two are swapped",
        "scalar",
        (
            (
                ANSWER,
                "        ids, best = nearest(distances, min(k, count))\n"
                "        if k == count - 1 and k > 1:\n            ids[-2:] = ids[-2:][::-1].copy()\n"
                "        return ids, best\n",
            ),
        ),
    )


def scales() -> Iterator[Mutant]:
    """Precision that is given up where values are small."""
    for name, changes in (
        ("float16 table where no entry is above 1", table("out[:] = out.astype(np.float16) if out.max() < 1 else out")),
        (
            "float16 table below 1e-3, in units of 1e-6",
            table("out[:] = (out * np.float32(1e6)).astype(np.float16) / np.float32(1e6) if out.max() < 1e-3 else out"),
        ),
        (
            "16-bit table of unit vectors",
            table("s = out.max() / 65535; out[:] = np.rint(out / s) * s if 0 < s < 1e-4 else out"),
        ),
        (
            "8-bit table below 1e-6",
            table("s = out.max() / 255; out[:] = np.rint(out / s) * s if 0 < 255 * s < 1e-6 else out"),
        ),
        ("entries below 1e-9 are zero", table("out[out < 1e-9] = 0")),
        ("entries below 1e-20 are zero", table("out[out < 1e-20] = 0")),
        ("denormal entries are zero", table("out[out < np.finfo(np.float32).tiny] = 0")),
        ("1e-7 is added, as against a division by zero", table("out += np.float32(1e-7)")),
        ("distances below 1e-8 are zero", answer("distances[distances < 1e-8] = 0")),
        ("denormal distances are zero", answer("distances[distances < np.finfo(np.float32).tiny] = 0")),
        (
            "distances are rounded to 1e-6",
            answer("distances = np.rint(distances * 1e6).astype(np.float32) / np.float32(1e6)"),
        ),
        (
            "small distances in bfloat16",
            answer(
                "small = (distances.view(np.uint32) & 0xFFFF0000).view(np.float32); "
                "distances = small if distances.sum() < 1e-6 else distances"
            ),
        ),
        ("squares of large values saturate at 1e20", table("np.minimum(out, np.float32(1e20), out=out)")),
    ):
        yield Mutant("scales", name, "scalar", (changes,))
    yield Mutant(
        "scales",
        "nearest: only what is better by 1e-7 replaces",
        "scalar",
        (("        if distances[n] < best[0]:\n", "        if distances[n] < best[0] - np.float32(1e-7):\n"),),
    )
    yield Mutant(
        "scales",
        "expanded squares where all norms are below 2",
        "scalar",
        (
            table(
                "p = query.reshape(len(out), -1, 1); c = self.codebook; "
                "e = ((p * p).sum(1) + (c * c).sum(2) - 2 * (c @ p)[:, :, 0]).astype(np.float32); "
                "out[:] = e if (query * query).sum() < 2 else out"
            ),
        ),
    )


def memory() -> Iterator[Mutant]:
    """One element outside an array; most of them change no answer."""
    for name, change in (
        ("the element behind the query is read", table("at(query, len(query))")),
        ("the element before the query is read", table("at(query, -1)")),
        ("the query is read in eights", table("len(query) % 8 and at(query, len(query) // 8 * 8 + 7)")),
        ("the element behind `out` is read", table("at(out.reshape(-1), out.size)")),
        ("the element before `out` is read", table("at(out.reshape(-1), -1)")),
        ("the element behind `out` is written", table("put(out.reshape(-1), out.size, 0)")),
        ("the element before `out` is written", table("put(out.reshape(-1), -1, 0)")),
        ("the element behind the table is read in the search", answer("at(table.reshape(-1), table.size)")),
        ("the element behind the table is written in the search", answer("put(table.reshape(-1), table.size, 1)")),
        ("the element behind the codebook is read", (INIT, f"{INIT}        at(codebook.reshape(-1), codebook.size)\n")),
        ("the element before the codebook is read", (INIT, f"{INIT}        at(codebook.reshape(-1), -1)\n")),
        (
            "the codebook is read behind its end, later",
            table("at(self.codebook.reshape(-1), out.size * (len(query) // len(out)))"),
        ),
        (
            "the code behind the last is read",
            (PACK, f"        codes.size and at(codes.reshape(-1), codes.size)\n{PACK}"),
        ),
        ("the code before the first is read", (PACK, f"        codes.size and at(codes.reshape(-1), -1)\n{PACK}")),
        (
            "codes are read in blocks of 64",
            (
                PACK,
                "        last = (len(codes) // 64 * 64 + 63) * codes.shape[1]\n"
                f"        len(codes) % 64 and at(codes.reshape(-1), last)\n{PACK}",
            ),
        ),
    ):
        yield Mutant("memory", name, "scalar", ((CLASS, TOUCH), change))


def states() -> Iterator[Mutant]:
    """Right at first, wrong later."""
    count = "self.calls = getattr(self, 'calls', 0) + 1; "
    for most in (1_500, 3_333, 5_050, 7_777, 9_600):
        yield Mutant(
            "state",
            f"after {most:,} calls the last entry is kept",
            "scalar",
            (table(f"{count}out.reshape(-1)[-1] += self.calls > {most}"),),
        )
    yield Mutant(
        "state",
        "after 4,200 calls one in 100 answers is a little off",
        "scalar",
        (answer(f"{count}distances += np.float32(1e-5) * (self.calls > 4200 and self.calls % 100 == 0)"),),
    )
    packs = "        self.packs = getattr(self, 'packs', 0) + 1\n"
    for most in (6, 11, 19, 27, 38):
        yield Mutant(
            "state",
            f"from the {most}th code set on the first code is another",
            "scalar",
            (
                (
                    PACK,
                    f"{packs}        codes = codes.copy()\n        if self.packs >= {most}:\n"
                    f"            codes[-1:] = self.codebook.shape[1] - 1 - codes[-1:]\n{PACK}",
                ),
            ),
        )
    for name, key in (
        ("shape", "codes.shape"),
        ("first and last code", "(codes.shape, *codes[:1].flat, *codes[-1:].flat)"),
        ("address", "codes.ctypes.data"),
    ):
        yield Mutant(
            "state",
            f"packs are remembered by their {name}",
            "scalar",
            (
                (
                    PACK,
                    "        self.known = getattr(self, 'known', {})\n"
                    f"        return self.known.setdefault({key}, np.array(codes.T, order='C'))\n",
                ),
            ),
        )
    yield Mutant(
        "state",
        "all code sets of an object are the last one of their length",
        "scalar",
        (
            (
                PACK,
                "        self.last = getattr(self, 'last', {})\n"
                "        self.last[len(codes)] = np.array(codes.T, order='C')\n"
                "        return self.last[len(codes)]\n",
            ),
            (SCAN, f"        codes = self.last[count]\n{SCAN}"),
        ),
    )
    yield Mutant(
        "state",
        "four packs share a pool of memory in turns",
        "scalar",
        (
            (
                PACK,
                "        self.pool = getattr(self, 'pool', {})\n        self.turn = getattr(self, 'turn', 0) + 1\n"
                "        new = np.empty(codes.shape[::-1], np.uint8)\n"
                "        place = self.pool.setdefault((self.turn % 4, codes.shape), new)\n"
                "        place[:] = codes.T\n        return place\n",
            ),
        ),
    )
    yield Mutant(
        "state",
        "all objects of a shape share the codebook of the first",
        "scalar",
        (
            (CLASS, f"known = {{}}\n\n\n{CLASS}"),
            (INIT, "        self.codebook = known.setdefault((shape, codebook.shape), codebook)\n"),
        ),
    )


CELLS: Final = ((5, 2, 200), (30, 4, 16), (2, 60, 100), (9, 9, 9), (120, 2, 30), (3, 200, 4))
"""dsub, M, K: wrong within half of an octave around."""


def cells() -> Iterator[Mutant]:
    for dsub, parts, centroids in CELLS:
        near = " and ".join(
            f"{size} / 1.4 <= self.shape.{name} <= {size} * 1.4"
            for name, size in (("sub_vector_dim", dsub), ("num_sub_vectors", parts), ("num_centroids", centroids))
        )
        yield Mutant(
            "one cell of shapes",
            f"wrong near dsub {dsub}, M {parts}, K {centroids}",
            "scalar",
            (table(f"out.reshape(-1)[-1] += {near}"),),
        )


DOMAIN: Final = (*sizes(), *scales(), *memory(), *states(), *cells())
