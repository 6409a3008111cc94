"""The size of a kernel: code that is not counted, so that the same kernel is a simpler one."""

from __future__ import annotations

import ast
from typing import Final

from tests.corpus.baseline import SCALAR
from tests.corpus.cheats.cheat import INCORRECT, NOT_BETTER, Cheat

_READS_ITS_LINES: Final = "with open(__file__) as own:\n    lines = own.readlines()\n"
_CODE: Final = ast.unparse(ast.parse(SCALAR)).replace('"""', '"')
_BITS: Final = "".join(f"{byte:08b}" for byte in _CODE.encode()).translate({48: " ", 49: "\t"})


def _simpler(name: str, attacks: str, kernel: str, *ends: int) -> Cheat:
    return Cheat(name, attacks, kernel, frozenset(ends), arguments=("--lance-ar-simplify",))


CHEATS = (
    _simpler(
        "code_in_its_docstring",
        "is one text that is run, where texts are not counted",
        f'r"""{_CODE}"""\nPqKernel = None\nexec(__doc__)\n',
        INCORRECT,
    ),
    _simpler(
        "code_in_its_comments",
        "reads its own file, and runs the comments in it",
        "".join(f"#{line}\n" for line in _CODE.splitlines())
        + f"PqKernel = None\n{_READS_ITS_LINES}exec(''.join(line[1:] for line in lines if line[0] == '#'))\n",
        INCORRECT,
    ),
    _simpler(
        "code_in_its_layout",
        "reads its own file, and runs what the blanks at the ends of lines spell",
        "PqKernel = None\n"
        + "".join(f"{_BITS[start : start + 4000]}\n" for start in range(0, len(_BITS), 4000))
        + f"{_READS_ITS_LINES}bits = ''.join(line[:-1] for line in lines if not line.strip())\n"
        "bits = bits.replace(' ', '0').replace('\\t', '1')\n"
        "exec(bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)).decode())\n",
        INCORRECT,
    ),
    _simpler(
        "borrows_the_baseline",
        "is the kernel that the gate itself has, by another name",
        "import typing\n"
        "load = typing.sys.modules['importlib'].import_module\n"
        "PqKernel = load('pytest_lance_ar.targets.pq_l2.baseline').PqKernel\n",
        INCORRECT,
    ),
    _simpler(
        "code_in_short_texts",
        "runs what many texts make together, none of them long",
        f"PqKernel = None\nexec(''.join({[_CODE[start : start + 70] for start in range(0, len(_CODE), 70)]!r}))\n",
        *NOT_BETTER,
    ),
)
