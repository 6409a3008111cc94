"""Text from elsewhere, made fit to stand in our own output."""

from __future__ import annotations


def lines(text: str, limit: int = 8000) -> str:
    """Printable lines, the last `limit` characters of them."""
    return "\n".join(printable(line) for line in text[-limit:].splitlines())


def printable(line: str) -> str:
    """A line as it stands, with a question mark for what would steer a terminal."""
    return "".join(c if c.isprintable() else "?" for c in line)


def one_line(text: object) -> str:
    """On one line and printable: a kernel's words can not pass for a line of ours, nor steer a terminal."""
    return printable(" ".join(str(text).split()))
