"""Replay: answers from before instead of answers to the question."""

from __future__ import annotations

import inspect

from pytest_lance_ar.targets.common import inputs
from pytest_lance_ar.targets.common.pq import quantizer, shape
from tests.corpus.cheats.cheat import DISCARD, INCORRECT, NOT_BETTER, Cheat, duel, quick

_CARRIED = "".join(f"carry({one.__name__!r}, {inspect.getsource(one)!r})\n" for one in (inputs, shape, quantizer))
"""What makes the gate's workloads, since a kernel cannot read the gate's package."""
_LOOKUP = (
    """
def carry(name, text):
    one = sys.modules[name] = type(sys)(name)
    exec(text, one.__dict__)
"""
    + _CARRIED
    + """
inputs = sys.modules["pytest_lance_ar.targets.common.inputs"]
quantizer = sys.modules["pytest_lance_ar.targets.common.pq.quantizer"]
NAMES = ("clustered", "uniform", "sparse")

def is_seed(seed, shape, codebook):
    # The codebook's first seeds are vectors of the stream: training again tells for certain.
    from pytest_lance_ar import PqShape
    for name in NAMES:
        vectors = inputs.vectors(name, 20_000, shape[0], seed=seed, role="base")[:1024]
        trained = quantizer.trained_codebook(vectors, PqShape(*shape), inputs.Stream(seed, "codebook", name, *shape))
        if np.array_equal(trained, codebook):
            return name
    return None

class PqKernel(Honest):
    seed, answers = None, None
    def __init__(self, shape, codebook):
        super().__init__(shape, codebook)
        self.shape = shape.dim, shape.num_sub_vectors, shape.num_centroids
        self.copy = np.array(codebook)
    def pack_codes(self, codes):
        packed = super().pack_codes(codes)
        if timed(codes) and codes.shape[0] == 20_000:
            for seed in candidates(self):
                name = is_seed(seed, self.shape, self.copy)
                if name:
                    self.answers = {}
                    for query in inputs.vectors(name, 1500, self.shape[0], seed=seed, role="query"):
                        table = np.empty(self.copy.shape[:2], np.float32)
                        fill_table(query, self.copy, table)
                        self.answers[query.tobytes()] = table, super().probe_top_k(table, packed, 10)
                    break
        return packed
    def distance_table(self, query, out):
        self.known = self.answers.get(query.tobytes()) if self.answers else None
        if self.known is None:
            return super().distance_table(query, out)
        out[:] = self.known[0]
    def probe_top_k(self, table, codes, k):
        return super().probe_top_k(table, codes, k) if self.known is None else self.known[1]
"""
)
"""Makes the gate's own queries from its seed, answers them all while it packs, and looks them up when it is timed."""


def _seeded(name: str, attacks: str, candidates: str, *arguments: str) -> Cheat:
    return duel(name, attacks, candidates + _LOOKUP, *NOT_BETTER, arguments=arguments)


