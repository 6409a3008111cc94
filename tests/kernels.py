"""Kernels for tests: the shipped one, the scalar baseline, and what becomes of it by small changes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SHIPPED = (ROOT / "kernel" / "pq_l2.py").read_text()
BASELINE = (ROOT / "pytest_lance_ar" / "targets" / "pq_l2" / "baseline.py").read_text()
IVF_SHIPPED = (ROOT / "kernel" / "ivf_pq_l2.py").read_text()
IVF_BASELINE = (ROOT / "pytest_lance_ar" / "targets" / "ivf_pq_l2" / "baseline.py").read_text()

DOT_BASELINE = (ROOT / "pytest_lance_ar" / "targets" / "pq_dot" / "baseline.py").read_text()

PURE_PYTHON = (ROOT / "tests" / "mutants" / "bases" / "plain.py").read_text()
"""A correct kernel that numba need not compile, for tests that want to be quick."""

SHARED = re.compile(r"^from (tests[\w.]*|pytest_lance_ar\.targets[\w.]*\.baseline) import ([\w, ]+?)(?:  #.*)?\n", re.M)
"""An import of what kernels share."""


def changed(source: str, *changes: str, times: int = 1) -> str:
    """The source with places of it changed: old, new, old, new ... Each old text must be there so many times."""
    for old, new in zip(changes[::2], changes[1::2], strict=True):
        if source.count(old) != times:
            raise ValueError(f"{source.count(old)} places, not {times}, have {old!r}")
        source = source.replace(old, new)
    return source


def definition(source: str, name: str) -> str:
    """The text of a function or class of a source, with its decorators. Raises ValueError where there is none."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            first = min(part.lineno for part in (node, *node.decorator_list))
            return "\n".join(source.splitlines()[first - 1 : node.end_lineno])
    raise ValueError(f"no {name} is defined there")


def whole(source: str) -> str:
    """The source with what it imports from other kernels, and from `tests.parts`, put in: one file by itself."""
    imports = list(SHARED.finditer(source))
    if not imports:
        return source
    texts = [text for statement in imports for text in _definitions(*statement.groups())]
    head, rest = source[: imports[0].start()].rstrip("\n"), source[imports[-1].end() :].lstrip("\n")
    return "\n\n\n".join([head, *texts, rest])


def _definitions(module: str, names: str) -> Iterator[str]:
    """What an import statement names, each as its module defines it."""
    source = (ROOT / module.replace(".", "/")).with_suffix(".py").read_text()
    for words in names.split(", "):
        name, _, alias = words.partition(" as ")
        text = definition(source, name)
        yield changed(text, f"class {name}:", f"class {alias}:") if alias else text


def with_table(statement: str) -> str:
    """The quick kernel with another body of distance_table."""
    head, rest = PURE_PYTHON.split("        num_sub_vectors, _, dsub", 1)
    tail = rest[rest.index("    def probe_top_k") :]
    return f"{head}        {statement}\n\n{tail}"


def with_answer(expression: str) -> str:
    """The quick kernel with another answer of probe_top_k; `ids` and `distance` are at hand."""
    return changed(PURE_PYTHON, "return ids, distance[ids]", f"return {expression}")


SCAN = """    for m in range(codes_t.shape[0]):
        entries = table[m]
        column = codes_t[m]
        for n in range(column.shape[0]):
            distances[n] += entries[column[n]]
"""
"""The baseline's pass over all vectors for each sub-vector, for what takes another way."""

FASTER = changed(
    BASELINE,
    SCAN,
    """    num_sub_vectors, count = codes_t.shape
    m = 0
    while m + 4 <= num_sub_vectors:
        t0, t1, t2, t3 = table[m], table[m + 1], table[m + 2], table[m + 3]
        c0, c1, c2, c3 = codes_t[m], codes_t[m + 1], codes_t[m + 2], codes_t[m + 3]
        for n in range(count):
            distances[n] = (((distances[n] + t0[c0[n]]) + t1[c1[n]]) + t2[c2[n]]) + t3[c3[n]]
        m += 4
    while m < num_sub_vectors:
        entries, column = table[m], codes_t[m]
        for n in range(count):
            distances[n] += entries[column[n]]
        m += 1
""",
)
"""Four sub-vectors a pass, in the reference's order: about 1.4 times as fast."""

SLOWER = changed(
    BASELINE,
    "        scan(table, codes, distances)\n",
    "        scan(table, codes, distances)\n        scan(table, codes, distances)\n",
)
"""Scans twice."""

ZERO = changed(BASELINE, "        fill_table(query, self.codebook, out)", "        out[:] = 0")
"""All distances are zero: very fast, and wrong."""

SLOW_TABLE = changed(
    PURE_PYTHON,
    "        num_sub_vectors, _, dsub",
    "        begun = __import__('time').perf_counter_ns()\n"
    "        while __import__('time').perf_counter_ns() < begun + 20_000_000:\n"
    "            pass\n"
    "        num_sub_vectors, _, dsub",
)
"""Its table takes 20 ms."""
