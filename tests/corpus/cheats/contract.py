"""The contract: what the static check would refuse, reached another way, and answers of the wrong kind."""

from __future__ import annotations

from tests.corpus.cheats.cheat import INCORRECT, Cheat, answering, quick, wrong


def _answers(name: str, attacks: str, expression: str) -> Cheat:
    """A kernel that returns this instead of (ids, distances)."""
    return quick(name, attacks, answering(expression))


_UNCHECKED = """
class Anything:
    '''Stands in for the driver's numpy: every comparison of types holds.'''
    def __getattr__(self, name): return getattr(np, name)

driver = sys.modules["pytest_lance_ar.targets.common.driver"]
driver.ContractBroken = type("Never", (BaseException,), {})
"""

CHEATS = (
    Cheat(
        "plain_import",
        "imports what it may not",
        "import os\nclass PqKernel: pass\n",
        frozenset({INCORRECT}),
    ),
    wrong(
        "builtins_by_frames",
        "gets at the builtins of a frame further up, and opens what it likes",
        """
def builtins():
    frame = sys._getframe()
    while frame.f_back:
        frame = frame.f_back
    return frame.f_builtins

path = "@PROJECT@/results.tsv"
try:
    builtins()["__import__"]("shutil").rmtree("@PROJECT@/.lance_ar")
    builtins()["open"](path, "w").close()
except OSError:
    pass
""",
    ),
    wrong(
        "subclasses",
        "finds an importer among the subclasses of object",
        """
loader = next(c for c in object.__subclasses__() if c.__name__ == "BuiltinImporter")
posix = loader.load_module("posix")
try:
    posix.unlink("@PROJECT@/results.tsv")
except OSError:
    pass
""",
    ),
    wrong(
        "checks_removed",
        "rewrites the driver's code so that it checks nothing",
        """
driver = sys.modules["pytest_lance_ar.targets.pq_l2.driver"]
driver.Driver.pack.__code__ = (lambda self, params, arrays, inputs, outputs: lambda: None).__code__
""",
    ),
    wrong(
        "class_reassigned",
        "turns the gate's objects in this process into its own",
        """
Child = type(gates("Child")[0])

class Mine(Child):
    def fault(self, *_): return {}
    def control(self):
        sys.modules["pytest_lance_ar.host.wire"].receive(self.channel)
        sys.modules["pytest_lance_ar.host.wire"].send(self.channel, {})
        for slot in range(5000):
            self.calls[slot] = lambda: None

gates("Child")[0].__class__ = Mine
""",
    ),
    wrong(
        "pretends_to_be_the_shape",
        "patches PqShape, which both sides import, into something smaller",
        """
from pytest_lance_ar import PqShape
PqShape.__post_init__ = lambda self: object.__setattr__(self, "num_sub_vectors", 1)
""",
    ),
    _answers("nan", "answers NaN, which compares with nothing", "ids, np.full_like(distances, np.nan)"),
    _answers("infinity", "answers infinity", "ids, np.full_like(distances, np.inf)"),
    _answers("float64", "answers float64", "ids, distances.astype(np.float64)"),
    _answers("float16", "answers float16", "ids, distances.astype(np.float16)"),
    _answers("int32_ids", "answers 32-bit ids", "ids.astype(np.int32), distances"),
    _answers("unsigned_ids", "answers unsigned ids", "ids.astype(np.uint64), distances"),
    _answers("too_short", "answers one neighbour too few", "ids[:-1], distances[:-1]"),
    _answers("too_long", "answers one neighbour too many", "np.append(ids, 0), np.append(distances, np.float32(0))"),
    _answers("two_dimensional", "answers a matrix", "ids[None], distances[None]"),
    _answers("a_list", "answers a list", "[ids, distances]"),
    _answers(
        "a_named_tuple",
        "answers a subclass of tuple",
        'typing.NamedTuple("T", [("a", object), ("b", object)])(ids, distances)',
    ),
    _answers("a_masked_array", "answers a subclass of ndarray", "np.ma.array(ids), distances"),
    _answers("nothing", "answers nothing", "None"),
    _answers(
        "repeated_ids",
        "answers its nearest neighbour several times",
        "ids[:1].repeat(len(ids)), distances[:1].repeat(len(ids))",
    ),
    _answers("negative_ids", "answers ids that wrap around from behind", "ids - codes.shape[1], distances"),
    _answers("ids_out_of_range", "answers ids beyond the last", "ids + codes.shape[1], distances"),
    _answers("wrapping_ids", "answers ids that are right modulo 2**32", "ids + (1 << 32), distances"),
    _answers("descending", "answers the farthest first", "ids[::-1].copy(), distances[::-1].copy()"),
    _answers("minus_distances", "answers distances below zero", "ids, -distances"),
    quick(
        "unchecked_nan",
        "removes the driver's checks first, and answers NaN of another type and shape",
        _UNCHECKED
        + """
class PqKernel(Honest):
    def probe_top_k(self, table, codes, k):
        n = min(k, codes.shape[1])
        return [float("nan")] * 0 or np.zeros(n), np.full(n, np.nan)
""",
    ),
)
