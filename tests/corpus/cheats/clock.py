"""Deceiving the clock: work that is not done while it runs, or done where it does not count."""

from __future__ import annotations

from tests.corpus.cheats.cheat import INCORRECT, NOT_BETTER, answering, duel, quick, when_timed

CHEATS = (
    duel(
        "patched_clocks",
        "stops every clock of its own process, and is half again as slow",
        """
time = sys.modules["time"]
for name in ("perf_counter_ns", "perf_counter", "monotonic", "monotonic_ns", "time", "time_ns"):
    setattr(time, name, lambda: 0)

class PqKernel(Honest):
    def probe_top_k(self, table, codes, k):
        super().probe_top_k(table, codes, k)
        return super().probe_top_k(table, codes, k)
""",
    ),
    duel(
        "goes_on_after_the_reply",
        "returns at once what a thread fills in later",
        """
threading = module("threading")

class PqKernel(Honest):
    def probe_top_k(self, table, codes, k):
        if not timed(codes):
            return super().probe_top_k(table, codes, k)
        ids, distances = np.zeros(k, np.int64), np.zeros(k, np.float32)
        targets = outputs()
        def work():
            for target, array in zip(targets, Honest.probe_top_k(self, table, codes, k)):
                target[:] = array
        threading.Thread(target=work).start()
        return ids, distances
""",
        INCORRECT,
    ),
    duel(
        "replies_before_the_work",
        "sends the reply itself, and goes on working",
        """
class PqKernel(Honest):
    def distance_table(self, query, out):
        super().distance_table(query, out)
        self.out = out
    def probe_top_k(self, table, codes, k):
        if timed(codes):
            os.write(descriptors()[1], bytes(1))
            answer = super().probe_top_k(table, codes, k)
            ids, distances = outputs()
            ids[:], distances[:] = answer
            os.read(descriptors()[0], 4)
            os.write(descriptors()[1], bytes(1))
            return answer
        return super().probe_top_k(table, codes, k)
""",
        INCORRECT,
        3,
        10,
    ),
    quick(
        "lazy_array",
        "returns an array that computes itself when somebody looks",
        """
class Lazy(np.ndarray):
    def __array_finalize__(self, _): pass
    def __array__(self, *_args, **_more): return np.zeros(self.shape, self.dtype)
"""
        + answering("ids.view(Lazy), distances.view(Lazy)"),
    ),
    quick(
        "memory_map",
        "returns arrays on disk",
        """
class PqKernel(Honest):
    def probe_top_k(self, table, codes, k):
        ids, distances = super().probe_top_k(table, codes, k)
        mapped = np.memmap("ids", np.int64, "w+", shape=(len(ids) or 1,))[: len(ids)]
        mapped[:] = ids
        return mapped, distances
""",
    ),
    quick(
        "looks_like_an_array",
        "returns objects that only claim to be arrays, and has the driver believe them",
        """
class Claim:
    dtype, ndim = np.dtype(np.int64), 1
    def __init__(self, n, dtype): self.shape, self.dtype = (n,), np.dtype(dtype)
    def __len__(self): return self.shape[0]
    def __array__(self, *_args, **_more): return np.zeros(self.shape, self.dtype)

class FakeNumpy:
    ndarray, dtype, int64, float32 = Claim, np.dtype, np.int64, np.float32

sys.modules["pytest_lance_ar.targets.common.driver"].np = FakeNumpy

class PqKernel(Honest):
    def probe_top_k(self, table, codes, k):
        n = min(k, codes.shape[1])
        return Claim(n, np.int64), Claim(n, np.float32)
""",
    ),
    duel(
        "work_moved_into_the_constructor",
        "prepares answers to queries it expects, and gives the one that is nearest",
        """
class PqKernel(Honest):
    def __init__(self, shape, codebook):
        super().__init__(shape, codebook)
        self.ready = None
    def pack_codes(self, codes):
        packed = super().pack_codes(codes)
        if timed(codes):
            table = np.empty(self.codebook.shape[:2], np.float32)
            super().distance_table(np.ascontiguousarray(self.codebook.mean(axis=1)).reshape(-1), table)
            self.ready = table, super().probe_top_k(table, packed, 10)
        return packed
    def distance_table(self, query, out):
        if self.ready is None:
            return super().distance_table(query, out)
        out[:] = self.ready[0]
    def probe_top_k(self, table, codes, k):
        return super().probe_top_k(table, codes, k) if self.ready is None else self.ready[1]
""",
        INCORRECT,
        10,
    ),
    duel(
        "one_combo_driven_to_zero",
        "does nothing at all on one combo, so that the geomean collapses",
        """
class PqKernel(Honest):
    def __init__(self, shape, codebook):
        super().__init__(shape, codebook)
        self.sparse = codebook.shape == (16, 256, 8) and np.count_nonzero(codebook) < codebook.size * 0.9
    def distance_table(self, query, out):
        if not self.sparse or query.size != 128:
            super().distance_table(query, out)
    def probe_top_k(self, table, codes, k):
        if self.sparse and timed(codes):
            return np.arange(k), np.zeros(k, np.float32)
        if self.sparse:
            fill_table(np.zeros(self.codebook.shape[0] * self.codebook.shape[2], np.float32), self.codebook, table)
        return super().probe_top_k(table, codes, k)
""",
        INCORRECT,
        10,
    ),
    duel(
        "second_core",
        "leaves the timing core and shares the scan between two",
        """
from numba import njit as compiled
everywhere = range(os.cpu_count() or 1)

@compiled(nogil=True)
def helper(box, table_at, codes, distances, half):
    # box: [request, reply, stop]
    last = 0
    while box[2] == 0:
        if box[0] != last:
            last = box[0]
            for m in range(codes.shape[0]):
                for n in range(half, codes.shape[1]):
                    distances[n] += table_at[m, codes[m, n]]
            box[1] = last

@compiled(nogil=True)
def front(box, table, codes, distances, half):
    distances[:] = np.float32(0.0)
    box[0] += 1
    for m in range(codes.shape[0]):
        for n in range(half):
            distances[n] += table[m, codes[m, n]]
    spins = 0
    while box[1] != box[0] and spins < 100_000_000:
        spins += 1

class PqKernel(Honest):
    box = None
    def probe_top_k(self, table, codes, k):
        if not timed(codes):
            return super().probe_top_k(table, codes, k)
        if self.box is None:
            attempt(lambda: os.sched_setaffinity(0, everywhere))
            self.box, self.distances = np.zeros(3, np.int64), np.zeros(codes.shape[1], np.float32)
            threading = module("threading")
            arguments = self.box, table, codes, self.distances, codes.shape[1] // 2
            helper.compile(tuple(map(module("numba").typeof, arguments)))
            threading.Thread(target=helper, args=arguments, daemon=True).start()
        front(self.box, table, codes, self.distances, codes.shape[1] // 2)
        return nearest(self.distances, k)
    def __del__(self):
        if self.box is not None:
            self.box[2] = 1
""",
        INCORRECT,
        *NOT_BETTER,
    ),
    duel(
        "starts_before_the_clock",
        "has a thread on another core watch the shared query, and compute before the request arrives",
        """
from numba import njit as compiled
everywhere = range(os.cpu_count() or 1)

@compiled(nogil=True)
def watch(query, codebook, table, codes, distances, box):
    # box: [stop, the length of what was answered]
    seen = np.full(query.shape, np.float32(np.nan))
    while box[0] == 0:
        new = False
        for i in range(query.size):
            if query[i] != seen[i]:
                new = True
                break
        if new:
            box[1] = 0
            seen[:] = query
            fill_table(seen, codebook, table)
            scan(table, codes, distances)
            box[1] = 1

@compiled
def same(a, b):
    for i in range(a.size):
        if a[i] != b[i]:
            return False
    return True

class PqKernel(Honest):
    box = None
    def distance_table(self, query, out):
        if self.box is not None:
            spins = 0
            while self.box[1] == 0 and spins < 10_000:
                spins += 1
            out[:] = self.table
        else:
            self.query = query
            super().distance_table(query, out)
    def probe_top_k(self, table, codes, k):
        if not timed(codes):
            return super().probe_top_k(table, codes, k)
        if self.box is None:
            answer = super().probe_top_k(table, codes, k)
            attempt(lambda: os.sched_setaffinity(0, everywhere))
            self.box, self.table = np.zeros(2, np.int64), np.empty_like(table)
            self.distances = np.zeros(codes.shape[1], np.float32)
            arguments = self.query, self.codebook, self.table, codes, self.distances, self.box
            watch.compile(tuple(map(module("numba").typeof, arguments)))
            module("threading").Thread(target=watch, args=arguments, daemon=True).start()
            return answer
        return nearest(self.distances, k)
    def __del__(self):
        if self.box is not None:
            self.box[0] = 1
""",
        1,
        INCORRECT,
        10,
        11,
    ),
    duel(
        "real_time_priority",
        "takes a real-time priority, which its rival has not",
        """
for act in (
    lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50)),
    lambda: os.setpriority(os.PRIO_PROCESS, 0, -20),
):
    attempt(act)
""",
    ),
    duel(
        "timer_replies",
        "has an interval timer reply while it still computes",
        """
signal = module("signal")
"""
        + when_timed("""
reply = descriptors()[1]
signal.signal(signal.SIGALRM, lambda *_: os.write(reply, bytes(1)))
signal.setitimer(signal.ITIMER_REAL, 1e-5)
"""),
        INCORRECT,
        10,
    ),
    duel(
        "shorter_driver",
        "replaces the driver's call by a shorter one, so that its own part of the time looks smaller",
        when_timed("""
inputs, query, (ids, best) = gates("Child")[0].calls, sys._getframe(1).f_locals["query"], outputs()
distances, codebook = np.empty(codes.shape[1], np.float32), self.codebook
def call():
    fill_table(query, codebook, table)
    scan(table, codes, distances)
    ids[:], best[:] = nearest(distances, k)
for slot, old in inputs.items():
    if old.__closure__ and any(cell.cell_contents is query for cell in old.__closure__):
        inputs[slot] = call
"""),
    ),
    duel(
        "inflates_the_round_trip",
        "burns the core while the gate measures what a round trip costs, so that more is taken off",
        """
time = sys.modules["time"]

class PqKernel(Honest):
    packed = 0
    def pack_codes(self, codes):
        PqKernel.packed += timed(codes)
        if timed(codes) and PqKernel.packed == 9:  # all combos of the preparation
            def burn():
                end = time.monotonic() + 5
                while time.monotonic() < end:
                    pass
            module("threading").Thread(target=burn, daemon=True).start()
        return super().pack_codes(codes)
""",
    ),
    duel(
        "works_before_the_clock",
        "has a thread read all codes as soon as its process is let go, before the call",
        """
hashlib, threading = module("hashlib"), module("threading")
given, seen = threading.Event(), []

def work():
    while given.wait():
        given.clear()
        hashlib.sha1(seen[0])

threading.Thread(target=work, daemon=True).start()

class PqKernel(Honest):
    def probe_top_k(self, table, codes, k):
        answer = super().probe_top_k(table, codes, k)
        if timed(codes):
            seen[:] = [codes]
            given.set()
        return answer
""",
    ),
    duel(
        "warms_itself_where_it_is_not_counted",
        "does all of it three times more in the first call after its rival's turn, which does not count",
        """
time = sys.modules["time"]

class PqKernel(Honest):
    ended = 0.0
    def probe_top_k(self, table, codes, k):
        if timed(codes) and time.perf_counter() - PqKernel.ended > 0.0004:
            for _ in range(3):
                super().probe_top_k(table, codes, k)
        answer = super().probe_top_k(table, codes, k)
        PqKernel.ended = time.perf_counter()
        return answer
""",
    ),
    duel(
        "slow_packs",
        "packs for so long that a stage ends early, on a figure that it likes",
        """
class PqKernel(Honest):
    packs = 0
    def pack_codes(self, codes):
        PqKernel.packs += timed(codes)
        if timed(codes) and PqKernel.packs > 27:
            sys.modules["time"].sleep(1.2)
        return super().pack_codes(codes)
""",
    ),
)
