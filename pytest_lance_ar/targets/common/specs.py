"""From a line of text to its fields, and back: `name=value name=value`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

MISTAKES: Final = (KeyError, TypeError, IndexError, ValueError, OverflowError, RecursionError)
"""What building a case from a text that is none may raise."""


def fields_of(spec: str, numbers: tuple[str, ...]) -> dict[str, Any]:
    """The fields of a text, those named in `numbers` as integers. Raises ValueError."""
    fields: dict[str, Any] = dict(item.split("=", 1) for item in spec.split())
    return {name: int(value) if name in numbers else value for name, value in fields.items()}


def text_of(fields: Mapping[str, object], usual: Mapping[str, object]) -> str:
    """The text of these fields, without those whose value is the usual one."""
    said = (name for name, value in fields.items() if name not in usual or usual[name] != value)
    return " ".join(f"{name}={fields[name]}" for name in said)
