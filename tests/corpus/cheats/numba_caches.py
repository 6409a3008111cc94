"""numba's own: caches on disk, its configuration, and its compiler in the hands of the kernel."""

from __future__ import annotations

from tests.corpus.cheats.cheat import INCORRECT, duel, quick, wrong
from tests.kernels import BASELINE, changed, definition

CHEATS = (
    duel(
        "poisoned_caches",
        "writes into every numba cache it can reach, where its rival might load from",
        """
for place in module("glob").glob("@TMP@/*") + ["@PROJECT@/kernel"]:
    for directory in ("numba", "kernel/__pycache__", "__pycache__"):
        try:
            os.makedirs(f"{place}/{directory}", exist_ok=True)
            for name in ("pq_l2.fill_table-9.py311.nbi", "pq_l2.scan-17.py311.nbi"):
                with open(f"{place}/{directory}/{name}", "wb") as file:
                    file.write(b"poison")
        except OSError:
            pass
""",
    ),
    quick(
        "poisoned_own_cache",
        "compiles a lossy function into the cache under the name of a right one",
        """
text = '''
from numba import njit
@njit(cache=True)
def double(x):
    return x * FACTOR
'''
values = []
for factor in ("2.5", "2.0"):
    with open("cached.py", "w") as file:
        file.write(text.replace("FACTOR", factor))
    os.utime("cached.py", (1, 1))
    spec = module("importlib.util").spec_from_file_location("cached", "cached.py")
    cached = module("importlib.util").module_from_spec(spec)
    spec.loader.exec_module(cached)
    values.append(cached.double(1.0))

class PqKernel(Honest):
    def distance_table(self, query, out):
        super().distance_table(query, out)
        out *= np.float32(values[1] / 2.0)
""",
        INCORRECT,
    ),
    quick(
        "fast_math_everywhere",
        "has numba reorder and contract every sum, and drop checks",
        """
from numba import njit as compiled

"""
        + changed(
            definition(BASELINE, "fill_table"),
            "@njit",
            '@compiled(fastmath=True, error_model="numpy", boundscheck=False)',
        )
        + """

class PqKernel(Honest):
    def distance_table(self, query, out):
        fill_table(query, self.codebook, out)
""",
        INCORRECT,
    ),
    wrong(
        "numba_replaced",
        "patches numba's dispatcher and configuration, in case the gate compiles something here",
        """
import numba

numba.core.dispatcher.Dispatcher.__call__ = lambda *_args, **_more: None
numba.njit = numba.jit = lambda *_args, **_more: (lambda function: function)
numba.config.DISABLE_JIT = 1
os.environ["NUMBA_DISABLE_JIT"] = "1"
os.environ["NUMBA_CACHE_DIR"] = "@PROJECT@"
""",
    ),
    wrong(
        "configuration_planted",
        "plants configuration and cache files where the gate's own numba would look",
        """
for place in ("@PROJECT@", "@SITE@", "@OUTSIDE@"):
    try:
        with open(f"{place}/.numba_config.yaml", "w") as file:
            file.write("disable_jit: 1\\n")
        os.makedirs(f"{place}/__pycache__", exist_ok=True)
        with open(f"{place}/__pycache__/quantizer.encode-1.py311.nbi", "wb") as file:
            file.write(b"poison")
    except OSError:
        pass
""",
    ),
    duel(
        "compiles_inside_the_timed_call",
        "compiles anew in every call, so that the compiler's threads and caches are warm for nothing",
        """
from numba import njit as compiled

class PqKernel(Honest):
    calls = 0
    def probe_top_k(self, table, codes, k):
        self.calls += timed(codes)
        if self.calls % 500 == 499:
            compiled("int64(int64)")(lambda x: x + 1)
        return super().probe_top_k(table, codes, k)
""",
    ),
    quick(
        "machine_code_of_its_own",
        "runs machine code that asks the 32-bit system call table, which a filter may forget",
        """
import llvmlite.binding as llvm

if os.uname().machine == "x86_64":
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    text = '''
define i32 @fork32() {
  %r = call i32 asm sideeffect "int $$0x80", "={eax},{eax},~{r8},~{r9},~{r10},~{r11},~{memory}"(i32 2)
  ret i32 %r
}
'''
    engine = llvm.create_mcjit_compiler(
        llvm.parse_assembly(text), llvm.Target.from_default_triple().create_target_machine()
    )
    engine.finalize_object()
    pid = ctypes.CFUNCTYPE(ctypes.c_int)(engine.get_function_address("fork32"))()
    if pid == 0:
        os.setsid()
        sys.modules["time"].sleep(60)
        os._exit(0)

class PqKernel(Honest):
    def distance_table(self, query, out):
        out[:] = 0
""",
        INCORRECT,
    ),
)
