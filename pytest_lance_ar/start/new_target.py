"""Writes a package with a target of one's own: the example in `scaffold/`, under another name."""

from __future__ import annotations

import keyword
import os
import re
import shutil
import sys
import tempfile
from importlib import util
from pathlib import Path
from typing import Final

from pytest_lance_ar.start.texts import IGNORED
from pytest_lance_ar.targets.registry import known, outside

SCAFFOLD: Final = Path(__file__).with_name("scaffold")
MAX_NAME: Final = 40
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_TAKEN: Final = ("kernel", "tests", "conftest")
"""What the written package has beside its own name."""
_EXAMPLE: Final = "u8_l2"


class Refused(ValueError):
    """The message says in a sentence what to mend."""


def new_target(name: str, directory: Path) -> list[str]:
    """Write the package; returns its files, relative to the directory. All of it is written, or nothing.

    Raises Refused, and OSError.
    """
    _check(name)
    if directory.is_symlink() or (directory.exists() and not (directory.is_dir() and not any(directory.iterdir()))):
        raise Refused(f"{directory} is there and not an empty directory; name a new one")
    texts = {_named(place, name): _named(text, name) for place, text in _example().items()}
    texts[f"kernel/{name}.py"] = texts[f"{name}/baseline.py"]
    texts[".gitignore"] = "".join(f"{line}\n" for line in (*IGNORED, "__pycache__/", "*.egg-info/", "dist/"))
    directory.parent.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=directory.parent))
    try:
        for file, text in texts.items():
            (place / file).parent.mkdir(parents=True, exist_ok=True)
            (place / file).write_text(text, encoding="utf-8")
        place.chmod(0o777 & ~_umask())
        place.replace(directory)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    return sorted(texts)


def _check(name: str) -> None:
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise Refused(
            f"{name!r} cannot name a target: it takes lower-case letters and digits, in words joined by _, a letter "
            f"first, at most {MAX_NAME} characters"
        )
    if name in known() or any(one.point.name == name for one in outside()):
        raise Refused(f"there is a target {name} already; choose another name")
    kernel_class = f"{_camel(name)}Kernel"
    owner = next((target.name for target in known().values() if target.kernel_class == kernel_class), None)
    if owner:
        raise Refused(f"its kernels would define {kernel_class}, which is the class of {owner}; choose another name")
    if keyword.iskeyword(name) or name in _TAKEN or name in sys.stdlib_module_names or _is_installed(name):
        raise Refused(f"there is something called {name} in Python already; choose another name")


def _is_installed(name: str) -> bool:
    spec = util.find_spec(name)
    return spec is not None and spec.origin is not None


def _example() -> dict[str, str]:
    """The example's texts, by place."""
    return {
        path.relative_to(SCAFFOLD).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(SCAFFOLD.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def _named(text: str, name: str) -> str:
    """The example's text, or a place of it, under another name."""
    for old, new in (
        (_EXAMPLE, name),
        (_EXAMPLE.replace("_", "-"), name.replace("_", "-")),
        (_camel(_EXAMPLE), _camel(name)),
    ):
        text = text.replace(old, new)
    return text


def _camel(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def _umask() -> int:
    umask = os.umask(0o077)
    os.umask(umask)
    return umask
