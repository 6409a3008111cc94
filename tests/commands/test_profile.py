"""Profiles: the steps of a call are told apart, and add up to what the call takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_lance_ar.__main__ import main
from pytest_lance_ar.bench import profile as profile_module
from pytest_lance_ar.bench.profile import Profile, read_bytes_per_ns
from pytest_lance_ar.commands import profile as command
from pytest_lance_ar.targets.pq_l2.target import TARGET
from tests.kernels import PURE_PYTHON, changed

SLOW_TABLE = changed(
    PURE_PYTHON,
    "        num_sub_vectors, _, dsub",
    "        begun = __import__('time').perf_counter_ns()\n"
    "        while __import__('time').perf_counter_ns() < begun + 20_000_000:\n"
    "            pass\n"
    "        num_sub_vectors, _, dsub",
)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """One combo and a few calls."""
    monkeypatch.setattr(type(TARGET), "combos", TARGET.combos[:1])
    monkeypatch.setattr(profile_module, "CALLS", 4)
    monkeypatch.setattr(profile_module, "WARMUP", 1)


def test_the_steps_of_a_call_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kernel = tmp_path / "kernel.py"
    kernel.write_text(SLOW_TABLE)
    assert main(["profile", str(kernel), "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert one["combo"] == "(128,16,256) clustered"
    assert list(one["steps"]) == ["table", "scan", "call"]
    assert one["steps"]["table"] >= 20e6
    assert one["steps"]["scan"] > 0
    assert one["pack_seconds"] >= 0
    assert one["compile_seconds"] > 0
    assert one["memory_ns"] > 0


def test_a_kernel_that_fails_is_told_and_a_mistake_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel = tmp_path / "kernel.py"
    kernel.write_text("class PqKernel: ...\n")
    assert main(["profile", str(kernel)]) == 2
    assert main(["profile", str(tmp_path / "none.py")]) == 4
    assert main(["profile", str(kernel), "--out", "results.tsv"]) == 4
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("profile: ") for line in lines)


def test_table_and_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    profiles = [
        Profile("small", {"table": 1e3, "scan": 7e3, "call": 2e3}, 1.0, 0.01, 1e3),
        Profile("large", {"table": 2e4, "scan": 7e4, "call": 1e4}, 1.0, 0.02, 5e4),
    ]
    monkeypatch.setattr(command, "profile", lambda *_, **__: profiles)
    kernel = tmp_path / "kernel.py"
    kernel.write_text(PURE_PYTHON)
    assert main(["profile", str(kernel), "--out", str(tmp_path / "a.png")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["large", "100.0", "20.0", "20", "70.0", "70", "10.0", "10", "50.0", "1.00", "0.020"]
    assert lines[2].startswith("small ")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_memory_is_read_at_a_speed() -> None:
    assert 0.05 < read_bytes_per_ns() < 1000
