"""Text from elsewhere, made fit to stand in our own output."""

from __future__ import annotations

import re
from typing import Final

_COMMAND: Final = re.compile(r"^( *):(?=:)|(?<=#)#(?=\[)")
"""What GitHub Actions takes for a command to itself: `::name::` at the start of a line, `##[name]` anywhere in it."""


def lines(text: str, limit: int = 8000) -> str:
    """Printable lines, the last `limit` characters of them."""
    return "\n".join(printable(line) for line in text[-limit:].splitlines())


def printable(line: str) -> str:
    """A line as it stands, with a question mark for what would steer a terminal or a workflow."""
    return _COMMAND.sub(r"\1?", "".join(c if c.isprintable() else "?" for c in line))


def one_line(text: object) -> str:
    """On one line and printable: a kernel's words can not pass for ours, nor steer a terminal or a workflow."""
    return printable(" ".join(str(text).split()))
