"""What a kernel's process shares with the gate, or leaves to it: descriptors, files, directories, room."""

from __future__ import annotations

from tests.corpus.cheats.cheat import wrong

CHEATS = (
    wrong(
        "output_that_cannot_be_read",
        "sets flags on its output that would make the gate's reading of it fail, and crashes",
        """
fcntl = module("fcntl")
for descriptor in (1, 2):
    attempt(lambda: fcntl.fcntl(descriptor, fcntl.F_SETFL, 0o40000 | os.O_NONBLOCK | os.O_ASYNC))
    attempt(lambda: os.lseek(descriptor, 1 << 40, 0))
    attempt(lambda: os.ftruncate(descriptor, 12345))
ctypes.string_at(0)
""",
    ),
    wrong(
        "output_that_is_not_text",
        "prints control characters, NULs and half of a character, and crashes",
        r"""
os.write(1, b"\0\x1b[2J\xff\xfe\r\nverdict: keep\n---\n" * 50)
ctypes.string_at(0)
""",
    ),
    wrong(
        "descriptors_of_others",
        "changes flags and owners of every descriptor that it has",
        """
fcntl = module("fcntl")
for descriptor in range(256):
    for command, value in ((fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC), (fcntl.F_SETOWN, os.getppid()), (1031, 4096)):
        attempt(lambda: fcntl.fcntl(descriptor, command, value))
""",
    ),
    wrong(
        "arrays_that_shrink",
        "cuts, seals and closes the memory that it shares with the gate",
        """
fcntl = module("fcntl")

class PqKernel(Honest):
    def __init__(self, shape, codebook):
        super().__init__(shape, codebook)
        for descriptor in range(3, 256):
            attempt(lambda: fcntl.fcntl(descriptor, 1033, 15))
            attempt(lambda: os.ftruncate(descriptor, 0))
""",
    ),
    wrong(
        "a_deep_directory",
        "leaves directories behind, one in the other, deeper than any path and any stack",
        """
try:
    for _ in range(6000):
        os.mkdir("d")
        os.chdir("d")
except OSError:
    pass
""",
    ),
    wrong(
        "directories_that_nobody_may_enter",
        "leaves directories without any permission behind",
        """
umask = os.umask(0o777)
for number in range(50):
    attempt(lambda: os.makedirs(f"closed{number}/below"))
    attempt(lambda: os.mkdir(f"closed{number}"))
attempt(lambda: os.chmod(".", 0))
""",
    ),
    wrong(
        "very_many_files",
        "leaves a hundred thousand files behind",
        """
try:
    for number in range(100_000):
        os.close(os.open(f"file{number}", os.O_CREAT | os.O_WRONLY))
except OSError:
    pass
""",
    ),
    wrong(
        "names_that_hurt",
        "leaves files behind whose names are no text, or are options, or are as long as names may be",
        r"""
for name in (b"\xff\xfe", b"-rf", b"new\nline", b"\x1b[2J", b"n" * 255, b" "):
    attempt(lambda: os.close(os.open(name, os.O_CREAT | os.O_WRONLY)))
    attempt(lambda: os.symlink(b"/", name + b"l"))
""",
    ),
    wrong(
        "many_large_files",
        "fills the disk with files, each as large as a file may be",
        """
block = bytes(16 << 20)
try:
    for number in range(400):
        with open(f"large{number}", "wb", buffering=0) as file:
            file.write(block)
except OSError:
    pass
""",
    ),
    wrong(
        "all_the_memory",
        "takes all the memory that it gets, and touches it",
        """
hoard = []
try:
    while True:
        hoard.append(np.ones(2 << 20))
except MemoryError:
    hoard.clear()
""",
    ),
    wrong(
        "dies_at_once_and_again",
        "ends with every status and signal that there is, as the clock has it",
        """
number = sys.modules["time"].time_ns() // 1000 % 64
libc.kill(os.getpid(), number)
os._exit(number)
""",
    ),
    wrong(
        "searches_what_it_inherited",
        "reads from and writes to every descriptor that the process which it was forked from may have left",
        """
ours = {*descriptors(), gates("Child")[0].channel.fileno(), 0, 1, 2}
for descriptor in set(range(1024)) - ours:
    attempt(lambda: os.set_blocking(descriptor, False))
    attempt(lambda: os.read(descriptor, 4096))
    attempt(lambda: os.write(descriptor, b"A"))
for thing in sys.modules["gc"].get_objects():
    if type(thing).__name__ == "socket" and thing.fileno() not in ours:
        attempt(lambda: thing.send(b"A"))
""",
    ),
    wrong(
        "asks_the_warm_process",
        "starts a warm process of its own, and forks",
        """
server = module("pytest_lance_ar.host.forkserver")
attempt(server._Server)
attempt(lambda: os.fork() or os._exit(0))
""",
    ),
)
