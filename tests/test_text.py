"""Words of a kernel, fit to stand in our own output."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_lance_ar.text import lines, one_line

WORDS = st.text(st.sampled_from(":#[] \n\r\t\x0b\x85\u2028\u3000\ufeff\x1b?ea") | st.characters(), max_size=30)


def is_a_command(line: str) -> bool:
    """As GitHub's runner sees it: it strips white space, and looks for `::`; for its old form anywhere."""
    return line.lstrip().startswith("::") or "##[" in line


@given(words=WORDS)
def test_no_line_is_a_command_to_a_workflow(words: str) -> None:
    for tame in (one_line(words), lines(words)):
        assert not any(map(is_a_command, re.split(r"[\r\n]", tame)))


@pytest.mark.parametrize(
    ("words", "tame"),
    [
        ("::error::forged", "?:error::forged"),
        ("  ::error::forged", "?:error::forged"),
        ("oh ##[error]forged", "oh #?[error]forged"),
        ("###[error]", "##?[error]"),
        ("a::b, tests/x.py::test", "a::b, tests/x.py::test"),
        ("# a ## b [1]", "# a ## b [1]"),
    ],
)
def test_what_is_changed(words: str, tame: str) -> None:
    assert one_line(words) == tame


def test_every_line_counts() -> None:
    assert lines("a\n  ::stop-commands::x\n::error::") == "a\n  ?:stop-commands::x\n?:error::"
