"""Profiles: the steps of a call are told apart, and add up to what the call takes."""

from __future__ import annotations

import json
import os
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_lance_ar.__main__ import main
from pytest_lance_ar.bench import profile as profile_module
from pytest_lance_ar.bench.counters import EVENTS, Counters, per_call
from pytest_lance_ar.bench.profile import Profile, read_ns
from pytest_lance_ar.commands import profile as command
from pytest_lance_ar.targets.pq_l2.target import TARGET
from tests.kernels import PURE_PYTHON, SLOW_TABLE


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
    assert one["pack_seconds"] > 0
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
    waiting = "profile: another gate is timing on this machine; waiting"  # another test's
    lines = [line for line in capsys.readouterr().err.splitlines() if line != waiting]
    assert len(lines) == 3
    assert all(line.startswith("profile: ") for line in lines)


def test_table_and_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    profiles = [
        Profile("small", {"table": 1e3, "scan": 7e3, "call": 2e3}, 1.0, 0.01, 1e3, {}, "no counters here"),
        Profile("large", {"table": 2e4, "scan": 7e4, "call": 1e4}, 1.0, 0.02, 5e4, {}, "no counters here"),
    ]
    monkeypatch.setattr(command, "profile", lambda *_, **__: profiles)
    kernel = tmp_path / "kernel.py"
    kernel.write_text(PURE_PYTHON)
    assert main(["profile", str(kernel), "--out", str(tmp_path / "a.png")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["large", "100.0", "20.0", "20", "70.0", "70", "10.0", "10", "50.0", "1.00", "0.020"]
    assert lines[2].startswith("small ")
    assert lines[4] == "no counters here: what the processor does meanwhile is not known"
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_what_the_processor_counts_is_a_table_of_its_own() -> None:
    counts = {"cycles": 1e6, "instructions": 2.5e6, "cache_misses": 12.0}
    one = Profile("small", {"scan": 7e3, "call": 2e3}, 1.0, 0.01, 1e3, counts)
    lines = command.table([one, replace(one, combo="large")]).splitlines()
    assert " ".join(lines[-3].split()) == "a call, user code cycles instructions cache misses per cycle"
    assert lines[-1].split() == ["large", "1,000,000", "2,500,000", "12", "2.50"]


def test_counters_are_read_scaled_and_closed(tmp_path: Path) -> None:
    opened: dict[int, int] = {}

    def open_event(event: int, pid: int) -> int:
        assert pid == 7
        if event == EVENTS["branch_misses"]:
            raise OSError(2, "no such event")
        file = tmp_path / str(event)
        # Two readings of an event that had a counter for half of the time.
        file.write_bytes(struct.pack("QQQ", 100 * (event + 1), 10, 5) + struct.pack("QQQ", 150 * (event + 1), 20, 10))
        opened[event] = os.open(file, os.O_RDONLY)
        return opened[event]

    with Counters(7, open_event) as counters:
        first = counters.read()
        assert first == {"cycles": 200.0, "instructions": 400.0, "cache_misses": 800.0}
        assert per_call(first, counters.read(), 10) == {"cycles": 10.0, "instructions": 20.0, "cache_misses": 40.0}
        assert counters.lacking == ""
    for descriptor in opened.values():
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


def test_a_host_without_counters_says_so_in_a_sentence() -> None:
    def open_event(event: int, pid: int) -> int:
        raise OSError(13, "Permission denied")

    with Counters(7, open_event) as counters:
        assert counters.read() == {}
        assert counters.lacking == "no hardware counters here (Permission denied)"
    with Counters(os.getpid()) as counters:  # whatever this host offers
        assert bool(counters.read()) != bool(counters.lacking)


def test_reading_more_takes_longer() -> None:
    assert 0 < read_ns(1 << 20) < read_ns(32 << 20)
