"""Text from elsewhere, made fit to stand in our own output."""

from __future__ import annotations


def one_line(text: object) -> str:
    """On one line and printable: a kernel's words can not pass for a line of ours, nor steer a terminal."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(str(text).split()))
