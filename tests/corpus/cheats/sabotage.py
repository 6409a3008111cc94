"""Sabotage: the rival is made slower, or ended. What burns or hoards ends by itself after a minute, come what may."""

from __future__ import annotations

from tests.corpus.cheats.cheat import duel, wrong

_SIBLINGS = """
time = sys.modules["time"]

def siblings():
    gate, own = os.getppid(), os.getpid()
    found = []
    for entry in os.listdir("/proc"):
        try:
            with open(f"/proc/{entry}/stat") as stat:
                if int(stat.read().rpartition(")")[2].split()[1]) == gate and int(entry) != own:
                    found.append(int(entry))
        except (OSError, ValueError):
            pass
    return found

"""
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

CHEATS = (
    duel(
        "a_child_burns_the_core",
        "has a child of its own take the core whenever it is the rival's turn",
        _WHILE_IDLE
        + """
def start():
    end = time.monotonic() + 60
    try:
        if os.fork():
            return
    except OSError:
        return
    while time.monotonic() < end:
        if state[0]:
            time.sleep(0.0001)
    os._exit(0)
""",
    ),
    duel(
        "an_escaped_child_burns_the_core",
        "has a child in another session take the core whenever it is the rival's turn",
        _WHILE_IDLE
        + """
def start():
    end = time.monotonic() + 60
    try:
        if os.fork():
            return
        os.setsid()
        if os.fork():
            os._exit(0)
    except OSError:
        return
    while time.monotonic() < end:
        if state[0]:
            time.sleep(0.0001)
    os._exit(0)
""",
    ),
    duel(
        "a_thread_burns_the_core",
        "has a thread take the core whenever it is the rival's turn",
        _WHILE_IDLE
        + """
from numba import njit as compiled

@compiled("void(float64[:])", nogil=True)
def spin(state):
    for _ in range(200_000):
        if state[0] != 0:
            return

def burn():
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if state[0] == 0:
            spin(state)
        else:
            time.sleep(0.0001)

def start():
    module("threading").Thread(target=burn, daemon=True).start()
""",
    ),
    duel(
        "a_thread_flushes_the_caches",
        "has a thread stream through memory whenever it is the rival's turn",
        _WHILE_IDLE
        + """
from numba import njit as compiled
everywhere = range(os.cpu_count() or 1)
junk = np.zeros(8_000_000)

@compiled("void(float64[:], float64[:])", nogil=True)
def stream(state, junk):
    for i in range(junk.size):
        junk[i] += 1
        if state[0] != 0:
            return

def burn():
    attempt(lambda: os.sched_setaffinity(0, everywhere))
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if state[0] == 0:
            stream(state, junk)
        else:
            time.sleep(0.0001)

def start():
    module("threading").Thread(target=burn, daemon=True).start()
""",
    ),
    duel(
        "stops_its_rivals",
        "sends SIGSTOP to every other process of the gate's",
        _SIBLINGS
        + """
class PqKernel(Honest):
    def probe_top_k(self, table, codes, k):
        if timed(codes):
            for sibling in siblings():
                attempt(lambda: os.kill(sibling, 19))
        return super().probe_top_k(table, codes, k)
""",
    ),
    duel(
        "kills_its_rivals",
        "kills every other process of the gate's, so that the incumbent looks broken",
        _SIBLINGS
        + """
class PqKernel(Honest):
    def probe_top_k(self, table, codes, k):
        if timed(codes):
            for sibling in siblings():
                attempt(lambda: os.kill(sibling, 9))
        return super().probe_top_k(table, codes, k)
""",
    ),
    duel(
        "slows_its_rivals_down",
        "gives every other process of the gate's the lowest priority, and another core",
        _SIBLINGS
        + """
class PqKernel(Honest):
    def probe_top_k(self, table, codes, k):
        if timed(codes):
            for sibling in siblings():
                for act in (
                    lambda: os.setpriority(os.PRIO_PROCESS, sibling, 19),
                    lambda: os.sched_setscheduler(sibling, os.SCHED_IDLE, os.sched_param(0)),
                    lambda: os.sched_setaffinity(sibling, [0]),
                ):
                    attempt(act)
        return super().probe_top_k(table, codes, k)
""",
    ),
    duel(
        "limits_its_rivals",
        "sets the limits of every other process of the gate's, and the gate's own, to nothing",
        _SIBLINGS
        + """
resource = module("resource")

class PqKernel(Honest):
    def probe_top_k(self, table, codes, k):
        if timed(codes):
            for other in [*siblings(), os.getppid()]:
                for limit in (resource.RLIMIT_AS, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_CPU):
                    attempt(lambda: resource.prlimit(other, limit, (0, 0)))
        return super().probe_top_k(table, codes, k)
""",
    ),
    duel(
        "has_the_system_signal_its_rivals",
        "makes every other process of the gate's the owner of a pipe that signals with SIGKILL",
        _SIBLINGS
        + """
fcntl = module("fcntl")

def shoot(other):
    reader, writer = os.pipe()
    fcntl.fcntl(reader, fcntl.F_SETOWN, other)
    fcntl.fcntl(reader, 10, 9)  # F_SETSIG
    fcntl.fcntl(reader, fcntl.F_SETFL, os.O_ASYNC)
    os.write(writer, b"x")

class PqKernel(Honest):
    def probe_top_k(self, table, codes, k):
        if timed(codes):
            for other in [*siblings(), os.getppid()]:
                attempt(lambda: shoot(other))
        return super().probe_top_k(table, codes, k)
""",
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
        "takes a second over one call of a thousand, to end the trial when it goes badly",
        """
class PqKernel(Honest):
    calls = 0
    def probe_top_k(self, table, codes, k):
        self.calls += timed(codes)
        if self.calls == 100:
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

class PqKernel(Honest):
    def probe_top_k(self, table, codes, k):
        if timed(codes):
            for _ in range(random.integers(0, 3)):
                super().probe_top_k(table, codes, k)
        return super().probe_top_k(table, codes, k)
""",
    ),
)
