"""Sabotage: the rival is made slower, or ended. What burns or hoards ends by itself after a minute, come what may."""

from __future__ import annotations

from textwrap import indent

from tests.corpus.cheats.cheat import SIGNAL_BY_PIPE, duel, when_timed, wrong

_WHILE_IDLE = """
time = sys.modules["time"]
mmap = module("mmap")
# [1 while it answers itself, when it last did]: shared with whatever it starts.
state = np.frombuffer(mmap.mmap(-1, 4096), np.float64)[:2]

class PqKernel(Honest):
    started = False
    def distance_table(self, query, out):
        state[0] = 1
        super().distance_table(query, out)
    def probe_top_k(self, table, codes, k):
        answer = super().probe_top_k(table, codes, k)
        if timed(codes):
            if not PqKernel.started:
                PqKernel.started = True
                start()
            state[1] = time.monotonic()
        state[0] = 0
        return answer

"""


def _child(first: str) -> str:
    """A child takes the core whenever it is the rival's turn. first: what it does before that."""
    return f"""{_WHILE_IDLE}
def start():
    end = time.monotonic() + 60
    try:
        if os.fork():
            return
{indent(first, 8 * " ")}
    except OSError:
        return
    while time.monotonic() < end:
        if state[0]:
            time.sleep(0.0001)
    os._exit(0)
"""


def _thread(turn: str, first: str = "pass") -> str:
    """A thread calls `turn()`, which `turn` defines, while it is the rival's turn. first: what it does before that."""
    return f"""{_WHILE_IDLE}
from numba import njit as compiled
{turn}
def burn():
    {first}
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if state[0] == 0:
            turn()
        else:
            time.sleep(0.0001)

def start():
    module("threading").Thread(target=burn, daemon=True).start()
"""


_UNCOUNTED = """
threading, clock = module("threading"), sys.modules["time"].perf_counter

def act():
{act}

class PqKernel(Honest):
    ended = 0.0
    def probe_top_k(self, table, codes, k):
        answer = super().probe_top_k(table, codes, k)
        if timed(codes):
            if clock() - PqKernel.ended > 0.0005:  # the other side had its turn
                act()
            PqKernel.ended = clock()
        return answer
"""

