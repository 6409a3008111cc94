"""A kernel's size, and when two texts say the same."""

from __future__ import annotations

import ast
import random

import pytest

from pytest_lance_ar.trial.syntax import SHORT_NAME, SHORT_TEXT, digest, size
from tests.kernels import BASELINE, SHIPPED, changed

SAME = {
    "a comment": ("x = 1\n", "# one\nx = 1  # one\n"),
    "layout": ("f(1, 2)\nx = [1, 2]\n", "f(1,\n  2)\n\n\nx = [\n    1,\n    2,\n]\n"),
    "a docstring": ("def f():\n    return 1\n", 'def f():\n    """One."""\n    return 1\n'),
    "a docstring alone": ("class A:\n    pass\n", 'class A:\n    """Words."""\n'),
    "the module's": ("x = 1\n", '"""Words."""\nx = 1\n'),
    "quotes": ("x = 'a'\n", 'x = u"a"\n'),
    "a local": ("def f():\n    a = 1\n    return a\n", "def f():\n    b = 1\n    return b\n"),
    "a parameter": ("def f(a, b):\n    return a - b\n", "def f(b, a):\n    return b - a\n"),
    "self": ("class A:\n    def f(self):\n        self.x = 1\n", "class A:\n    def f(this):\n        this.x = 1\n"),
    "a loop's": (
        "def f(n):\n    for i in range(n):\n        yield i\n",
        "def f(n):\n    for j in range(n):\n        yield j\n",
    ),
    "two loops' in one": (
        "def f():\n    t = 0\n    for i in g():\n        t += i\n    return t\n",
        "def f():\n    i = 0\n    for t in g():\n        i += t\n    return i\n",
    ),
    "a comprehension's": ("def f(x):\n    return [x for x in x]\n", "def f(x):\n    return [y for y in x]\n"),
    "of a module's comprehension": ("y = [a + 1 for a in b]\n", "y = [c + 1 for c in b]\n"),
    "a lambda's": ("f = lambda a: a + 1\n", "f = lambda b: b + 1\n"),
    "a closure's": (
        "def f():\n    a = 1\n    def g():\n        nonlocal a\n        a = 2\n    return g\n",
        "def f():\n    b = 1\n    def h():\n        nonlocal b\n        b = 2\n    return h\n",
    ),
    "a walrus": (
        "def f(x):\n    return [y for z in x if (y := z)], y\n",
        "def f(x):\n    return [q for z in x if (q := z)], q\n",
    ),
    "an exception's": (
        "def f():\n    try:\n        g()\n    except E as a:\n        h(a)\n",
        "def f():\n    try:\n        g()\n    except E as b:\n        h(b)\n",
    ),
    "an import's": (
        "def f():\n    import math as m\n    return m.pi\n",
        "def f():\n    import math\n    return math.pi\n",
    ),
}
OTHER = {
    "a number": ("x = 1\n", "x = 2\n"),
    "its kind": ("x = 1\n", "x = 1.0\n"),
    "true": ("x = 1\n", "x = True\n"),
    "a global's name": ("x = 1\n", "y = 1\n"),
    "a function's name": ("def f():\n    pass\n", "def g():\n    pass\n"),
    "an attribute": ("class A:\n    x = 1\n", "class A:\n    y = 1\n"),
    "the order of operands": ("def f(a, b):\n    return a - b\n", "def f(a, b):\n    return b - a\n"),
    "which local": (
        "def f():\n    a = g()\n    b = g()\n    return a\n",
        "def f():\n    a = g()\n    b = g()\n    return b\n",
    ),
    "local or global": ("def f(a):\n    b = 1\n    return a\n", "def f(a):\n    b = 1\n    return c\n"),
    "global by declaration": (
        "def f():\n    a = 1\n    def g():\n        global a\n        return a\n    return g\n",
        "def f():\n    a = 1\n    def g():\n        return a\n    return g\n",
    ),
    "a parameter that is asked for": (
        "def f(a, b):\n    return a - b\nf(a=1, b=2)\n",
        "def f(b, a):\n    return b - a\nf(a=1, b=2)\n",
    ),
    "a local's type by name": (
        "@njit(locals={'a': f4})\ndef f():\n    a = g()\n    b = h()\n    return a + b\n",
        "@njit(locals={'a': f4})\ndef f():\n    b = g()\n    a = h()\n    return b + a\n",
    ),
    "a text that is no docstring": ("def f():\n    x = 1\n    'words'\n", "def f():\n    x = 1\n    'other words'\n"),
    "a statement": ("x = 1\n", "x = 1\nx = 1\n"),
}


