"""The examiner, with real kernels in real processes."""

from __future__ import annotations

import os
import shlex
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_lance_ar.correctness.examiner import (
    DRAW_SECONDS,
    ROUNDING_HINT,
    SHRINK_SECONDS,
    ExaminationFailed,
    Examiner,
    hint,
    replay_command,
)
from pytest_lance_ar.host.parent import KernelHost
from pytest_lance_ar.targets.common.pq import sessions
from pytest_lance_ar.targets.common.pq.cases import DrawnCase, LiteralCase
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.mismatch import Mismatch
from pytest_lance_ar.targets.pq_l2.metric import L2
from pytest_lance_ar.targets.pq_l2.target import TARGET
from pytest_lance_ar.targets.protocol import Case
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.evidence import Failure, FaultKind
from pytest_lance_ar.trial.kernel_source import Kernel
from tests.kernels import PURE_PYTHON, changed

CASE = DrawnCase(L2, PqShape(8, 2, 4), "uniform", seed=0, n=5, k=3)
OTHER = replace(CASE, n=6)
WRONG = changed(PURE_PYTHON, "        out[:] = 0\n", "        out[:] = 0\n        out[1, 2] = 0.25\n")
ROUNDED = changed(PURE_PYTHON, "    def probe_top_k", "        out *= np.float32(1 + 5e-7)\n\n    def probe_top_k")
WRONG_FROM_21 = changed(
    PURE_PYTHON,
    "return ids, distance[ids]",
    "return ids, distance[ids] + np.float32(0.001 if len(distance) > 20 else 0)",
)
MISSES_THE_NEAREST = changed(PURE_PYTHON, "[:k]", "[int(len(distance) > k) :][:k]")


def with_table_entry(expression: str) -> str:
    """The quick kernel with something done to its table."""
    return changed(PURE_PYTHON, "    def probe_top_k", f"        out[:] = {expression}\n\n    def probe_top_k")


EXIT = 'typing.sys.modules["os"]._exit(3)'
"""Ends the process, past the list of imports that a kernel may make."""


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> list[KernelHost]:
    """Every kernel process that the examiner starts."""
    started: list[KernelHost] = []

    class Noted(KernelHost):
        def load(self, source: bytes, name: str, *, code: bytes = b"", shift: int = 0) -> None:
            started.append(self)
            super().load(source, name, code=code, shift=shift)

    monkeypatch.setattr("pytest_lance_ar.correctness.examiner.KernelHost", Noted)
    return started


