"""The text of a pull request from a ledger, with the total timed once more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_lance_ar.__main__ import main
from pytest_lance_ar.commands import finalize as finalize_module
from pytest_lance_ar.host.parent import KernelFault
from pytest_lance_ar.trial.evidence import Failure, FaultKind, SpeedEvidence
from pytest_lance_ar.trial.kernel_source import Kernel
from tests.builders import guard, guards_of, speed_of
from tests.test_gate import trial, write_kernel

pytestmark = pytest.mark.usefixtures("no_look_behind")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a baseline, two keeps and a discard between them."""
    root = tmp_path / "project"
    (root / "kernel").mkdir(parents=True)
    monkeypatch.chdir(root)
    kernels = [(1.0, "baseline"), (0.8, "wide | registers"), (1.1, "a bad idea"), (0.9, "\x1b[31mless memory")]
    for number, (ratio, note) in enumerate(kernels):
        write_kernel(root, f"class PqKernel: ...  # {number}\n")
        trial(root, speed_of(ratio), note=note, learned="it fits the cache" if number == 2 else "")
    return root


def replaying(monkeypatch: pytest.MonkeyPatch, speed: SpeedEvidence | Exception) -> list[tuple[str, str]]:
    """What the replay measures; the sources that it was asked to time are collected."""
    asked: list[tuple[str, str]] = []

    def measure(_deadline: object, candidate: Kernel, incumbent: Kernel, _rtol: float) -> SpeedEvidence:
        asked.append((candidate.source.decode(), incumbent.source.decode()))
        if isinstance(speed, Exception):
            raise speed
        return speed

    monkeypatch.setattr(finalize_module, "duel_again", measure)
    return asked


def test_the_text_has_what_was_kept_and_what_it_is_worth(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = replaying(monkeypatch, speed_of(0.72, guards=guards_of(0.9, guard(0.97, 1.01, 1.04))))
    assert main(["finalize"]) == 0
    assert asked == [("class PqKernel: ...  # 3\n", "class PqKernel: ...  # 0\n")]
    text = (root / "pull-request" / "PULL_REQUEST.md").read_text()
    assert text.startswith(
        "# kernel/pq_l2.py: 1.39 times the baseline's speed, 2 changes\n\nWorth porting: at least 10%"
    )
    assert "| 2 | - | 1.2500 [1.2438, 1.2563] | wide \\| registers |" in text
    assert "| 4 | - | 1.1111 [1.1056, 1.1167] | ?[31mless memory |" in text
    assert "a bad idea" not in text
    assert "- trial 2: it fits the cache" in text
    assert "1.3889 [1.3820, 1.3959] times as fast" in text
    assert "step by step: 1.3889 [" in text
    assert "| (128,16,256) clustered | 10,000 | 7,200 | 0.720 |" in text
    rows = text.split("| guard workload |")[1].splitlines()
    assert rows[2].startswith("| (96,12,256), clustered, N 700, k 100 |")
    assert "numba " in text
    checklist = (root / "pull-request" / "CHECKLIST.md").read_text()
    assert "Apache-2.0" in checklist
    assert checklist.count("- [ ] ") > 8


@pytest.mark.parametrize(
    ("speed", "words"),
    [
        (lambda: speed_of(0.95), "not worth porting yet: a gain of 10% is not shown"),
        (lambda: speed_of(0.7, guards=guards_of(0.9, guard(1.06, 1.1, 1.2))), "1 guard workloads are shown"),
    ],
)
def test_what_is_not_worth_porting_is_told(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    speed: Callable[[], SpeedEvidence],
    words: str,
) -> None:
    replaying(monkeypatch, speed())
    assert main(["finalize", "--out", "a/b"]) == 0
    assert words in capsys.readouterr().out
    assert (root / "a" / "b" / "PULL_REQUEST.md").exists()


def test_without_a_replay_nothing_is_timed_and_nothing_is_said_of_the_total(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = replaying(monkeypatch, speed_of(0.7))
    assert main(["finalize", "--no-replay"]) == 0
    assert not asked
    text = (root / "pull-request" / "PULL_REQUEST.md").read_text()
    assert "not replayed, 2 changes" in text
    assert "times as fast" not in text


def test_what_cannot_be_finalized_is_told_in_a_sentence(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def refused(code: int, *arguments: str) -> str:
        assert main(["finalize", *arguments]) == code
        (line,) = capsys.readouterr().err.splitlines()
        return line

    capsys.readouterr()
    assert "no trial was ever stored" in refused(4, "--state", "elsewhere")
    replaying(monkeypatch, KernelFault(Failure(FaultKind.TIMEOUT, "slow")))
    assert refused(11) == "finalize: not replayed: slow"
    replaying(monkeypatch, KernelFault(Failure(FaultKind.RAISED, "broken")))
    assert refused(1) == "finalize: not replayed: broken"
    (root / "file").write_text("")
    assert "file" in refused(4, "--no-replay", "--out", "file")
    trial(root, speed_of(1.0), rebaseline=True)
    capsys.readouterr()
    assert refused(1) == "finalize: no kernel was kept since the last baseline"
    ledger = root / "results.tsv"
    ledger.write_bytes(ledger.read_bytes().replace(b"a bad idea", b"a good idea"))
    assert "the ledger does not verify: line 4" in refused(1)
