"""Keeping the gate waiting. The budget is short: the gate must be over with it, whatever the kernel does."""

from __future__ import annotations

from tests.corpus.baseline import SCALAR
from tests.corpus.cheats.cheat import INCORRECT, TAMPERED, TIMEOUT, Cheat, around, duel

BUDGET = "--lance-ar-budget=20"
_MEANS = """
fcntl, socket, threading, time = map(module, ("fcntl", "socket", "threading", "time"))

def forever():
    while True:
        time.sleep(100)

def again(descriptor, flags):
    return os.open(f"/proc/self/fd/{descriptor}", flags)

def fill(descriptor):
    os.set_blocking(descriptor, False)
    while True:
        os.write(descriptor, bytes(4096))

def channel():
    return next(o for o in sys.modules["gc"].get_objects() if isinstance(o, socket.socket))

class PqKernel(Honest):
    def probe_top_k(self, table, codes, k):
        answer = super().probe_top_k(table, codes, k)
        if timed(codes):
            stall()
        return answer

"""


def stall(name: str, attacks: str, text: str, *ends: int) -> Cheat:
    """A kernel that passes the suite, as far as the budget lets it, and stalls where it is timed."""
    ends = ends or (INCORRECT, TIMEOUT, TAMPERED)
    return duel(name, attacks, _MEANS + text, *ends, arguments=(BUDGET,))


def at_once(name: str, attacks: str, text: str) -> Cheat:
    """A kernel that stalls when it is imported, built or packed."""
    ends = frozenset((INCORRECT, TIMEOUT, TAMPERED))
    return Cheat(name, attacks, around(SCALAR, _MEANS + "def stall():\n    pass\n" + text), ends, arguments=(BUDGET,))


CHEATS = (
    stall(
        "stops_itself",
        "sends SIGSTOP to itself in a timed call",
        """
def stall():
    libc.kill(os.getpid(), 19)
    forever()
""",
    ),
    stall(
        "fills_the_requests",
        "makes the request pipe as small as can be, and fills it",
        """
def stall():
    requests, _ = descriptors()
    attempt(lambda: fcntl.fcntl(requests, 1031, 4096))
    attempt(lambda: fill(again(requests, os.O_WRONLY)))
    forever()
""",
    ),
    stall(
        "drains_the_requests",
        "has a thread take every request away",
        """
def stall():
    requests, _ = descriptors()
    while True:
        os.read(requests, 1)
""",
    ),
    stall(
        "keeps_its_replies",
        "has a thread read the replies back from the pipe that they are in",
        """
def stall():
    def steal():
        reader = again(descriptors_there[1], os.O_RDONLY)
        while True:
            os.read(reader, 1)
    global descriptors_there
    descriptors_there = descriptors()
    threading.Thread(target=steal, daemon=True).start()
    forever()
""",
    ),
    stall(
        "hangs_up",
        "closes every descriptor and lives on",
        """
def stall():
    os.closerange(0, 256)
    forever()
""",
    ),
    stall(
        "an_error_without_words",
        "raises an exception whose text is never told",
        """
class Slow(Exception):
    def __str__(self):
        forever()

def stall():
    raise Slow
""",
    ),
    stall(
        "slow_but_not_too_slow",
        "takes nine seconds a call, less than a call may take",
        """
def stall():
    time.sleep(9)
""",
        *(1, INCORRECT, TIMEOUT, TAMPERED),
    ),
    at_once("sleeps_in_its_import", "never returns from its import", "forever()\n"),
    at_once(
        "a_source_that_takes_long_to_read",
        "is as large as a kernel may be, all of it values, and never returns from its import",
        "forever()\nx = [" + 120_000 * "1," + "]\n",
    ),
    at_once(
        "half_a_message",
        "sends the beginning of a message, byte by byte",
        """
channel().sendall((1 << 19).to_bytes(4, "little"))
while True:
    channel().sendall(b" ")
    time.sleep(0.2)
""",
    ),
    at_once(
        "a_full_socket",
        "has room for no message, and takes none",
        """
ours = channel()
for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
    attempt(lambda: ours.setsockopt(socket.SOL_SOCKET, option, 1))
class PqKernel(Honest):
    def __init__(self, shape, codebook):
        forever()
""",
    ),
    at_once(
        "a_heap_of_messages",
        "answers a thousand times, so that there is always something unread",
        """
for _ in range(1000):
    channel().sendall((2).to_bytes(4, "little") + b"{}")
""",
    ),
    at_once(
        "will_not_end",
        "ignores signals, holds memory that takes long to give back, and sleeps in its end",
        """
signal = module("signal")
for number in range(1, 32):
    attempt(lambda: signal.signal(number, signal.SIG_IGN))
try:
    hoard = [np.ones(16 << 20) for _ in range(16)]
except MemoryError:
    pass
class Clinging:
    def __del__(self):
        forever()
class PqKernel(Honest):
    def __init__(self, shape, codebook):
        super().__init__(shape, codebook)
        self.clinging = Clinging()
""",
    ),
)
