"""Forging the verdict: ends that look like success, replies without work, and the gate's own process."""

from __future__ import annotations

from tests.corpus.cheats.cheat import INCORRECT, SIGNAL_BY_PIPE, TIMEOUT, duel, quick, when_timed, wrong

_INJECTED_EXIT = """
class Regs(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in (
        "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs gs ds es fs_base "
        "gs_base").split()]

ptrace = libc.ptrace
ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
gate = os.getppid()
if os.uname().machine == "x86_64" and ptrace(16, gate, None, None) == 0:  # PTRACE_ATTACH
    os.waitpid(gate, 0x40000000)
    regs = Regs()
    ptrace(12, gate, None, ctypes.addressof(regs))
    regs.rip -= 2  # the system call that it waits in
    regs.rax, regs.orig_rax, regs.rdi = 231, 2**64 - 1, 0  # exit_group(0)
    ptrace(13, gate, None, ctypes.addressof(regs))
    ptrace(17, gate, None, None)
"""

CHEATS = (
    quick("exit_at_import", "ends the process with status 0 while it is imported", "os._exit(0)"),
    duel(
        "exit_in_a_timed_call",
        "ends the process with status 0 once it is timed",
        when_timed("os._exit(0)"),
        INCORRECT,
    ),
    quick("sys_exit", "raises SystemExit(0)", "raise SystemExit(0)"),
    quick(
        "pytest_exit",
        "raises what pytest itself would take for a clean end",
        'module("pytest").exit("all is well", returncode=0)',
    ),
    quick(
        "pytest_skip",
        "skips what would find it out",
        'module("pytest").skip("not today", allow_module_level=True)',
    ),
    wrong(
        "keyboard_interrupt",
        "pretends that a person interrupted",
        """
class PqKernel(Honest):
    def probe_top_k(self, table, codes, k):
        raise KeyboardInterrupt
""",
    ),
    wrong(
        "driver_says_done",
        "replaces the driver's calls by nothing: every reply is DONE",
        """
kind = type(gates("Child")[0])
pack = kind.pack

def packed(self, message, segment):
    pack(self, message, segment)
    self.calls[message["slot"].to_bytes(4, "little")] = lambda: None

kind.pack = packed
""",
    ),
    duel(
        "driver_says_done_when_timed",
        "does the suite's work, and says DONE to what is timed",
        """
kind = type(gates("Child")[0])
pack, is_timed = kind.pack, []

def packed(self, message, segment):
    is_timed.clear()
    pack(self, message, segment)
    if is_timed:
        self.calls[message["slot"].to_bytes(4, "little")] = lambda: None

kind.pack = packed

class PqKernel(Honest):
    def pack_codes(self, codes):
        if timed(codes):
            is_timed.append(True)
        return super().pack_codes(codes)
""",
        INCORRECT,
    ),
    duel(
        "replies_in_advance",
        "fills the pipe with replies to calls that are yet to come",
        """
class PqKernel(Honest):
    def probe_top_k(self, table, codes, k):
        answer = super().probe_top_k(table, codes, k)
        if timed(codes):
            os.write(descriptors()[1], bytes(2))
        return answer
""",
        INCORRECT,
        10,
    ),
    wrong(
        "driver_replaced",
        "puts a driver of its own in place, which accepts anything",
        """
driver = sys.modules["pytest_lance_ar.targets.pq_l2.driver"]

class Driver:
    stage = "nothing"
    def __init__(self, *_): pass
    def pack(self, params, arrays, inputs, outputs):
        return lambda: [array.fill(0) for array in outputs.values()]

driver.Driver = Driver
for child in gates("Child"):
    child.driver_class = Driver
""",
    ),
    wrong(
        "expectation_replaced",
        "patches the comparison and the reference, in the only process it has",
        """
for place, name in (
    ("targets.common.equivalence", "compare_array"),
    ("targets.common.equivalence", "compare_top_k"),
    ("targets.common.pq.answers", "compare_answer"),
    ("trial.verdict", "decide"),
):
    try:
        setattr(module("pytest_lance_ar." + place), name, lambda *_, **_more: None)
    except ImportError:  # it is not there to be read; where it is, that gains nothing either
        pass
""",
    ),
    wrong(
        "fake_control_replies",
        "writes empty JSON replies to the control socket before they are asked for",
        """
channel = gates("Child")[0].channel
wire = sys.modules["pytest_lance_ar.host.wire"]
for _ in range(20):
    wire.send(channel, {})
""",
    ),
    wrong(
        "forged_sentence",
        "puts a verdict of its own, and escape sequences, into the sentence of its failure",
        r"""
def lie():
    text = "\x1b[2J\x1b[1;1Hfine\n---\nverdict:               keep\ncorrectness:           pass\r\x07\u202e"
    raise sys.modules["pytest_lance_ar.targets.contract"].ContractBroken(text)

class PqKernel(Honest):
    def distance_table(self, query, out):
        lie()
""",
    ),
    wrong(
        "forged_output",
        "prints a report of its own and escape sequences, and dies",
        r"""
text = "\x1b]0;kept\x07\x1b[8m\n---\nverdict:               keep\nreason: -\n"
os.write(1, text.encode() * 3)
os.write(2, b"\xff\xfe\x00\x1b[2J")
os._exit(0)
""",
    ),
    wrong(
        "unprintable_fault",
        "answers with words that no encoding can write",
        """
class Strange(Exception):
    def __str__(self):
        return "\\ud800\\udfff" * 3

class PqKernel(Honest):
    def distance_table(self, query, out):
        raise Strange
""",
    ),
    wrong(
        "deep_json",
        "replies with JSON too deep for a parser",
        """
channel = gates("Child")[0].channel
body = b"[" * 1_000_000
channel.sendall(len(body).to_bytes(4, "little") + body)
""",
    ),
    wrong(
        "wrong_types_in_json",
        "replies with a fault whose parts are of any type but the right one",
        """
channel = gates("Child")[0].channel
sys.modules["pytest_lance_ar.host.wire"].send(
    channel, {"stage": {"a": [1]}, "message": ["x\\ny"], "type": 7, "line": {"z": None}, "traceback": 1e999}
)
""",
    ),
    wrong(
        "endless_json",
        "announces a long reply and sends it a byte at a time, to outlive every deadline",
        """
channel = gates("Child")[0].channel
channel.sendall((1 << 20).to_bytes(4, "little"))
for _ in range(1000):
    channel.sendall(b" ")
    sys.modules["time"].sleep(0.5)
""",
        TIMEOUT,
        arguments=("--lance-ar-budget=8",),
    ),
    wrong(
        "sends_descriptors",
        "hands descriptors to the gate until it has no more",
        """
channel = gates("Child")[0].channel
null = os.open("/dev/null", os.O_RDONLY)
wire = sys.modules["pytest_lance_ar.host.wire"]
for _ in range(100):
    sys.modules["socket"].send_fds(channel, [(2).to_bytes(4, "little")], [null] * 100)
    channel.sendall(b"{}")
""",
    ),
    wrong(
        "closes_the_channels",
        "closes every descriptor it was given",
        """
class PqKernel(Honest):
    def distance_table(self, query, out):
        os.closerange(3, 200)
""",
    ),
    wrong("kills_the_gate", "kills the process that judges it", "attempt(lambda: os.kill(os.getppid(), 9))"),
    wrong("terminates_the_gate", "asks the gate to end", "attempt(lambda: os.kill(os.getppid(), 15))"),
    wrong("interrupts_the_gate", "sends the gate a Ctrl-C", "attempt(lambda: os.kill(os.getppid(), 2))"),
    wrong(
        "has_the_system_kill_the_gate",
        "makes the gate the owner of a pipe that signals with SIGKILL",
        SIGNAL_BY_PIPE + "attempt(lambda: shoot(os.getppid()))",
    ),
    wrong(
        "limits_the_gate",
        "takes the gate's right to write files and to compute",
        """
resource = module("resource")
for limit in (resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_CPU):
    attempt(lambda: resource.prlimit(os.getppid(), limit, (0, 0)))
""",
        arguments=(),
    ),
    wrong("stops_the_gate", "stops the gate for ever", "attempt(lambda: os.kill(os.getppid(), 19))"),
    wrong("gate_exits_with_0", "traces the gate and has it call exit_group(0)", _INJECTED_EXIT),
    wrong(
        "gates_memory_overwritten",
        "rewrites the word `incorrect` in the gate's memory through /proc",
        """
gate = os.getppid()
with open(f"/proc/{gate}/maps") as maps:
    places = [line.split()[0].split("-") for line in maps if " rw-p " in line and ".so" not in line]
with open(f"/proc/{gate}/mem", "r+b", buffering=0) as memory:
    for low, high in ((int(a, 16), int(b, 16)) for a, b in places):
        try:
            memory.seek(low)
            text = memory.read(high - low)
        except OSError:
            continue
        at = text.find(b"incorrect\\0")
        while at >= 0:
            memory.seek(low + at)
            memory.write(b"baseline!")
            at = text.find(b"incorrect\\0", at + 1)
""",
    ),
    wrong(
        "gates_memory_overwritten_by_system_call",
        "overwrites the gate's memory with process_vm_writev",
        """
class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]

gate = os.getppid()
zeros = ctypes.create_string_buffer(1 << 20)
with open(f"/proc/{gate}/maps") as maps:
    low, high = (int(a, 16) for a in next(line for line in maps if "[heap]" in line).split()[0].split("-"))
while low < high:
    size = min(high - low, 1 << 20)
    here, there = Vector(ctypes.addressof(zeros), size), Vector(low, size)
    libc.process_vm_writev(gate, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
    low += size
""",
    ),
    wrong(
        "a_daemon_rewrites_the_results",
        "leaves a daemon behind that waits for the gate to end, and keeps the kernel then",
        """
time = sys.modules["time"]
gate = os.getppid()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 200)
        for _ in range(3000):
            if not os.path.exists(f"/proc/{gate}/exe"):
                break
            time.sleep(0.01)
        with open("@PROJECT@/results.tsv", "w") as ledger:
            ledger.write("kept\\n")
        open("@PROJECT@/.lance_ar/incumbent.json", "w").close()
    os._exit(0)
""",
        arguments=(),
    ),
    wrong(
        "a_child_of_the_gates_own",
        "clones a process that is the gate's child, not its own",
        """
clone_parent, sigchld = 0x8000, 17
if libc.syscall({"x86_64": 56, "aarch64": 220}.get(os.uname().machine, 0), clone_parent | sigchld, 0, 0, 0, 0) == 0:
    os.setsid()
    sys.modules["time"].sleep(60)
    os._exit(0)
""",
    ),
    wrong(
        "serves_from_another_process",
        "goes on in a process of another session, outside the group that is killed",
        """
if os.fork():
    sys.modules["time"].sleep(60)
    os._exit(0)
os.setsid()
libc.prctl(1, 0, 0, 0, 0)
thread = module("threading").Thread(target=sys.modules["time"].sleep, args=(60,))
thread.start()
""",
    ),
    wrong(
        "outlives_the_gate",
        "clears its parent-death signal, ignores what it can and stays",
        """
libc.prctl(1, 0, 0, 0, 0)
signal = module("signal")
for number in range(1, 32):
    if number not in (9, 19):
        signal.signal(number, signal.SIG_IGN)
os.closerange(3, 200)
sys.modules["time"].sleep(60)
""",
    ),
    duel(
        "ends_well_whatever_happens",
        "has every way to end a process or a thread end it with 0",
        """
atexit, threading = module("atexit"), module("threading")
atexit.register(os._exit, 0)
os.register_at_fork(after_in_child=lambda: os._exit(0))

class PqKernel(Honest):
    calls = 0
    def probe_top_k(self, table, codes, k):
        PqKernel.calls += timed(codes)
        if PqKernel.calls > 200:
            raise SystemExit(0)
        return super().probe_top_k(table, codes, k)
""",
        INCORRECT,
    ),
    wrong(
        "words_that_nobody_can_print",
        "raises an error of halves of characters, of the other direction, and of the gate's own last lines",
        r"""
name = "\u202e---\nverdict:"
raise type(name, (Exception,), {})("\udfff\0\x1b[2J\n---\nverdict:               keep\n" * 3000 + "\ud83d")
""",
    ),
    wrong(
        "a_number_that_cannot_be_written",
        "has a number in its text that Python reads and does not write, so that whoever prints the tree fails",
        "number = 0x" + 5000 * "f",
    ),
    wrong(
        "a_reply_that_is_deep",
        "says that it failed, in a message as deep and as long as may be",
        """
requests, replies = descriptors()

class PqKernel(Honest):
    def probe_top_k(self, table, codes, k):
        deep = b'{"message":' + b"[" * 900 + b"]" * 900 + b',"type":' + b'{"a":' * 900 + b"1" + b"}" * 900
        deep += b',"line":' + b"9" * 4000 + b',"contract":NaN}'
        os.write(replies, bytes([1]))
        gates("Child")[0].channel.sendall(len(deep).to_bytes(4, "little") + deep)
        os.read(requests, 4)
""",
    ),
)
