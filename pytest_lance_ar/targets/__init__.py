"""Kernel targets: what can be judged. One folder a target; the folder's package defines TARGET.

To add one to this package: a folder here with its shapes, inputs, reference, equivalence, a driver for the kernel's
process and a suite. Nothing outside the folder changes. One's own lives in a package of its own: `protocol`.
"""

from __future__ import annotations

from typing import Final

DEFAULT: Final = "pq_l2"
"""The target of a kernel that defines no target's class."""
DEFAULT_KERNEL: Final = f"kernel/{DEFAULT}.py"