CHEATS = (
    duel(
        "a_child_burns_the_core",
        "has a child of its own take the core whenever it is the rival's turn",
        _child(""),
    ),
    duel(
        "an_escaped_child_burns_the_core",
        "has a child in another session take the core whenever it is the rival's turn",
        _child("os.setsid()\nif os.fork():\n    os._exit(0)"),
    ),
    duel(
        "a_thread_burns_the_core",
        "has a thread take the core whenever it is the rival's turn",
        _thread("""
@compiled("void(float64[:])", nogil=True)
def spin(state):
    for _ in range(200_000):
        if state[0] != 0:
            return

def turn():
    spin(state)
"""),
    ),
    duel(
        "a_thread_flushes_the_caches",
        "has a thread stream through memory whenever it is the rival's turn",
        _thread(
            """
everywhere = range(os.cpu_count() or 1)
junk = np.zeros(8_000_000)

@compiled("void(float64[:], float64[:])", nogil=True)
def stream(state, junk):
    for i in range(junk.size):
        junk[i] += 1
        if state[0] != 0:
            return

def turn():
    stream(state, junk)
""",
            "attempt(lambda: os.sched_setaffinity(0, everywhere))",
        ),
    ),
    duel(
        "stops_its_rivals",
        "sends SIGSTOP to every other process of the gate's",
        when_timed("""
for sibling in siblings():
    attempt(lambda: os.kill(sibling, 19))
"""),
    ),
    duel(
        "kills_its_rivals",
        "kills every other process of the gate's, so that the incumbent looks broken",
        when_timed("""
for sibling in siblings():
    attempt(lambda: os.kill(sibling, 9))
"""),
    ),
    duel(
        "slows_its_rivals_down",
        "gives every other process of the gate's the lowest priority, and another core",
        when_timed("""
for sibling in siblings():
    for act in (
        lambda: os.setpriority(os.PRIO_PROCESS, sibling, 19),
        lambda: os.sched_setscheduler(sibling, os.SCHED_IDLE, os.sched_param(0)),
        lambda: os.sched_setaffinity(sibling, [0]),
    ):
        attempt(act)
"""),
    ),
    duel(
        "limits_its_rivals",
        "sets the limits of every other process of the gate's, and the gate's own, to nothing",
        """
resource = module("resource")
"""
        + when_timed("""
for other in [*siblings(), os.getppid()]:
    for limit in (resource.RLIMIT_AS, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_CPU):
        attempt(lambda: resource.prlimit(other, limit, (0, 0)))
"""),
    ),
    duel(
        "has_the_system_signal_its_rivals",
        "makes every other process of the gate's the owner of a pipe that signals with SIGKILL",
        SIGNAL_BY_PIPE
        + when_timed("""
for other in [*siblings(), os.getppid()]:
    attempt(lambda: shoot(other))
"""),
    ),
    duel(
        "replaces_the_rivals_source",
        "rewrites the file that the incumbent is about to be loaded from",
        """
time = sys.modules["time"]
glob = module("glob").glob
SLOW = '''
_Fast = PqKernel
class PqKernel(_Fast):
    def probe_top_k(self, table, codes, k):
        super().probe_top_k(table, codes, k)
        return super().probe_top_k(table, codes, k)
'''

def watch():
    end = time.monotonic() + 30
    while time.monotonic() < end:
        for path in glob("@TMP@/*/kernel/*.py"):
            try:
                with open(path) as file:
                    text = file.read()
                if text and "SLOW" not in text and "_Fast" not in text:
                    with open(path, "a") as file:
                        file.write(SLOW)
            except OSError:
                pass

module("threading").Thread(target=watch, daemon=True).start()
""",
    ),
    wrong(
        "fills_the_disk",
        "writes until there is no room for the gate's own files",
        """
try:
    with open("filler", "wb") as filler:
        for _ in range(400):
            filler.write(bytes(1 << 20))
except OSError:
    pass
""",
    ),
    wrong(
        "prints_without_end",
        "fills the file that its output goes to",
        """
text = b"x" * (1 << 20)
for _ in range(400):
    os.write(1, text)
""",
    ),
    wrong(
        "fills_shared_memory",
        "leaves files in /dev/shm behind, for good",
        """
try:
    name = "/dev/shm/lance-ar" + "@TMP@".replace("/", "-")
    with open(name, "wb") as filler:
        filler.write(bytes(1 << 20))
    os.link(name, "@OUTSIDE@/filler")
except OSError:
    pass
""",
    ),
    wrong(
        "takes_every_descriptor",
        "opens files until there are no more descriptors",
        """
hoard = []
try:
    for _ in range(100_000):
        hoard.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
""",
    ),
    wrong(
        "takes_every_process",
        "forks and starts threads until it may not",
        """
time = sys.modules["time"]
def fork():
    for _ in range(300):
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)

attempt(fork)
threading = module("threading")
try:
    for _ in range(2000):
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
except RuntimeError:
    pass
""",
    ),
    duel(
        "hangs_now_and_then",
        "never comes back from one call of hundreds, to end the trial when it goes badly",
        """
class PqKernel(Honest):
    calls = 0
    def probe_top_k(self, table, codes, k):
        PqKernel.calls += timed(codes)
        if PqKernel.calls == 300:
            while True:
                pass
        return super().probe_top_k(table, codes, k)
""",
        3,
    ),
    duel(
        "noise",
        "takes now half, now twice the time, so that the decision is left to chance",
        """
random = np.random.default_rng(1)
"""
        + when_timed("""
for _ in range(random.integers(0, 3)):
    super().probe_top_k(table, codes, k)
"""),
    ),
    duel(
        "hoards_large_pages",
        "takes what memory it can in large pages, so that none are left for its rival",
        """
mmap = module("mmap")
hoard = []

def take():
    memory = mmap.mmap(-1, 600 << 20)
    memory.madvise(14)
    for at in range(0, len(memory), 4096):
        memory[at] = 1
    hoard.append(memory)

class PqKernel(Honest):
    def pack_codes(self, codes):
        if timed(codes) and not hoard:
            attempt(take)
        return super().pack_codes(codes)
""",
    ),
    duel(
        "sixty_threads",
        "has sixty threads that wake all the time, so that to stop it and let it go takes long",
        """
threading = module("threading")
never = threading.Event()

def wait():
    while True:
        never.wait(0.0001)

class PqKernel(Honest):
    begun = False
    def probe_top_k(self, table, codes, k):
        if timed(codes) and not PqKernel.begun:
            PqKernel.begun = True
            try:
                for _ in range(60):
                    threading.Thread(target=wait, daemon=True).start()
            except RuntimeError:
                pass
        return super().probe_top_k(table, codes, k)
""",
    ),
    duel(
        "threads_that_end",
        "begins and ends threads in the call that is not counted: the system frees them later, on this core",
        _UNCOUNTED.format(
            act="""
    try:
        for _ in range(40):
            one = threading.Thread(target=int)
            one.start()
            one.join()
    except RuntimeError:
        pass
"""
        ),
    ),
    duel(
        "files_that_are_removed",
        "makes and removes files by the hundred there",
        _UNCOUNTED.format(
            act="""
    for i in range(600):
        attempt(lambda: os.close(os.open(f"f{i}", os.O_CREAT | os.O_WRONLY)))
    for i in range(600):
        attempt(lambda: os.unlink(f"f{i}"))
"""
        ),
    ),
    duel(
        "branches_by_chance",
        "takes thousands of branches there which no predictor foresees",
        """
from numba import njit as compiled

@compiled
def confused(values):
    found = 0
    for i in range(values.size):
        if values[i] & 1:
            found += i
        elif values[i] & 2:
            found -= i
        elif values[i] & 4:
            found ^= i
    return found

noise = np.random.randint(0, 255, 6000).astype(np.uint8)
"""
        + _UNCOUNTED.format(act="    confused(noise)"),
    ),
)
