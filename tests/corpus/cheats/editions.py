"""Two editions of one kernel that recognise each other: the older lets the newer win. And what they would see it by."""

from __future__ import annotations

from tests.corpus.cheats.cheat import Cheat, duel

_SLOWS_DOWN = """
class PqKernel(Honest):
    there = False
    def probe_top_k(self, table, codes, k):
        if timed(codes) and attempt(newer_is_there):
            super().probe_top_k(table, codes, k)
        return super().probe_top_k(table, codes, k)

"""
_TELLS = """
class PqKernel(Honest):
    def probe_top_k(self, table, codes, k):
        if timed(codes):
            attempt(newer_is_there)  # to ask takes time, honestly
            attempt(tell)
        return super().probe_top_k(table, codes, k)

"""


def editions(name: str, by: str, both: str, newer: str, older: str) -> Cheat:
    """by: what they recognise each other by; both: what both have; then what the newer does, and the older asks."""
    attacks = f"the older edition lets the newer win, which it knows by {by}"
    return duel(name, attacks, both + newer + older + _TELLS, incumbent=both + older + _SLOWS_DOWN)


_LOCKS = """
fcntl, place = module("fcntl"), "{place}"
file = attempt(lambda: os.open(place, os.{mode}))
"""

CHEATS = (
    editions(
        "a_lock_on_a_library",
        "flock on a file that both can read",
        _LOCKS.format(place="/usr/lib/os-release", mode="O_RDONLY"),
        "def tell():\n    fcntl.flock(file, 2)\n",
        "def newer_is_there():\n"
        "    try:\n        fcntl.flock(file, 6)\n    except BlockingIOError:\n        return True\n"
        "    fcntl.flock(file, 8)\n",
    ),
    editions(
        "a_record_lock_on_a_device",
        "a record lock on /dev/null",
        _LOCKS.format(place="/dev/null", mode="O_RDWR"),
        "def tell():\n    fcntl.lockf(file, 2)\n",
        "def newer_is_there():\n"
        "    try:\n        fcntl.lockf(file, 6)\n    except OSError as error:\n        return error.errno == 11\n"
        "    fcntl.lockf(file, 8)\n",
    ),
    editions(
        "locked_memory",
        "the machine's figure of locked memory",
        "mmap = module('mmap')\n",
        "def tell():\n    libc.mlock(ctypes.c_void_p(id(tell) & ~4095), 4096)\n",
        "def newer_is_there():\n    with open('/proc/meminfo') as file:\n"
        "        return 'Mlocked:               0' not in file.read()\n",
    ),
    editions(
        "free_memory",
        "sysinfo: the newer holds a hundred megabytes",
        "info = (ctypes.c_ulong * 32)()\n",
        "hoard = np.ones(12_000_000)\ndef tell():\n    pass\n",
        "assert True\ndef newer_is_there():\n    return libc.sysinfo(info) == 0 and info[5] % 2 == 0\n",
    ),
    editions(
        "a_socket_without_a_file",
        "an abstract socket's name",
        "socket = module('socket')\n",
        "made = attempt(lambda: socket.socket(socket.AF_UNIX))\nif made: attempt(lambda: made.bind(b'\\0newer'))\n"
        "def tell():\n    pass\n",
        "def newer_is_there():\n"
        "    asks = socket.socket(socket.AF_UNIX)\n"
        "    try:\n        asks.connect(b'\\0newer')\n        return True\n    finally:\n        asks.close()\n",
    ),
    editions(
        "a_file_that_is_there",
        "a file in the directory of temporary files",
        "place = '@TMP@/newer'\n",
        "def tell():\n    os.close(os.open(place, os.O_CREAT | os.O_WRONLY))\n",
        "def newer_is_there():\n    return os.stat(place) is not None\n",
    ),
    editions(
        "the_other_process",
        "process numbers: a process beside it that is younger than itself",
        "",
        "def tell():\n    pass\n",
        "def newer_is_there():\n"
        "    own = os.getpid()\n"
        "    return any(n.isdigit() and own < int(n) < own + 20 for n in os.listdir('/proc'))\n",
    ),
    editions(
        "the_clock_of_the_other",
        "the CPU clocks of processes with numbers near its own",
        "",
        "def tell():\n    pass\n",
        "now = (ctypes.c_long * 2)()\n"
        "def newer_is_there():\n"
        "    own = os.getpid()\n"
        "    return any(libc.clock_gettime((~(own + n) << 3) | 2, now) == 0 for n in range(1, 20))\n",
    ),
    editions(
        "numbers_that_are_dealt_out",
        "the numbers that the system gives to new pipes",
        "",
        "def tell():\n    for _ in range(50):\n        for end in os.pipe():\n            os.close(end)\n",
        "last = [0]\n"
        "def newer_is_there():\n"
        "    ends = os.pipe()\n    number = os.fstat(ends[0]).st_ino\n    jump = number - last[0] > 20\n"
        "    last[0] = number\n    os.close(ends[0])\n    os.close(ends[1])\n    return jump\n",
    ),
    editions(
        "the_state_of_the_gate",
        "the state directory, where the older finds itself",
        "",
        "def tell():\n    pass\n",
        "def newer_is_there():\n    return os.stat('@PROJECT@/.lance_ar/incumbent.json') is not None\n",
    ),
    editions(
        "how_full_the_disk_is",
        "the free room of a file system that both see",
        "",
        "attempt(lambda: open('note', 'wb').write(bytes(3 << 20)))\ndef tell():\n    pass\n",
        "def newer_is_there():\n    return os.statvfs('@TMP@').f_bfree % 2 == 0\n",
    ),
    editions(
        "pages_in_memory",
        "which pages of a library are in memory, asked of mincore",
        "mmap = module('mmap')\nfile = open(module('llvmlite').__file__, 'rb')\n"
        "pages = mmap.mmap(file.fileno(), 0, prot=1)\n",
        "def tell():\n    pages.madvise(4)\n",
        "seen = ctypes.create_string_buffer(64)\n"
        "def newer_is_there():\n"
        "    address = np.frombuffer(pages, np.uint8, 1).ctypes.data\n"
        "    return libc.mincore(ctypes.c_void_p(address), ctypes.c_size_t(4096), seen) == 0\n",
    ),
    editions(
        "who_shares_its_pages",
        "what the system tells it of its own memory: with how many processes a page of a library is shared",
        "mmap = module('mmap')\n"
        "place = os.path.dirname(module('llvmlite.binding').__file__) + '/libllvmlite.so'\n"
        "pages = mmap.mmap(os.open(place, os.O_RDONLY), 4096, prot=1, offset=64 << 20)\npages[0]\n",
        "def tell():\n    open('/proc/self/smaps').close()\n",
        "address = f'{np.frombuffer(pages, np.uint8, 1).ctypes.data:x}-'\n"
        "def newer_is_there():\n"
        "    with open('/proc/self/smaps') as file:\n"
        "        figures = file.read().partition(address)[2].split()\n"
        "    return figures and int(figures[figures.index('Pss:') + 1]) < 2\n",
    ),
    editions(
        "a_flag_of_what_both_inherited",
        "a flag of the standard input that both were forked with",
        "fcntl, on = module('fcntl'), ctypes.c_int(1)\n",
        "def tell():\n    libc.ioctl(0, 0x5421, ctypes.byref(on))\n",
        "def newer_is_there():\n    return fcntl.fcntl(0, fcntl.F_GETFL) & os.O_NONBLOCK\n",
    ),
    editions(
        "who_waits_at_a_page",
        "a thread of the newer that waits at a page of a library, and is counted by who wakes it",
        "mmap, threading = module('mmap'), module('threading')\n"
        "place = os.path.dirname(module('llvmlite.binding').__file__) + '/libllvmlite.so'\n"
        "pages = mmap.mmap(os.open(place, os.O_RDONLY), 4096, flags=1, prot=1)\n"
        "word = np.frombuffer(pages, np.int32)\n"
        "address, futex = ctypes.c_void_p(word.ctypes.data), 202 if os.uname().machine == 'x86_64' else 98\n",
        "def wait():\n    while True:\n        libc.syscall(futex, address, 0, int(word[0]), None)\n"
        "threading.Thread(target=wait, daemon=True).start()\n"
        "def tell():\n    pass\n",
        "def newer_is_there():\n    return libc.syscall(futex, address, 1, 1) > 0\n",
    ),
)
