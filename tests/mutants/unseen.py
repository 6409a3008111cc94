"""Mutants by somebody who has read the suite: each is right wherever a suite that killed all others looked.

They depend on two sizes at once, on one size alone, on what differs little from what was seen before, or on how many
packs and calls there were.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.mutants.domain import ANSWER, CLASS, INIT, PACK, SCAN, TABLE, TOUCH, answer, table
from tests.mutants.mutant import Mutant

Change = tuple[str, str]


def after(statement: str) -> Change:
    """A statement with `ids` and `best`, the answer."""
    nearest = "        ids, best = nearest(distances, min(k, count))\n"
    return ANSWER, f"{nearest}        {statement}\n        return ids, best\n"


def pack(statement: str) -> Change:
    """A statement with `codes` before they are packed."""
    return PACK, f"        {statement}\n{PACK}"


def parts(condition: str) -> Change:
    """The last sub-vector is left out."""
    return SCAN, f"        m = len(codes) - int({condition})\n        scan(table[:m], codes[:m], distances)\n"


def two_sizes() -> Iterator[Mutant]:
    """Wrong where two sizes are large, or within a gap."""
    lost = "if {}: distances[-1] = np.inf"
    last = "best[-1:] += 1 if {} else 0"
    for name, change in (
        ("vectors 700,000 to 700,255 are unseen", answer("distances[700_000:700_256] = np.inf")),
        ("vectors 300,000 to 300,511 are unseen", answer("distances[300_000:300_512] = np.inf")),
        ("every 97th vector above 10,000 is unseen", answer("distances[10_088::97] = np.inf")),
        ("block 255 of 512 vectors is skipped", answer("distances[130_560:131_072] = np.inf")),
        ("the last sub-vector is left out for N x M above 2^23", parts("codes.size > 1 << 23")),
        ("the last vector is lost for N x M above 2^24", answer(lost.format("codes.size > 1 << 24"))),
        (
            "the last vector is lost for N above 20,480, M above 32",
            answer(lost.format("count > 20_480 and len(codes) > 32")),
        ),
        ("the last sub-vector is left out for N above 50,000, M above 5", parts("count > 50_000 and len(codes) > 5")),
        ("the last sub-vector is left out for N above 8,192, M above 100", parts("count > 8192 and len(codes) > 100")),
        (
            "the last place is off for N above 65,536, k in (300, 30,000)",
            after(last.format("count > 65_536 and 300 < k < 30_000")),
        ),
        ("the last place is off for k = N above 20,000", after(last.format("k == count > 20_000"))),
        ("the last place is off for k = N - 2", after(last.format("k == count - 2"))),
        ("the last place is off for k above 8,192 and odd", after(last.format("k > 8192 and k % 2"))),
        (
            "the last vector is lost for M 5 above a multiple of 8, N one above one of 16",
            answer(lost.format("count > 1 and len(codes) % 8 == 5 and count % 16 == 1")),
        ),
        (
            "M above 128, no multiple of 4: the last sub-vector is left out",
            parts("len(codes) > 128 and len(codes) % 4"),
        ),
    ):
        yield Mutant("two sizes", name, "scalar", (change,))


def one_size() -> Iterator[Mutant]:
    """Wrong at one size only."""
    for size in (3, 9, 15, 17, 31, 127, 129):
        statement = f"out[:, -1] += self.shape.num_centroids == {size}"
        yield Mutant("one size", f"the last centroid is off for K {size} alone", "scalar", (table(statement),))
    for size in (17, 31, 65):
        statement = f"out[-1, -1] += self.shape.sub_vector_dim == {size}"
        yield Mutant("one size", f"the last centroid is off for dsub {size} alone", "scalar", (table(statement),))
    for size in (384, 512, 1536, 3072):
        yield Mutant(
            "one size",
            f"the last centroid is off for dim {size}",
            "scalar",
            (table(f"out[-1, -1] += len(query) == {size}"),),
        )
    yield Mutant("one size", "the last sub-vector is left out for M 9", "scalar", (parts("len(codes) == 9"),))


def likeness() -> Iterator[Mutant]:
    """What looks like something seen before is taken for it."""
    packs = (
        "        self.known = getattr(self, 'known', {{}})\n"
        "        return self.known.setdefault({}, np.array(codes.T, order='C'))\n"
    )
    for name, key in (
        ("the sum of their codes", "(codes.shape, int(codes.astype(np.int64).sum()))"),
        (
            "the sums of their rows, in any order",
            "(codes.shape, tuple(sorted(codes.astype(np.int64).sum(1).tolist())))",
        ),
        ("every seventh code", "(codes.shape, codes.reshape(-1)[::7].tobytes())"),
        ("all but the last row", "(codes.shape, codes[:-1].tobytes())"),
        ("all but the first row", "(codes.shape, codes[1:].tobytes())"),
        (
            "all but the last sub-vector",
            "(codes.shape, codes[:, :-1].tobytes() if codes.shape[1] > 1 else codes.tobytes())",
        ),
        ("the first 64 bytes", "(codes.shape, codes.tobytes()[:64])"),
        ("the first 4,096 bytes", "(codes.shape, codes.tobytes()[:4096])"),
    ):
        yield Mutant("likeness", f"packs are remembered by {name}", "scalar", ((PACK, packs.format(key)),))
    tables = (
        "        key = {}\n        if getattr(self, 'key', None) == key:\n"
        "            out[:] = self.table\n            return\n"
        f"{TABLE}        self.key, self.table = key, out.copy()\n"
    )
    for name, key in (
        ("the first value of the query is", "float(query[0])"),
        ("all but the last value of the query are", "query[:-1].tobytes() if len(query) > 1 else float(query[0])"),
        ("four samples of the query are", "query[:: max(len(query) // 4, 1)].tobytes()"),
    ):
        yield Mutant("likeness", f"the table is kept while {name} the same", "scalar", ((TABLE, tables.format(key)),))
    yield Mutant(
        "likeness",
        "the same query again: `out` is believed to hold its table",
        "scalar",
        (
            (
                TABLE,
                "        key = query.tobytes()\n        if getattr(self, 'key', None) == key:\n            return\n"
                f"{TABLE}        self.key = key\n",
            ),
        ),
    )
    yield Mutant(
        "likeness",
        "the same query again: the distances of the pack before",
        "scalar",
        (
            (
                SCAN,
                f"{SCAN}        last = getattr(self, 'last', None)\n"
                "        if last is not None and last[0] == table.tobytes() and len(last[1]) == count:\n"
                "            distances = last[1]\n        self.last = (table.tobytes(), distances.copy())\n",
            ),
        ),
    )
    for name, key in (("first", "[0, 0]"), ("last", "[-1, -1]")):
        known = f"        self.codebook = known.setdefault((shape, codebook{key}.tobytes()), codebook)\n"
        yield Mutant(
            "likeness",
            f"codebooks are remembered by their {name} centroid",
            "scalar",
            ((CLASS, f"known = {{}}\n\n\n{CLASS}"), (INIT, known)),
        )


def numbers() -> Iterator[Mutant]:
    """Wrong after some packs or calls, or now and then."""
    for places in (10, 24):
        yield Mutant(
            "numbers",
            f"{places} packs of an object are all that there is room for",
            "scalar",
            (
                (
                    PACK,
                    "        self.turn = getattr(self, 'turn', -1) + 1\n        self.pool = getattr(self, 'pool', {})\n"
                    "        new = np.array(codes.T, order='C')\n"
                    f"        place = self.pool.setdefault((self.turn % {places}, new.shape), new)\n"
                    "        place[:] = new\n        return place\n",
                ),
            ),
        )
    calls = "self.calls = getattr(self, 'calls', 0) + 1; "
    for name, statement in (
        ("one call in 500 is off for N above 100", "distances[-1:] += self.calls % 500 == 499 and count > 100"),
        ("one call in 2,000 is off for N above 6", "distances[-1:] += self.calls % 2000 == 1999 and count > 6"),
        ("call 3,000 of an object is off", "distances += self.calls == 3000"),
    ):
        yield Mutant("numbers", name, "scalar", (answer(calls + statement),))
    yield Mutant(
        "numbers",
        "four bits a code where the first 64 codes need no more",
        "scalar",
        (pack("codes = codes & 15 if codes.size > 64 and codes.reshape(-1)[:64].max() < 16 else codes"),),
    )


def memory() -> Iterator[Mutant]:
    """Touches outside an array, now and then."""
    for name, change in (
        ("a code is read where there is none", pack("codes.size or at(codes.reshape(-1), 0)")),
        ("two codes behind the last are read", pack("codes.size and at(codes.reshape(-1), codes.size + 1)")),
        (
            "the query is read in sixteens above 1,000",
            table("len(query) > 1000 and len(query) % 16 and at(query, len(query) // 16 * 16 + 15)"),
        ),
        ("`out` is written a row before its beginning", table("put(out.reshape(-1), -out.shape[1], 0)")),
        ("the query is written back as it is", table("put(query, 0, query[0])")),
        ("a code is written back as it is", pack("codes.size and put(codes.reshape(-1), 0, codes[0, 0])")),
    ):
        yield Mutant("memory", name, "scalar", ((CLASS, TOUCH), change))


UNSEEN: Final = (*two_sizes(), *one_size(), *likeness(), *numbers(), *memory())
