"""Configuration of the project's own tests."""

pytest_plugins = ["pytester", "pytest_lance_ar.plugin.suite"]