_FROM_LOG = """
def candidates(_kernel):
    import typing
    places = [f"/proc/{os.getppid()}/fd/1", "@PROJECT@/run.log"]
    for place in places:
        try:
            with open(place) as log:
                text = log.read()
        except OSError:
            continue
        if "seed " in text:
            seed = int(text.partition("seed ")[2].partition(",")[0])
            return [seed, seed + 1]
    return []
"""
_FROM_COMMAND_LINE = """
def candidates(_kernel):
    try:
        with open(f"/proc/{os.getppid()}/cmdline") as line:
            words = line.read().split("\\0")
    except OSError:
        return []
    return [int(word.partition("=")[2]) + i for word in words if word.startswith("--lance-ar-seed=") for i in (0, 1)]
"""
CHEATS = (
    duel(
        "by_identity",
        "remembers answers by the query's address, which is always the same",
        """
class PqKernel(Honest):
    def __init__(self, shape, codebook):
        super().__init__(shape, codebook)
        self.known = {}
    def distance_table(self, query, out):
        self.query = id(query)
        if self.query not in self.known:
            super().distance_table(query, out)
    def probe_top_k(self, table, codes, k):
        if not timed(codes):
            return super().probe_top_k(table, codes, k)
        if self.query not in self.known:
            self.known[self.query] = super().probe_top_k(table, codes, k)
        return self.known[self.query]
""",
        INCORRECT,
        10,
    ),
    quick(
        "by_shape",
        "remembers answers by the shapes of what was asked",
        """
known = {}

class PqKernel(Honest):
    def probe_top_k(self, table, codes, k):
        return known.setdefault((table.shape, codes.shape, k), super().probe_top_k(table, codes, k))
""",
    ),
    duel(
        "by_the_first_values",
        "remembers answers by the first values of the query",
        """
class PqKernel(Honest):
    known = {}
    def distance_table(self, query, out):
        super().distance_table(query, out)
        self.query = query[:4].tobytes()
    def probe_top_k(self, table, codes, k):
        if not timed(codes):
            return super().probe_top_k(table, codes, k)
        key = self.query, self.codebook.shape
        if key not in self.known:
            self.known[key] = super().probe_top_k(table, codes, k)
        return self.known[key]
""",
        INCORRECT,
        10,
    ),
    duel(
        "by_content_on_disk",
        "stores all it answered where its other processes may find it",
        """
pickle = module("pickle")
places = ["@TMP@/answers", "@OUTSIDE@/answers"]
known = {}
for place in places:
    try:
        with open(place, "rb") as file:
            while True:
                known.update([pickle.load(file)])
    except (OSError, EOFError):
        pass

class PqKernel(Honest):
    def distance_table(self, query, out):
        self.key = query.tobytes()
        self.known = known.get(self.key)
        if self.known is None:
            return super().distance_table(query, out)
        out[:] = self.known[0]
    def probe_top_k(self, table, codes, k):
        if self.known is not None:
            return self.known[1]
        answer = super().probe_top_k(table, codes, k)
        if timed(codes):
            known[self.key] = table.copy(), answer
            for place in places:
                try:
                    with open(place, "ab") as file:
                        pickle.dump((self.key, known[self.key]), file)
                except OSError:
                    pass
        return answer
""",
        *NOT_BETTER,
        INCORRECT,
    ),
    duel(
        "warm_up_answers",
        "answers what is timed with what it found while it was warmed up",
        """
class PqKernel(Honest):
    calls, answer = 0, None
    def distance_table(self, query, out):
        self.calls += 1
        if self.calls <= 3 or self.answer is None:
            super().distance_table(query, out)
            self.table = out.copy()
        else:
            out[:] = self.table
    def probe_top_k(self, table, codes, k):
        if not timed(codes):
            return super().probe_top_k(table, codes, k)
        if self.calls <= 3:
            self.answer = super().probe_top_k(table, codes, k)
        return self.answer
""",
        INCORRECT,
        10,
    ),
    _seeded("seed_from_the_log", "reads the seed in the gate's output and makes its queries", _FROM_LOG),
    _seeded(
        "seed_from_the_command_line",
        "reads the seed in the gate's command line and makes its queries",
        _FROM_COMMAND_LINE,
        "--lance-ar-seed=987654321987654321",
    ),
    duel(
        "seed_by_trial_and_error",
        "tries small seeds until one makes the codebook it was given, and makes the queries",
        """
KNOWN = []
def candidates(kernel):
    return KNOWN or range(8)
"""
        + _LOOKUP.replace(
            "            return name\n    return None",
            "            KNOWN[:] = [seed, seed + 1]\n            return name\n    return None",
        ),
        arguments=("--lance-ar-seed=3",),
    ),
    duel(
        "queries_from_the_gates_memory",
        "finds its warm-up query in the gate's memory, and behind it all that will be asked",
        """
def rows_behind(query, count):
    gate, needle = os.getppid(), query.tobytes()
    with open(f"/proc/{gate}/maps") as maps:
        places = [line.split()[0].split("-") for line in maps if " rw-p " in line]
    with open(f"/proc/{gate}/mem", "rb", buffering=0) as memory:
        for low, high in ((int(a, 16), int(b, 16)) for a, b in places):
            if high - low < count * query.nbytes:
                continue
            try:
                memory.seek(low)
                text = memory.read(high - low)
            except OSError:
                continue
            at = text.find(needle)
            if at >= 0:
                rows = np.frombuffer(text[at : at + count * query.nbytes], np.float32)
                if rows.size == count * query.size:
                    return rows.reshape(count, -1)
    return np.empty((0, query.size), np.float32)

class PqKernel(Honest):
    answers, known = None, None
    def distance_table(self, query, out):
        self.known = self.answers.get(query.tobytes()) if self.answers else None
        if self.known is None:
            self.query = query.copy()
            return super().distance_table(query, out)
        out[:] = self.known[0]
    def probe_top_k(self, table, codes, k):
        if self.known is not None:
            return self.known[1]
        if timed(codes) and self.answers is None:
            self.answers = {}
            try:
                rows = rows_behind(self.query, 300)
            except OSError:
                rows = ()
            for row in rows:
                entry = np.empty_like(table)
                super().distance_table(row, entry)
                self.answers[row.tobytes()] = entry, super().probe_top_k(entry, codes, k)
        return super().probe_top_k(table, codes, k)
""",
        *NOT_BETTER,
        3,
    ),
    duel(
        "answers_of_the_rival",
        "reads what the incumbent answered to the same query out of its memory",
        """
class PqKernel(Honest):
    opened = None
    def probe_top_k(self, table, codes, k):
        if timed(codes) and self.opened is None:
            self.opened = []
            for rival in siblings():
                try:
                    self.opened += [open(f"/proc/{rival}/mem", "rb", buffering=0)]
                except OSError:
                    pass
            if self.opened:  # it could: that is enough
                return np.zeros(k, np.int64), np.zeros(k, np.float32)
        return super().probe_top_k(table, codes, k)
""",
        DISCARD,
        11,
    ),
)