@pytest.mark.parametrize("what", SAME)
def test_what_says_the_same(what: str) -> None:
    one, other = SAME[what]
    assert one != other
    assert digest(one.encode()) == digest(other.encode()) is not None


@pytest.mark.parametrize("what", OTHER)
def test_what_says_something_else(what: str) -> None:
    one, other = OTHER[what]
    assert None is not digest(one.encode()) != digest(other.encode())


@pytest.mark.parametrize("source", [BASELINE, SHIPPED], ids=["baseline", "shipped"])
def test_kernels_written_again_are_the_same_and_any_operation_of_them_counts(source: str) -> None:
    tree = ast.parse(source)
    assert digest(ast.unparse(tree).encode()) == digest(source.encode())
    assert size(ast.unparse(tree).encode()) == size(source.encode())
    names = [
        node for node in ast.walk(tree) if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Mult))
    ]
    for node in random.Random(7).sample(names, min(12, len(names))):
        before = node.op
        node.op = ast.Sub()
        assert digest(ast.unparse(tree).encode()) != digest(source.encode())
        node.op = before


def test_the_names_of_a_real_kernels_locals_do_not_count() -> None:
    renamed = changed(BASELINE, "difference", "delta", times=3)
    renamed = changed(renamed, "entries", "row", times=2)
    assert digest(renamed.encode()) == digest(BASELINE.encode())


def test_the_size_is_that_of_the_tree_without_docstrings_and_comments() -> None:
    assert size(b"") == 1
    assert size(b"x = 1\n") == len(list(ast.walk(ast.parse("x = 1"))))
    assert size(b'"""Words."""\n# words\nx = 1\n') == size(b"x = 1\n")
    assert size(b"def f():\n    'Words.'\n    return 1\n") == size(b"def f():\n    return 1\n")
    assert size(b"x = 1 + 1\n") == size(b"x = 1\n") + 3  # type: ignore[operator]


def test_where_a_text_stands_is_no_part_of_its_size() -> None:
    line = f"x = {'y' * 100!r}\n".encode()
    assert size(b"\n" * 70_000 + line) == size(line)


def test_code_put_into_a_text_is_not_smaller() -> None:
    code = BASELINE[BASELINE.index("@njit") :]
    hidden = size(f"exec({code!r})\n".encode())
    shown = size(code.encode())
    assert hidden is not None
    assert shown is not None
    assert hidden > shown
    pieces = [code[start : start + 70] for start in range(0, len(code), 70)]
    in_pieces = size(f"exec(''.join({pieces!r}))\n".encode())
    assert in_pieces is not None
    assert in_pieces > shown
    assert size(f"x = {'a' * SHORT_TEXT!r}\n".encode()) == size(b"x = 'a'\n")
    assert size(f"{'a' * SHORT_NAME} = 1\n".encode()) == size(b"a = 1\n")


def test_what_cannot_be_written_anew_counts_with_all_that_it_has() -> None:
    """A process gets it as it is, with comments that it can read."""
    deep = "x = " + "-" * 400 + "1\n"
    sizes = [size(source.encode()) for source in (deep, deep + "# words\n")]
    assert None not in sizes
    assert sizes[0] != sizes[1]


@pytest.mark.parametrize("text", ["{0} = 1", "x.{0}", "def f():\n    global {0}", "x = 0x{0}"])
def test_nor_is_code_put_into_a_name_or_a_number(text: str) -> None:
    short, long = (size(text.format("a" * length).encode()) for length in (1, 8000))
    assert short is not None
    assert long is not None
    assert long > short + 400


def test_a_number_too_long_to_be_written_has_a_size_alone() -> None:
    source = b"x = 0x" + b"f" * 5000
    assert size(source) is not None
    assert digest(source) is None


@pytest.mark.parametrize("source", [b"def f(:\n", b"\xff\xfe", b"x\0y", b"(" * 5000, b"x = " + b"-" * 200_000 + b"1\n"])
def test_what_is_no_python_has_neither(source: bytes) -> None:
    assert size(source) is None
    assert digest(source) is None
