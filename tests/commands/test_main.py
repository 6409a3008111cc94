"""What all commands have in common."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pytest_lance_ar.__main__ import NOBODY_READS


def test_who_stops_reading_sees_no_traceback(tmp_path: Path) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    command = [sys.executable, "-m", "pytest_lance_ar", "brief"]
    try:
        done = subprocess.run(command, cwd=tmp_path, stdout=writes, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writes)
    assert (done.returncode, done.stderr) == (NOBODY_READS, "")
