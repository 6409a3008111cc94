"""A process gets a kernel without what counts nothing: comments, docstrings, layout, spelling."""

from __future__ import annotations

import ast

import pytest

from pytest_lance_ar.host.parent import KernelFault, KernelHost
from pytest_lance_ar.trial.bare import MOST_NODES, bare, parsed
from pytest_lance_ar.trial.deadline import Deadline
from tests.kernels import BASELINE, SHIPPED

SPELT_ANEW = {
    "comments": "x = 1  # one\n# two\n",
    "docstrings": '"""One."""\n\n\nclass A:\n    """Two."""\n    x = 1\n\n\ndef f():\n    "T" "hree"\n    return 1\n',
    "layout": "x   =\t [1,\n      2,\t# one\n   3]\ny = 1;   z = 2  \n\t\n \t \n",
    "numbers": "x = 1_0.0_0 + 0x00_1\n",
    "texts": "x = 'a' '' \"\" '\\x41' '\\u0041'\n",
    "parentheses": "x = ((((1))))\n",
}


@pytest.mark.parametrize("source", SPELT_ANEW.values(), ids=list(SPELT_ANEW))
def test_what_is_not_in_the_tree_is_gone(source: str) -> None:
    tree = parsed(source.encode())
    assert tree is not None
    written = ast.unparse(tree)
    text = bare(source.encode())
    assert text is not None
    assert text.decode().replace(";", "").split() == written.split()
    assert "\t" not in text.decode()


JOINED = [
    "if a: b = 1; c = [2,\n 3]; d = 4\ne = 5\n",
    "def f(): pass; s = '''x\n\n\ny'''; return s\nx = 1; y = 2\n",
    "for i in a: b = 1; c = (2,\n 3)\nelse: d = 4; e = 5\n",
]


@pytest.mark.parametrize("source", JOINED)
def test_statements_on_one_line_stay_in_their_block(source: str) -> None:
    text = bare(source.encode())
    assert text is not None
    assert ast.dump(ast.parse(text)) == ast.dump(ast.parse(source))


@pytest.mark.parametrize("source", [BASELINE, SHIPPED], ids=["baseline", "shipped"])
def test_a_kernel_stays_what_it_is_and_where_it_is(source: str) -> None:
    text = bare(source.encode())
    assert text is not None
    before, after = parsed(source.encode()), parsed(text)
    assert before is not None
    assert after is not None
    assert ast.dump(before) == ast.dump(after)
    lines = [[node.lineno for node in ast.walk(tree) if isinstance(node, ast.stmt)] for tree in (before, after)]
    assert lines[0] == lines[1]


@pytest.mark.parametrize("source", [b"def f(:\n", b"\xff", b"x = " + b"-" * 5000 + b"1\n", b"0;" * MOST_NODES])
def test_what_cannot_be_written_anew_is_said_to_be(source: bytes) -> None:
    assert bare(source) is None


CURIOUS = '''"""Hidden."""
import typing


def documented():
    """Hidden."""


# Hidden.
with open(__file__) as own:
    text = own.read()
raise ValueError(str(("Hid" + "den" in text, __doc__, documented.__doc__, typing.sys._getframe().f_lineno)))
'''


def test_a_kernel_cannot_read_what_counts_nothing() -> None:
    with (
        KernelHost("pytest_lance_ar.host.null_driver", core=None, deadline=Deadline.after(100)) as host,
        pytest.raises(KernelFault) as fault,
    ):
        host.load(CURIOUS.encode(), "kernel.py")
    assert "(False, None, None, 12)" in fault.value.failure.sentence
