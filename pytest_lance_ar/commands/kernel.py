"""The kernel that a command looks at where none is named: that of the experiment in the working directory."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from pytest_lance_ar.targets import DEFAULT_KERNEL

CONFIGURATIONS: Final = ("pytest.ini", ".pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg")
_KERNEL: Final = re.compile(r"""^\s*lance_ar_kernel\s*=\s*["']?([^"'\n#]+?)["']?\s*$""", re.M)


def kernel_here() -> Path:
    """What the configuration of pytest names as the kernel, as `init` does for most targets; else the default."""
    for name in CONFIGURATIONS:
        try:
            found = _KERNEL.search(Path(name).read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue
        if found:
            return Path(found[1])
    return Path(DEFAULT_KERNEL)
