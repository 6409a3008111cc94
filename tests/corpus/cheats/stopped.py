"""Work, or harm, in the time in which a process is stopped, by what goes on without it."""

from __future__ import annotations

from tests.corpus.cheats.cheat import duel

_ANSWERS = """
time = sys.modules["time"]
threading = module("threading")

class PqKernel(Honest):
    begun = False
    def probe_top_k(self, table, codes, k):
        answer = super().probe_top_k(table, codes, k)
        if timed(codes):
            if not PqKernel.begun:
                PqKernel.begun = True
                attempt(begin)
            attempt(every)
        return answer

def begin():
    pass

def every():
    pass

"""
_BURNS = """
from numba import njit as compiled

@compiled("void(int64[:])", nogil=True)
def spin(total):
    for i in range(2_000_000):
        total[0] += i

def burn():
    end, total = time.monotonic() + 60, np.zeros(1, np.int64)
    while time.monotonic() < end:
        spin(total)

"""
_TIMER = """
def timer(number, kind=0):
    event = (ctypes.c_char * 64)()
    ctypes.c_int.from_buffer(event, 8).value, ctypes.c_int.from_buffer(event, 12).value = number, kind
    made = ctypes.c_void_p()
    return made if libc.timer_create(1, event, ctypes.byref(made)) == 0 else None

def arm(made, microseconds):
    if made is not None:
        libc.timer_settime(made, 0, (ctypes.c_long * 4)(0, 0, 0, microseconds * 1000), None)

"""
_THREAD = """
def begin():
    threading.Thread(target=work, daemon=True).start()
"""

CHEATS = (
    duel(
        "a_timer_continues_it",
        "has a timer continue the stopped process, whose thread then takes the core",
        _ANSWERS
        + _BURNS
        + _TIMER
        + """
module("signal").signal(18, lambda *_: None)
alarm = timer(18)

def begin():
    threading.Thread(target=burn, daemon=True).start()

def every():
    arm(alarm, 300)
""",
    ),
    duel(
        "timers_that_expire_in_the_rivals_turn",
        "leaves three thousand timers behind each answer, which expire while it is stopped",
        _ANSWERS
        + _TIMER
        + """
timers = [timer(0, 1) for _ in range(3000)]

def every():
    for number, made in enumerate(timers):
        arm(made, 200 + number)
""",
    ),
    duel(
        "timers_as_files",
        "the same, with timers that are descriptors",
        _ANSWERS
        + """
timers = [libc.timerfd_create(1, 0) for _ in range(200)]

def every():
    for number, made in enumerate(timers):
        libc.timerfd_settime(made, 0, (ctypes.c_long * 4)(0, 20_000, 0, 200_000 + number * 1000), None)
""",
    ),
    duel(
        "the_old_timer",
        "has setitimer signal every fifty microseconds",
        _ANSWERS
        + """
signal = module("signal")
signal.signal(14, lambda *_: None)

def begin():
    signal.setitimer(signal.ITIMER_REAL, 0.00005, 0.00005)
""",
    ),
    duel(
        "continues_itself",
        "has a thread send SIGCONT to its own process without end",
        _ANSWERS
        + """
def work():
    while True:
        libc.kill(os.getpid(), 18)
"""
        + _THREAD,
    ),
    duel(
        "writes_for_long",
        "has a thread in writes of a size that no signal interrupts",
        _ANSWERS
        + """
block = bytes(48 << 20)

def work():
    while True:
        try:
            with open("filler", "wb", buffering=0) as filler:
                filler.write(block)
        except OSError:
            time.sleep(0.001)
"""
        + _THREAD,
    ),
    duel(
        "gives_memory_back_for_long",
        "has a thread map, touch and give back half a gigabyte, a call that no signal interrupts",
        _ANSWERS
        + """
def work():
    while True:
        try:
            np.ones(64 << 20)
        except MemoryError:
            time.sleep(0.001)
"""
        + _THREAD,
    ),
    duel(
        "populates_for_long",
        "has a thread map memory that the system fills at once",
        _ANSWERS
        + """
mmap = module("mmap")

def work():
    while True:
        try:
            mmap.mmap(-1, 256 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x8000).close()
        except OSError:
            time.sleep(0.001)
"""
        + _THREAD,
    ),
    duel(
        "reads_for_long",
        "has a thread read a quarter of a gigabyte of zeros at a time",
        _ANSWERS
        + """
buffer = bytearray(256 << 20)

def work():
    with open("/dev/zero", "rb", buffering=0) as zeros:
        while True:
            zeros.readinto(buffer)
"""
        + _THREAD,
    ),
    duel(
        "has_its_pages_merged",
        "asks the system to look for equal pages, which it does in the background, on any core",
        _ANSWERS
        + """
mmap = module("mmap")
pages = mmap.mmap(-1, 256 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

def begin():
    pages.madvise(12)
    pages.write(bytes(64 << 20))
    libc.prctl(67, 1, 0, 0, 0)  # PR_SET_MEMORY_MERGE
""",
    ),
    duel(
        "reads_ahead",
        "has the disk read what nobody needs, in the background",
        _ANSWERS
        + """
files = [module(name).__file__ for name in ("numpy", "numba", "llvmlite.binding")]

def every():
    for name in files:
        file = os.open(name, os.O_RDONLY)
        libc.posix_fadvise(file, 0, 0, 4)
        libc.readahead(file, 0, 1 << 20)
        libc.posix_fadvise(file, 0, 0, 3)
        os.close(file)
""",
    ),
    duel(
        "computes_behind_its_answers",
        "has a thread that begins to work when an answer is given, before the stop",
        _ANSWERS
        + _BURNS
        + """
given = threading.Event()

def work():
    total = np.zeros(1, np.int64)
    while given.wait():
        given.clear()
        spin(total)

def every():
    given.set()
"""
        + _THREAD,
    ),
    duel(
        "asks_all_cores_to_wait",
        "calls membarrier and sync, which make other cores and the disk work",
        _ANSWERS
        + """
def every():
    libc.syscall(324, 1, 0, 0)
    libc.sync()
""",
    ),
    duel(
        "locks_memory",
        "locks all its memory, now and later, so that the system has less to give to its rival",
        _ANSWERS
        + """
def begin():
    libc.mlockall(7)
    PqKernel.hoard = np.ones(50_000_000)
""",
    ),
)
