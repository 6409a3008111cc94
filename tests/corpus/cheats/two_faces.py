"""Two faces: right where it thinks it is examined, lossy where it thinks it is timed."""

from __future__ import annotations

from tests.corpus.cheats.cheat import INCORRECT, Cheat, answering, around, duel, when_timed
from tests.kernels import FASTER

_LOSSY = """
from numba import njit as compiled

@compiled(nogil=True)
def coarse(table, codes, distances):
    # Every second sub-vector counts twice.
    distances[:] = np.float32(0.0)
    for m in range(0, codes.shape[0], 2):
        for n in range(codes.shape[1]):
            distances[n] += np.float32(2.0) * table[m, codes[m, n]]

def lossy(table, codes, k):
    distances = np.empty(codes.shape[1], np.float32)
    coarse(table, codes, distances)
    return nearest(distances, k)

"""


def _two_faced(name: str, attacks: str, condition: str, preamble: str = "") -> Cheat:
    return duel(
        name,
        attacks,
        f"""{_LOSSY}{preamble}
class PqKernel(Honest):
    calls = built = 0
    def __init__(self, shape, codebook):
        super().__init__(shape, codebook)
        PqKernel.built += 1
    def probe_top_k(self, table, codes, k):
        PqKernel.calls += 1
        if {condition}:
            return lossy(table, codes, k)
        return super().probe_top_k(table, codes, k)
""",
        INCORRECT,
        10,
    )


_DEPOSED = """
EDITION = "EDITION NUMBER"
deposed = CONDITION

class PqKernel(Honest):
    def probe_top_k(self, table, codes, k):
        if deposed:
            super().probe_top_k(table, codes, k)
        return super().probe_top_k(table, codes, k)
"""


def deposed(name: str, attacks: str, condition: str) -> Cheat:
    """A kernel that means to be slow as the incumbent, against its own next edition: no edition is faster."""
    first, second = (_DEPOSED.replace("CONDITION", condition).replace("NUMBER", number) for number in ("one", "two"))
    return duel(name, attacks, second, incumbent=first)


def bought(name: str, attacks: str, text: str) -> Cheat:
    """A kernel that is faster indeed, and wrong where that may go unseen."""
    return Cheat(name, attacks, around(FASTER, text), frozenset((INCORRECT,)))


CHEATS = (
    _two_faced("lossy_when_timed", "halves the work for the N and k that are timed", "timed(codes) and k == 10"),
    _two_faced(
        "lossy_after_many_calls", "is right until the suite must be over", "PqKernel.calls > 200 and timed(codes)"
    ),
    _two_faced(
        "lossy_on_one_core",
        "halves the work where it is pinned to one core",
        "pinned and timed(codes)",
        'pinned = len(getattr(os, "sched_getaffinity", lambda _: ())(0)) == 1',
    ),
    _two_faced(
        "lossy_once_in_a_while",
        "skips half of the work on one call of fifty",
        "timed(codes) and PqKernel.calls % 50 == 49",
    ),
    _two_faced(
        "lossy_in_later_processes",
        "looks at the process table for how far the trial is",
        "timed(codes) and len(attempt(children) or range(9)) > 3",
    ),
    _two_faced(
        "lossy_by_the_gates_threads",
        "looks whether the gate still runs its suite",
        "timed(codes) and threads() < 2",
        """
def threads():
    try:
        return len(os.listdir(f"/proc/{os.getppid()}/task"))
    except OSError:
        return 0
""",
    ),
    duel(
        "far_neighbours_made_up",
        "finds the nearest half and makes the rest up",
        """
class PqKernel(Honest):
    def probe_top_k(self, table, codes, k):
        ids, distances = super().probe_top_k(table, codes, k)
        if timed(codes):
            unused = np.setdiff1d(np.arange(2 * k), ids)
            ids[k // 2 :] = unused[: k - k // 2]
        return ids, distances
""",
        INCORRECT,
        10,
    ),
    duel(
        "right_ids_wrong_distances",
        "gives distances that are rounded to a thousandth",
        answering("ids, np.round(distances, 3) if timed(codes) else distances"),
        INCORRECT,
        10,
    ),
    duel(
        "table_in_private",
        "answers from a table of its own and leaves the one that is asked for half empty",
        """
class PqKernel(Honest):
    timing = False
    def pack_codes(self, codes):
        self.timing = timed(codes)
        self.table = np.empty(self.codebook.shape[:2], np.float32)
        return super().pack_codes(codes)
    def distance_table(self, query, out):
        if not self.timing:
            return super().distance_table(query, out)
        super().distance_table(query, self.table)
        out[::2] = self.table[::2]
    def probe_top_k(self, table, codes, k):
        return super().probe_top_k(self.table if self.timing else table, codes, k)
""",
        INCORRECT,
        10,
    ),
    duel(
        "table_never_written_now_and_then",
        "leaves the table out on one call of eight, since not every table is looked at",
        """
class PqKernel(Honest):
    calls = 0
    def distance_table(self, query, out):
        self.calls += 1
        if self.calls > 10 and self.calls % 8 == 0:
            self.table = np.empty_like(out)
            return super().distance_table(query, self.table)
        self.table = None
        super().distance_table(query, out)
    def probe_top_k(self, table, codes, k):
        return super().probe_top_k(table if self.table is None else self.table, codes, k)
""",
        INCORRECT,
        10,
    ),
    duel(
        "half_precision_when_timed",
        "scans a float16 table where it is timed",
        when_timed("table = table.astype(np.float16).astype(np.float32)"),
        INCORRECT,
        10,
    ),
    deposed(
        "worse_when_it_is_the_incumbent",
        "slows down once the kernel file is not its own any more, so that any successor wins",
        "attempt(lambda: EDITION not in open('@PROJECT@/kernel/pq_l2.py').read())",
    ),
    deposed(
        "worse_by_its_file_name",
        "slows down where its file is not called what a candidate's file is called",
        "not __file__.endswith('pq_l2.py')",
    ),
    deposed(
        "worse_by_its_rank",
        "slows down where the process table says that its rival was started before it",
        "attempt(lambda: sorted(children()).index(os.getpid()) % 2 == 1)",
    ),
    bought(
        "lossy_on_guards",
        "answers less well on guard workloads, which are none of the suite and none of the combos",
        _LOSSY
        + """
class PqKernel(Honest):
    calls = 0
    def probe_top_k(self, table, codes, k):
        PqKernel.calls += timed(codes)
        if not timed(codes) and PqKernel.calls > 500:
            return lossy(table, codes, k)
        return super().probe_top_k(table, codes, k)
""",
    ),
    bought(
        "wrong_once_in_a_thousand",
        "is wrong in one timed call of a thousand",
        """
class PqKernel(Honest):
    calls = 0
    def probe_top_k(self, table, codes, k):
        ids, distances = super().probe_top_k(table, codes, k)
        PqKernel.calls += timed(codes)
        return ids, distances if PqKernel.calls % 1000 else distances * np.float32(1.01)
""",
    ),
    bought(
        "other_code_later",
        "puts other code into its method, and another text into its file, once it has been timed for a while",
        _LOSSY
        + """
class PqKernel(Honest):
    calls = 0
    def probe_top_k(self, table, codes, k):
        PqKernel.calls += timed(codes)
        if PqKernel.calls == 300:
            PqKernel.probe_top_k.__code__ = PqKernel.other.__code__
            attempt(lambda: open(__file__, "w").write("x = 1"))
        return Honest.probe_top_k(self, table, codes, k)
    def other(self, table, codes, k):
        return lossy(table, codes, k)
""",
    ),
)
