"""What no wall stops: a kernel owns its process, and knows the time.

These may be kept, or not; the corpus has them so that the claim stays checked, and so that nothing else gives way.
"""

from __future__ import annotations

from tests.corpus.cheats.cheat import duel

KEPT_OR_NOT = (0, 1, 11)

CHEATS = (
    duel(
        "loop_of_its_own",
        "replaces the loop and the driver that call it by compiled code: right answers, less Python around them",
        """
from numba import njit as compiled

read, write = libc.read, libc.write
for call in (read, write):
    call.argtypes, call.restype = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t], ctypes.c_ssize_t

@compiled
def answer_all(requests, replies, slot, token, token_at, done_at, query, codebook, table, codes, distances, ids, best):
    # Serves the calls of one slot; returns the first request that is none of them.
    while True:
        fill_table(query, codebook, table)
        scan(table, codes, distances)
        k = len(best)
        best[:] = np.inf
        for n in range(len(distances)):
            if distances[n] < best[k - 1]:
                place = k - 1
                while place > 0 and best[place - 1] > distances[n]:
                    best[place], ids[place] = best[place - 1], ids[place - 1]
                    place -= 1
                best[place], ids[place] = distances[n], n
        write(replies, done_at, 1)
        if read(requests, token_at, 4) < 4:
            return -2
        if token[0] != slot:
            return token[0]

known = {}

def serve(child, requests, replies):
    token, done = np.zeros(1, np.int32), np.zeros(1, np.uint8)
    while True:
        if read(requests, token.ctypes.data, 4) < 4:
            os._exit(0)
        slot = int(token[0])
        while slot in known and token.tobytes() in child.calls:
            slot = answer_all(requests, replies, slot, token, token.ctypes.data, done.ctypes.data, *known[slot])
        if slot == -1:
            child.control()
        elif slot < 0:
            os._exit(0)
        else:
            child.calls[token.tobytes()]()
            os.write(replies, bytes(1))

class PqKernel(Honest):
    calls = 0
    def __init__(self, shape, codebook):
        super().__init__(shape, codebook)
        self.calls = 0
    def distance_table(self, query, out):
        self.query = query
        super().distance_table(query, out)
    def probe_top_k(self, table, codes, k):
        answer = super().probe_top_k(table, codes, k)
        if timed(codes):
            frame = sys._getframe(1)
            while frame.f_code.co_name != "serve":
                frame = frame.f_back
            begins = not known
            here = frame.f_locals  # of the gate's loop, or of its own below
            known[here["slot"] if "slot" in here else int.from_bytes(here["request"], "little")] = (
                self.query, self.codebook, table, codes, np.empty(codes.shape[1], np.float32), *outputs()
            )
            if begins:
                requests, replies = descriptors()
                ids, distances = outputs()
                ids[:], distances[:] = answer
                os.write(replies, bytes(1))
                serve(gates("Child")[0], requests, replies)
        return answer
""",
        *KEPT_OR_NOT,
    ),
    duel(
        "time_bomb",
        "becomes slower after a while, so that its own successor, which has more time left, wins",
        """
class PqKernel(Honest):
    '''the same, with another date'''
""",
        *KEPT_OR_NOT,
        incumbent="""
class PqKernel(Honest):
    def probe_top_k(self, table, codes, k):
        if sys.modules["time"].time() > 1e9:
            super().probe_top_k(table, codes, k)
        return super().probe_top_k(table, codes, k)
""",
    ),
)
