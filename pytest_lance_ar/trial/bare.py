"""A kernel's text as its process gets it: what counts, and nothing else.

Comments, docstrings, layout and the way in which a number or a text is spelt are no part of a kernel's size, nor of
what makes it another one than a kernel tried before. A kernel could read them, though, and run what it reads. So it is
handed its syntax tree written anew, without docstrings, every statement on its line as far as there is room.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

_MOST: Final = 8
"""Kernels of a trial, and some more."""
MOST_NODES: Final = 60_000
"""Of a tree that is written anew: five times a large kernel's, and a second's work."""


def parsed(source: bytes) -> ast.Module | None:
    """The tree without docstrings; None for what is no Python."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            if ast.get_docstring(node, clean=False) is not None:
                del node.body[0]
                if not node.body and not isinstance(node, ast.Module):
                    node.body.append(ast.Pass(lineno=node.lineno, col_offset=0))
        elif isinstance(node, ast.Constant):
            node.kind = None  # u"x" is "x"
    return tree


@lru_cache(_MOST)
def bare(source: bytes) -> bytes | None:
    """The same program with nothing besides it; None where it cannot be written anew."""
    tree = parsed(source)
    if tree is None or sum(1 for _ in ast.walk(tree)) > MOST_NODES:
        return None
    try:
        written = ast.unparse(tree)
        anew = parsed(written.encode())
        if anew is None or ast.dump(anew) != ast.dump(tree):
            return None
    except (RecursionError, MemoryError, ValueError):
        return None
    pairs = zip(ast.walk(tree), ast.walk(anew), strict=True)
    places = {new: old.lineno for old, new in pairs if isinstance(old, ast.stmt) and isinstance(new, ast.stmt)}
    wanted = {new.lineno: place for new, place in places.items()}
    joined = _joined(anew, places)
    of_texts = {
        line
        for node in ast.walk(anew)
        if isinstance(node, (ast.Constant, ast.JoinedStr))
        for line in range(node.lineno + 1, (node.end_lineno or 0) + 1)
    }
    lines: list[str] = []
    for number, line in enumerate(written.split("\n"), start=1):
        if number in joined:
            lines[-1] += (" " if lines[-1].endswith(":") else "; ") + line.lstrip()
            continue
        lines += [""] * (wanted.get(number, 0) - 1 - len(lines))
        if line or number in of_texts:  # else before a class or a function
            lines.append(line)
    return "\n".join([*lines, ""]).encode()


def _joined(tree: ast.Module, places: Mapping[ast.stmt, int]) -> set[int]:
    """The lines that belong to the one before: `def f(): return 1`, where all of the body stood there, `x = 1; y = 2`.

    places: the line on which each statement stood.
    """
    found: set[int] = set()
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if not isinstance(block, list):  # of a lambda
                continue
            simple = [not {"body", "cases"} & set(one._fields) for one in block]
            head = places.get(node) if isinstance(node, ast.stmt) and name == "body" else None
            if all(simple) and {places[one] for one in block} == {head}:
                found |= {one.lineno for one in block}
            for i in range(1, len(block)):
                if simple[i - 1] and simple[i] and places[block[i - 1]] == places[block[i]]:
                    found.add(block[i].lineno)
    return found
