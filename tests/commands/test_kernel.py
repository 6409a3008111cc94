"""A command looks at the kernel of the experiment that it is started in."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_lance_ar.__main__ import main
from pytest_lance_ar.commands.kernel import kernel_here


@pytest.mark.parametrize(
    ("name", "text", "kernel"),
    [
        ("pytest.ini", "[pytest]\nlance_ar_kernel = kernel/ivf_pq_l2.py\n", "kernel/ivf_pq_l2.py"),
        ("pyproject.toml", '[tool.pytest.ini_options]\nlance_ar_kernel = "kernel/mine.py"  \n', "kernel/mine.py"),
        ("setup.cfg", "[tool:pytest]\n# lance_ar_kernel = no.py\n", "kernel/pq_l2.py"),
        ("other.ini", "[pytest]\nlance_ar_kernel = no.py\n", "kernel/pq_l2.py"),
    ],
)
def test_the_configuration_of_pytest_names_it(
    name: str, text: str, kernel: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(text)
    assert kernel_here() == Path(kernel)


def test_brief_speaks_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", str(tmp_path), "--target", "ivf_pq_l2"]) == 0
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert main(["brief"]) == 0
    assert "kernel/ivf_pq_l2.py" in capsys.readouterr().out
