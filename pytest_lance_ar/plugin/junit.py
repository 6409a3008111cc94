"""The report as properties of pytest's JUnit file."""

from __future__ import annotations

import pytest
from _pytest.junitxml import xml_key  # pytest has no public way to a property outside a test

from pytest_lance_ar.report.report import Report


def add_junit_properties(config: pytest.Config, report: Report) -> None:
    """Before the file is written, which pytest does when the session finishes."""
    xml = config.stash.get(xml_key, None)
    if xml is not None:
        for key, value in report.as_properties().items():
            xml.add_global_property(f"lance_ar_{key}", value)