class Clock:
    """Stands still until it is told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def examining(source: str, *, rtol: float = 0.0, clock: Clock | None = None) -> Iterator[Examiner]:
    kernel = Kernel("kernel/pq_l2.py", source.encode())
    deadline = Deadline.after(300)
    with Examiner(kernel, TARGET, deadline=deadline, rtol=rtol, clock=clock or Clock()) as examiner:
        examiner.begin()
        yield examiner


def failure_of(examiner: Examiner, case: Case) -> Failure:
    with pytest.raises(ExaminationFailed) as error:
        examiner.examine(case)
    assert examiner.failure == error.value.failure
    assert str(error.value) == str(error.value.failure)
    return error.value.failure


def test_a_correct_kernel_passes_every_case_in_one_process(hosts: list[KernelHost]) -> None:
    with examining(PURE_PYTHON) as examiner:
        examiner.examine(CASE)
        examiner.examine(replace(OTHER, code_sets=2))
        examiner.examine(replace(CASE, n=0))
        assert examiner.examples == 3
        assert examiner.failure is None
        examiner.begin()
        assert examiner.examples == 0
        examiner.examine(OTHER)
    (host,) = hosts
    with pytest.raises(ProcessLookupError):
        os.kill(host.pid, 0)  # nothing of the kernel is left


def test_a_wrong_value_is_told_with_its_case_its_place_and_a_hint(hosts: list[KernelHost]) -> None:
    with examining(WRONG) as examiner:
        failure = failure_of(examiner, CASE)
        assert failure.kind is FaultKind.WRONG_ANSWER
        assert failure.case == CASE.spec == "shape=8,2,4 distribution=uniform seed=0 n=5 k=3"
        assert failure.where == "shape (8,2,4), uniform, seed 0, N 5, k 3"
        assert failure.sentence.startswith("distance_table[1, 2]: expected ")
        assert ", abs error 0.25, " in failure.sentence
        assert failure.hint.startswith("not rounding")
        assert examiner.examples == 1
        # A wrong answer costs no process: Hypothesis may look for a smaller one.
        assert failure_of(examiner, OTHER).case == OTHER.spec
        assert examiner.examples == 2
        examiner.begin()
        assert (examiner.examples, examiner.failure) == (0, None)
    assert len(hosts) == 1


def test_a_failing_test_settles_on_what_it_knows_when_the_time_for_shrinking_is_over() -> None:
    clock, later = Clock(), replace(CASE, n=7)
    with examining(WRONG, clock=clock) as examiner:
        first = failure_of(examiner, CASE)
        clock.now = DRAW_SECONDS - 0.1
        second = failure_of(examiner, OTHER)
        clock.now = DRAW_SECONDS + 0.1  # since the first failure, not the latest
        examiner.examine(later)
        assert failure_of(examiner, CASE) == first
        assert failure_of(examiner, OTHER) == second
        assert examiner.examples == 2
        examiner.begin()
        assert failure_of(examiner, later).case == later.spec


def test_what_a_test_ends_on_is_cut_down_to_the_smallest_literal_case() -> None:
    with examining(WRONG_FROM_21) as examiner:
        drawn = failure_of(examiner, DrawnCase(L2, PqShape(24, 6, 100), "uniform", seed=0, n=150, k=10))
        examiner.reduce()
        smallest = examiner.failure
        assert smallest is not None
        assert smallest.case == LiteralCase(L2, (((0.0,),),), ((0,),) * 21, ((1.0,),), k=1).spec
        assert "N 21, k 1, codebook [[[0.0]]]" in smallest.where
        assert smallest.sentence.startswith("probe_top_k distances[0]: expected 1.0 ")
        assert (smallest.kind, smallest.hint) == (drawn.kind, drawn.hint)
        # The report's command replays exactly this.
        words = shlex.split(replay_command(smallest.case, "kernel/pq_l2.py"))
        assert smallest.extent == "wrong for every N above 20"
        assert failure_of(examiner, TARGET.parse_case(words[-1])) == replace(smallest, extent="")


def test_what_is_only_wrong_on_large_arrays_is_told_with_the_size_from_which_on() -> None:
    large = changed(
        PURE_PYTHON, "return ids, distance[ids]", "return ids, distance[ids] + np.float32(len(distance) > 1500)"
    )
    case = DrawnCase(L2, PqShape(8, 2, 4), "uniform", seed=0, n=1600, k=3)
    with examining(large) as examiner:
        failure_of(examiner, case)
        examiner.reduce()
        assert examiner.failure is not None
        assert examiner.failure.extent == "wrong for every N above 1,500"
        assert examiner.failure.case.startswith("shape=1,1,1 distribution=uniform seed=0 n=1501 k=1")
        assert str(examiner.failure).startswith("wrong for every N above 1,500: shape (1,1,1), ")


@pytest.mark.parametrize(
    ("condition", "sentence"),
    [
        ("self.codebook.shape[2] > 48", "wrong for every dsub above 48"),
        ("self.codebook.shape[0] > 29", "wrong for every M above 29"),
        ("self.codebook[:, 0].size > 77", "wrong for every dim above 77"),
        ("self.codebook.shape[1] > 100", "wrong for every K above 100"),
        ("self.codebook.shape[2] == 50", "wrong for dsub 50 (and not 49)"),
        (
            "self.codebook.shape[2] > 48 and self.codebook.shape[0] > 7",
            "wrong for every M above 7 with every dsub above 48",
        ),
    ],
)
def test_the_axis_that_matters_is_bisected(condition: str, sentence: str) -> None:
    shape = PqShape(1500, 30, 128) if "77" not in condition else PqShape(1500, 15, 128)
    with examining(with_table_entry(f"out + np.float32({condition})")) as examiner:
        failure_of(examiner, DrawnCase(L2, shape, "gaussian", seed=0, n=60, k=3))
        examiner.reduce()
        assert examiner.failure is not None
        assert examiner.failure.extent == sentence


def test_what_changes_from_call_to_call_is_found_in_the_life_of_one_object() -> None:
    """Within every tolerance, and not the same: after 9,000 calls."""
    source = changed(
        PURE_PYTHON,
        "return ids, distance[ids]",
        "self.n = getattr(self, 'n', 0) + 1; return ids, distance[ids] + np.float32(1e-5 if self.n > 9000 else 0)",
    )
    with examining(source) as examiner:
        failure = failure_of(examiner, replace(sessions.drawn(L2, 0), packs=3))
        assert "(the answer to the same query before)" in failure.sentence
        assert "after 8" in failure.sentence or "after 9" in failure.sentence


@pytest.mark.parametrize(
    ("pack", "extent"),
    [
        ("self.packs = getattr(self, 'packs', 0) + 1; return codes * (self.packs < 17)", "has packed 17 code sets"),
        (
            "self.known = getattr(self, 'known', {}); return self.known.setdefault(codes.shape, codes)",
            "has packed 2 code sets",
        ),
    ],
    ids=["the 17th", "by shape"],
)
def test_code_sets_that_come_and_go_are_found_to_be_mixed_up(pack: str, extent: str) -> None:
    source = f"{PURE_PYTHON}\n    def pack_codes(self, codes):\n        {pack}\n"
    with examining(source) as examiner:
        failure_of(examiner, replace(sessions.drawn(L2, 0), calls=0))
        examiner.reduce()
        assert examiner.failure is not None
        assert examiner.failure.extent.endswith(extent)


def test_reducing_ends_when_the_time_for_it_is_over() -> None:
    clock = Clock()
    with examining(WRONG, clock=clock) as examiner:
        first = failure_of(examiner, CASE)
        clock.now = SHRINK_SECONDS
        examiner.reduce()
        assert examiner.failure == first
        assert examiner.examples == 1


def test_what_seemed_to_be_rounding_is_told_for_what_it_is_on_a_smaller_case() -> None:
    with examining(WRONG_FROM_21) as examiner:
        drawn = failure_of(examiner, DrawnCase(L2, PqShape(900, 300, 16), "signs", 0, 200, 200, "farthest"))
        assert drawn.hint == ROUNDING_HINT
        examiner.reduce()
        assert examiner.failure is not None
        assert "N 21, k 1" in examiner.failure.where
        assert examiner.failure.hint.startswith("not rounding")


def test_a_reduced_failure_is_the_same_bug() -> None:
    """This kernel has two: small cases show only the other one."""
    both = changed(
        PURE_PYTHON,
        "        ids = np.argsort",
        "        if len(distance) > 20:\n            distance += 1\n"
        "        elif len(distance) == 1:\n            return 0\n"
        "        ids = np.argsort",
    )
    with examining(both) as examiner:
        failure_of(examiner, DrawnCase(L2, PqShape(8, 2, 4), "uniform", seed=0, n=60, k=3))
        examiner.reduce()
        assert examiner.failure is not None
        assert examiner.failure.kind is FaultKind.WRONG_ANSWER
        assert "N 21, k 1" in examiner.failure.where


@pytest.mark.parametrize(
    ("source", "advice"),
    [
        (ROUNDED, "rounding only"),
        (with_table_entry("out.astype(np.float16)"), "not rounding: precision was given up"),
        (with_table_entry("(out.view(np.uint32) & 0xFFFF0000).view(np.float32)"), "not rounding: precision"),
        (with_table_entry("np.rint(out / (out.max() / 255)) * (out.max() / 255)"), "not rounding: precision"),
        (with_table_entry("np.rint(out / (out.max() / 65535)) * (out.max() / 65535)"), "not rounding: precision"),
        (with_table_entry("out[::-1]"), "not rounding: the arithmetic differs"),
        (MISSES_THE_NEAREST, "not rounding: each distance is right for its id"),
    ],
    ids=["rounding", "float16", "bfloat16", "u8", "u16", "swapped rows", "the nearest missed"],
)
def test_each_kind_of_difference_gets_its_advice_however_small_the_case(source: str, advice: str) -> None:
    with examining(source) as examiner:
        drawn = failure_of(examiner, DrawnCase(L2, PqShape(24, 6, 100), "large_dynamic_range", seed=1, n=50, k=10))
        assert drawn.hint.startswith(advice)
        examiner.reduce()
        assert examiner.failure is not None
        assert examiner.failure.case.startswith("{")
        assert len(examiner.failure.case) < len('{"codebook":,"codes":,"queries":,"k":1}') + 60
        assert examiner.failure.hint == drawn.hint


def test_kernel_objects_that_share_state_are_found() -> None:
    shared = changed(PURE_PYTHON, "        self.codebook = codebook", "        PqKernel.codebook = codebook")
    alone = DrawnCase(L2, PqShape(8, 2, 4), "uniform", seed=0, n=60, k=3)
    with examining(shared) as examiner:
        examiner.examine(alone)
        assert failure_of(examiner, replace(alone, code_sets=2)).sentence.startswith("distance_table[0, 0]: expected")


def test_an_answer_that_stays_from_an_earlier_call_is_told(hosts: list[KernelHost]) -> None:
    stale = changed(
        PURE_PYTHON,
        "        ids = np.argsort",
        "        self.first = distance = getattr(self, 'first', distance)\n        ids = np.argsort",
    )
    with examining(stale) as examiner:
        failure = failure_of(examiner, CASE)
    assert failure.sentence.startswith("probe_top_k distances[0]: ")
    assert failure.sentence.endswith(" (in call 2 on the same kernel)")


def test_an_exception_names_its_line_and_leaves_the_process(hosts: list[KernelHost]) -> None:
    raising = changed(
        f"CALLS = []\n{PURE_PYTHON}",
        "        out[:] = 0\n",
        "        CALLS.append(1)\n        if len(CALLS) == 1:\n            raise ValueError('once')\n"
        "        out[:] = 0\n",
    )
    line = 1 + raising.splitlines().index("            raise ValueError('once')")
    with examining(raising) as examiner:
        failure = failure_of(examiner, CASE)
        assert failure.kind is FaultKind.RAISED
        assert failure.sentence == f"distance_table raised ValueError: once (line {line} of kernel/pq_l2.py)"
        assert failure.case == CASE.spec
        assert "raise ValueError('once')" in failure.detail
        # The list of calls has outlived the exception, or this one would raise as well.
        examiner.examine(OTHER)
        assert examiner.failure == failure
        # So would this one not, if it were called: a kernel that fails now and then is wrong all the same.
        assert failure_of(examiner, CASE) == failure
        examiner.begin()
        examiner.examine(CASE)
        assert examiner.examples == 1
    assert len(hosts) == 1


def test_a_process_that_dies_behind_an_exception_has_raised_it(hosts: list[KernelHost]) -> None:
    """It is asked to forget its objects, and the first fault is what is told."""
    dying = "import typing\n" + changed(PURE_PYTHON, "        out[:] = 0\n", "        raise ValueError('first')\n")
    dying += f"\n    def __del__(self):\n        {EXIT}\n"
    with examining(dying) as examiner:
        assert failure_of(examiner, CASE).sentence.startswith("distance_table raised ValueError: first")
        examiner.begin()
        assert failure_of(examiner, OTHER).kind is FaultKind.RAISED
    assert len(hosts) == 2


def test_a_crash_is_remembered_for_its_case_until_the_next_test(hosts: list[KernelHost]) -> None:
    crash = f"        if len(codes) == {CASE.n}:\n            {EXIT}\n        distance = np.zeros"
    dying = "import typing\n" + changed(PURE_PYTHON, "        distance = np.zeros", crash)
    with examining(dying) as examiner:
        failure = failure_of(examiner, CASE)
        assert failure.kind is FaultKind.DIED
        assert failure.sentence == "the kernel's process ended with exit status 3 during a call"
        assert failure.case == CASE.spec
        assert failure.where == CASE.where
        # No case of this test gets a process any more; only the one that met the crash fails again.
        examiner.examine(OTHER)
        assert examiner.examples == 1
        assert failure_of(examiner, CASE) == failure
        assert len(hosts) == 1
        examiner.begin()
        examiner.examine(OTHER)
        assert examiner.examples == 1
    assert len(hosts) == 2


@pytest.mark.parametrize(
    ("statement", "kind"),
    [("raise ValueError('at import')", FaultKind.RAISED), (EXIT, FaultKind.DIED)],
    ids=["raises", "dies"],
)
def test_a_file_that_does_not_load_fails_every_case_of_every_test(
    hosts: list[KernelHost], statement: str, kind: FaultKind
) -> None:
    with examining(f"import typing\n{statement}\n{PURE_PYTHON}") as examiner:
        failure = failure_of(examiner, CASE)
        assert failure.kind is kind
        assert "import" in failure.sentence
        # No inputs were involved: there is no case to replay or to store.
        assert (failure.case, failure.where) == ("", "")
        examiner.begin()
        assert failure_of(examiner, OTHER) == failure
        assert examiner.examples == 0
    assert len(hosts) == 1


def test_a_broken_contract_needs_no_process(hosts: list[KernelHost]) -> None:
    with examining(f"import os\n{PURE_PYTHON}") as examiner:
        failure = failure_of(examiner, CASE)
        assert failure.kind is FaultKind.CONTRACT
        assert failure.sentence.startswith("kernel/pq_l2.py, line 1: a kernel may not import os;")
        assert (failure.case, failure.where) == ("", "")
        examiner.begin()
        assert failure_of(examiner, OTHER) == failure
    assert hosts == []


LARGE = LiteralCase(L2, codebook=(((0.0,), (1.0,)),), codes=((1,), (0,)), queries=((1000.0,),), k=1)


def test_a_difference_of_rounding_is_told_apart() -> None:
    with examining(ROUNDED) as examiner:
        examiner.examine(replace(LARGE, queries=((1.0,),)))  # too small a value for the difference to show
        assert failure_of(examiner, LARGE).hint.startswith("rounding only")


def test_a_difference_of_rounding_may_be_allowed() -> None:
    with examining(ROUNDED, rtol=1e-6) as examiner:
        examiner.examine(LARGE)
        assert examiner.examples == 1


def test_the_hint_depends_on_what_differs() -> None:
    value = Mismatch("distance_table", (0, 0), "1.0", "1.1", abs_error=0.1, ulps=838861)
    assert hint(value).startswith("not rounding: the arithmetic differs")
    assert hint(replace(value, lossy=True)).startswith("not rounding: precision was given up")
    assert hint(replace(value, missed=True, lossy=True)).startswith("not rounding: each distance is right for its id")
    assert hint(replace(value, abs_error=float("nan"), ulps=None)).startswith("not rounding")
    assert "--lance-ar-rtol 1e-6" in hint(replace(value, rounding_only=True))
    assert hint(Mismatch("probe_top_k ids", (0,), "every id once", "3 a second time")) == ""


def test_the_command_replays_the_case_as_the_report_prints_it() -> None:
    assert replay_command(CASE.spec, "kernel/pq_l2.py") == (
        "python -m pytest_lance_ar replay --kernel=kernel/pq_l2.py 'shape=8,2,4 distribution=uniform seed=0 n=5 k=3'"
    )
    assert " --rtol=1e-06 " in replay_command(CASE.spec, "kernel/pq_l2.py", 1e-6)


@given(path=st.text(st.characters(exclude_characters="\0"), min_size=1), case=st.text(min_size=1))
def test_a_shell_gives_back_the_path_and_the_case(path: str, case: str) -> None:
    words = shlex.split(replay_command(case, path))
    assert words == ["python", "-m", "pytest_lance_ar", "replay", f"--kernel={path}", case]


@given(rtol=st.floats(1e-12, 1e-6))
def test_the_command_has_the_very_rtol(rtol: float) -> None:
    words = shlex.split(replay_command(CASE.spec, "kernel/pq_l2.py", rtol))
    assert float(words[-2].removeprefix("--rtol=")) == rtol


def test_the_command_replays_a_literal_case() -> None:
    words = shlex.split(replay_command(LARGE.spec, "kernel/pq_l2.py"))
    assert TARGET.parse_case(words[-1]) == LARGE


def test_while_the_code_is_made_the_process_starts_and_the_suite_is_told() -> None:
    made = threading.Event()

    def code() -> bytes:
        made.wait(100)
        return b""

    with Examiner(Kernel("quick.py", PURE_PYTHON.encode()), TARGET, deadline=Deadline.after(100), code=code) as one:
        compiling = [one.is_compiling()]
        started = one._host
        assert started is not None
        made.set()
        one.examine(CASE)
        assert one._host is started
        assert one._awaited is not None
        one._awaited.join(100)
        compiling.append(one.is_compiling())
    assert compiling == [True, False]


def test_who_waits_for_a_kernel_that_breaks_the_contract_is_told_by_the_first_case() -> None:
    with Examiner(Kernel("quick.py", b"import os\n"), TARGET, deadline=Deadline.after(100)) as one:
        one.is_compiling()
        with pytest.raises(ExaminationFailed, match="os"):
            one.examine(CASE)
