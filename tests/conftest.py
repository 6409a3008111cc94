"""What all tests share."""

from __future__ import annotations

from hypothesis import settings

# Plain pytest: the same few examples every time, nothing stored. The gate has settings of its own.
settings.register_profile("plain", max_examples=20, deadline=None, derandomize=True, database=None)
settings.load_profile("plain")
