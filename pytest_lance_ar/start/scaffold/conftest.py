"""Configuration of the target's own tests."""

from __future__ import annotations

from hypothesis import settings

pytest_plugins = ["pytest_lance_ar.plugin.suite"]

# A kernel's first call compiles it, which no deadline of Hypothesis' allows for.
settings.register_profile("plain", max_examples=20, deadline=None, derandomize=True, database=None)
settings.load_profile("plain")
