"""Machine code that one process of a kernel hands to the next of the same kernel. Runs in those processes only.

numba's own file cache asks for a decorator's `cache=True`, and knows a function by its file, its line and its
bytecode. Here every compiled function is kept, under all that it was compiled from: its code with the constants in it,
the globals and the closure that it sees, its signature, numba and the processor. What cannot be told apart like this,
and what holds addresses of this process, is not kept, and compiled anew by each.
"""

from __future__ import annotations

import hashlib
import mmap
import pickle
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any, Final

import llvmlite
import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba.core import serialize, types
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.dispatcher import Dispatcher
from numba.core.extending import _Intrinsic
from numba.core.registry import cpu_target
from numba.core.sigutils import normalize_signature
from numba.core.types.functions import Dispatcher as DispatcherType

_PLAIN: Final = (int, float, complex, str, bytes, bool, type(None), type(Ellipsis), np.generic, np.dtype)


_MOST: Final = 5000
"""Objects that a function may be compiled from."""


_rebuild: Final[Any] = CompileResult._rebuild
_dumps: Final[Any] = serialize.dumps
_normalized: Final[Any] = normalize_signature
_SHIFTED: Final[list[mmap.mmap]] = []


class Untellable(Exception):
    """What a function is compiled from cannot be described."""


def install(code: bytes) -> Callable[[], bytes]:
    """From now on, look for compiled functions among those that `code` holds. Returns what tells all that there are."""
    kept: dict[bytes, bytes] = {}
    with suppress(Exception):  # damaged: compiled anew
        kept.update(pickle.loads(code) if code else {})
    dispatcher: Any = Dispatcher
    made: Callable[..., None] = dispatcher.__init__

    def make(self: Any, *arguments: Any, **more: Any) -> None:
        made(self, *arguments, **more)
        self._cache = CodeCache(self, kept)

    dispatcher.__init__ = make
    dispatcher.enable_caching = lambda _self: None  # a kernel that asks for it has it already
    return lambda: pickle.dumps(kept)


def shift(places: int) -> None:
    """Have the code that is linked from now on lie elsewhere than it would: so many pages and functions further.

    Which branches and cache lines collide is luck; processes that differ in this do not share it.
    """
    if not places:
        return
    _SHIFTED.append(mmap.mmap(-1, places * mmap.PAGESIZE))
    functions = (f"define i64 @lance_ar_{i}(i64 %x) {{\n %y = add i64 %x, {i}\n ret i64 %y\n}}" for i in range(places))
    engine = cpu_target.target_context.codegen()._engine
    engine.add_module(llvm.parse_assembly("\n".join(functions)))
    engine.finalize_object()


@lru_cache(maxsize=1)
def environment() -> str:
    """What machine code depends on besides its source: a processor, an interpreter and a compiler, in one line."""
    features = sorted(name for name, there in llvm.get_host_cpu_features().items() if there)
    words = [platform.machine(), llvm.get_host_cpu_name(), ",".join(features), sys.version, np.__version__]
    return " ".join([*words, numba.__version__, llvmlite.__version__])


class CodeCache(NullCache):
    """What a dispatcher asks before it compiles, and tells when it has."""

    def __init__(self, dispatcher: Any, kept: dict[bytes, bytes]) -> None:
        self._dispatcher = dispatcher
        self._kept = kept
        self._source = b""  # as it was when it was first asked for: what compiling leaves in an object is no part of it

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        target_context.refresh()
        with suppress(Exception):  # whatever goes wrong here, the function can be compiled
            data = self._kept.get(self._key(sig))
            return data and _rebuild(target_context, *pickle.loads(data))
        return None

    def save_overload(self, sig: Any, cres: Any) -> None:
        if cres.library.has_dynamic_globals or not all(lifted.can_cache for lifted in cres.lifted):
            return
        with suppress(Exception):
            self._kept[self._key(sig)] = _dumps(cres._reduce())

    def _key(self, sig: Any) -> bytes:
        if not self._source:
            self._source = hashlib.sha256(b"\0".join(_described(self._dispatcher, {}))).digest()
        arguments, returned = _normalized(sig)
        words = [*map(_word, (*arguments, returned)), environment()]
        return hashlib.sha256(self._source + repr(words).encode()).digest()


def _word(kind: Any) -> str:
    if isinstance(kind, (DispatcherType, types.Function, types.FunctionType)) or " at 0x" in str(kind):
        raise Untellable
    return str(kind)


def _described(value: Any, seen: dict[int, tuple[int, Any]]) -> Iterator[bytes]:
    """The bytes that tell a value from others. Raises Untellable."""
    if id(value) in seen:
        yield b"seen %d" % seen[id(value)][0]
        return
    yield type(value).__qualname__.encode()
    if isinstance(value, _PLAIN):
        yield repr(value).encode()
    elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
        yield f"{value.dtype} {value.shape} {value.strides}".encode() + value.tobytes()
    elif isinstance(value, (ModuleType, type)):
        yield f"{getattr(value, '__module__', '')} {value.__name__}".encode()
    elif isinstance(value, (BuiltinFunctionType, np.ufunc, types.Type, ir.Type)):
        if " at 0x" in str(value):
            raise Untellable
        yield str(value).encode()
    else:
        if len(seen) > _MOST:
            raise Untellable
        seen[id(value)] = len(seen), value  # held, so that no other gets its id
        for part in _parts(value):
            yield from _described(part, seen)
    yield b"."


def _parts(value: Any) -> list[Any]:
    if isinstance(value, (tuple, list)):
        return list(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=repr)
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    if isinstance(value, Dispatcher):
        return [value.py_func, value.targetoptions, value.locals]
    if isinstance(value, _Intrinsic):
        return [value._defn]
    if isinstance(value, CodeType):
        return [value.co_code, value.co_names, value.co_varnames, value.co_freevars, value.co_flags, value.co_consts]
    if isinstance(value, FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        names = sorted(name for name in _names(value.__code__) if name in value.__globals__)
        return [value.__code__, value.__defaults__, cells, names, [value.__globals__[name] for name in names]]
    try:
        return [vars(value)]  # what intrinsics build code from: types of LLVM, the kernel's own tables
    except TypeError:
        raise Untellable from None


def _names(code: CodeType) -> set[str]:
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*map(_names, inner))
