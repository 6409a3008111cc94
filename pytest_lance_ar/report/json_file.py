"""The report as a file of JSON: it appears with the outcome, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pytest_lance_ar.files import Staged, remove, write_atomically
from pytest_lance_ar.report.report import Report
from pytest_lance_ar.trial.options import OptionError


class JsonFile:
    """Where the user wants the report, if anywhere."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def check(self) -> None:
        """Find out now whether the report can be written. Raises OptionError."""
        if self._path is not None:
            try:
                with Staged(self._path, b""):
                    pass
            except OSError as error:
                raise OptionError(f"--lance-ar-json {self._path} cannot be written: {error.strerror}") from error

    @contextmanager
    def staged(self, report: Report) -> Iterator[Callable[[], None]]:
        """The report on the disk, under another name; what is given puts it into its place. Raises OSError."""
        if self._path is None:
            yield lambda: None
        else:
            with Staged(self._path, report.as_json()) as staged:
                yield staged.publish

    def correct(self, report: Report) -> None:
        """No report may stand there that says something else than the exit status."""
        if self._path is not None:
            with suppress(OSError):
                try:
                    write_atomically(self._path, report.as_json())
                except OSError:
                    remove(self._path)
