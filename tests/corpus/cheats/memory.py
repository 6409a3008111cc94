"""Inputs and memory: what the kernel is given, what it shares with the gate, and what it leaves there."""

from __future__ import annotations

from tests.corpus.cheats.cheat import INCORRECT, answering, duel, quick, wrong

CHEATS = (
    quick(
        "zeroes_its_codes",
        "writes into the codes, so that all vectors are the same",
        """
class PqKernel(Honest):
    def pack_codes(self, codes):
        if codes.size:
            writable(codes)[:] = 0
        return super().pack_codes(codes)
""",
    ),
    quick(
        "zeroes_its_codebook",
        "writes into the codebook, so that all distances are the same",
        """
class PqKernel(Honest):
    def __init__(self, shape, codebook):
        writable(codebook)[:] = 0
        super().__init__(shape, codebook)
""",
    ),
    quick(
        "zeroes_its_query",
        "writes into the query that it shares with the gate, and answers the easier one",
        """
class PqKernel(Honest):
    def distance_table(self, query, out):
        writable(query)[:] = 0
        super().distance_table(query, out)
""",
    ),
    quick(
        "clears_the_flag",
        "makes a read-only array writable by its interface",
        """
class Alias:
    def __init__(self, array):
        address, _ = array.__array_interface__["data"]
        self.__array_interface__ = {**array.__array_interface__, "data": (address, False)}

class PqKernel(Honest):
    def distance_table(self, query, out):
        np.array(Alias(query), copy=False if np.__version__ < "2" else None)[:] = 1
        super().distance_table(query, out)
""",
    ),
    quick(
        "zeroes_its_query_afterwards",
        "changes the question after it was answered, should the answer be compared with that",
        """
class PqKernel(Honest):
    def distance_table(self, query, out):
        self.query = query
        super().distance_table(query, out)
        out[:] = 0
    def probe_top_k(self, table, codes, k):
        answer = super().probe_top_k(table, codes, k)
        writable(self.query)[:] = 0
        return answer
""",
    ),
    duel(
        "stale_table",
        "relies on the table of the call before, which may be good enough",
        """
class PqKernel(Honest):
    calls = 0
    def distance_table(self, query, out):
        self.calls += 1
        if self.calls < 9 or self.calls % 2:
            super().distance_table(query, out)
            self.table = out.copy()
    def probe_top_k(self, table, codes, k):
        return super().probe_top_k(self.table, codes, k)
""",
        INCORRECT,
        10,
    ),
    quick(
        "stale_answer",
        "returns the very memory that the gate reads, without writing to it",
        """
class PqKernel(Honest):
    def probe_top_k(self, table, codes, k):
        return outputs()
""",
    ),
    quick(
        "answer_changed_later",
        "returns arrays that it goes on writing to",
        """
threading, time = module("threading"), sys.modules["time"]

class PqKernel(Honest):
    def probe_top_k(self, table, codes, k):
        targets = outputs()
        def later():
            for _ in range(1000):
                targets[0][:] = 0
                targets[1][:] = 0
                time.sleep(0)
        threading.Thread(target=later).start()
        return super().probe_top_k(table, codes, k)
""",
        INCORRECT,
        5,
    ),
    wrong(
        "shrinks_the_shared_memory",
        "cuts off the memory that the gate has mapped, so that the gate dies of reading it",
        """
def shared():
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if "memfd:" in os.readlink(f"/proc/self/fd/{name}"):
                found.append(int(name))
        except OSError:
            pass
    return found

class PqKernel(Honest):
    kept = []
    def pack_codes(self, codes):
        self.kept += map(os.dup, shared())
        return codes
    def probe_top_k(self, table, codes, k):
        for segment in self.kept:
            attempt(lambda: os.ftruncate(segment, 0))
        if self.kept:
            # Says it is done, and touches nothing of it any more.
            os.write(descriptors()[1], bytes(1))
            sys.modules["time"].sleep(5)
        return super().probe_top_k(table, codes, k)
""",
    ),
    wrong(
        "reopens_the_shared_memory",
        "finds the memory that the gate has mapped through /proc, and cuts it off",
        """
class PqKernel(Honest):
    def probe_top_k(self, table, codes, k):
        try:
            for name in os.listdir("/proc/self/map_files"):
                path = f"/proc/self/map_files/{name}"
                if "memfd:" in os.readlink(path):
                    os.truncate(path, 0)
        except OSError:
            pass
        return super().probe_top_k(table, codes, k)
""",
    ),
    quick(
        "unmaps_the_outputs",
        "takes the outputs away from under the driver",
        """
class PqKernel(Honest):
    def probe_top_k(self, table, codes, k):
        answer = super().probe_top_k(table, codes, k)
        libc.munmap(ctypes.c_void_p(table.ctypes.data & ~4095), ctypes.c_size_t(4096))
        return answer
""",
    ),
    quick(
        "eats_all_memory",
        "allocates more than it can need",
        """
class PqKernel(Honest):
    def pack_codes(self, codes):
        self.hoard = [np.ones(1 << 27) for _ in range(6)]
        return super().pack_codes(codes)
""",
        INCORRECT,
    ),
    duel(
        "poisoned_zeros",
        "patches numpy's own functions, should somebody in this process rely on them",
        """
np.copyto = np.array_equal = np.isfinite = np.isnan = lambda *_args, **_more: True
for child in gates("Child"):
    child.fault = lambda *_: {}
"""
        + answering("(np.arange(k), distances) if timed(codes) else (ids, distances)"),
        INCORRECT,
        10,
    ),
)
