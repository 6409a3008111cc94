"""Kernel targets: what can be judged. One folder a target; the folder's package defines TARGET.

To add one to this package: a folder here with a driver for the kernel's process, a suite, and what tells the target
from others; `common` has the rest, for product quantizers nearly all of it. Nothing outside the folder changes. One's
own lives in a package of its own: `protocol`.
"""

from __future__ import annotations

from typing import Final

DEFAULT: Final = "pq_l2"
"""The target of a kernel that defines no target's class."""
DEFAULT_KERNEL: Final = f"kernel/{DEFAULT}.py"
