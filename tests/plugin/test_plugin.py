"""`pytest --lance-ar` as its users see it: options, exit statuses and output. The speed half is replaced by a conftest
here, as the hooks allow; `test_for_real.py` has the real one."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pytest_lance_ar.targets.pq_l2.target import TARGET
from tests import kernels
from tests.builders import ALONE_AND_SLOWLY_WITH_WORKERS

MEASURE = """
import os
import pytest_lance_ar.targets.pq_l2.test_pq_l2 as suite
from pytest_lance_ar.targets.common.pq import cases
from pytest_lance_ar.targets.pq_l2.metric import L2
from pytest_lance_ar.trial.evidence import ComboFigures, GuardEvidence, GuardFigures, Interval, SpeedEvidence

if "FULL" not in os.environ:
    # These tests are not about the kernel: few examples, and codebooks that numba need not be compiled for.
    suite.EXAMPLES.update(dict.fromkeys(suite.EXAMPLES, 2))

    def untrained(shape, distribution, seed):
        instance = cases.DrawnCase(L2, shape, distribution, seed, n=64, k=1).instance()
        return instance.arrays["codebook"], instance.packs[0].arrays["codes"]

    cases.fixture = untrained

def pytest_lance_ar_measure(trial, progress):
    ratio = float(os.environ.get("RATIO", "1"))
    progress("measuring, as it were")
    combos = tuple(ComboFigures(c.shape, c.distribution, 1000.0 * ratio, 1000.0, ratio) for c in trial.target.combos)
    around = Interval(ratio * 0.99, ratio * 1.005)
    guard = GuardFigures("(64,8,16), uniform, N 200, k 1", "n=200", 1000.0 * ratio, 1000.0, ratio, around)
    return SpeedEvidence(
        combos=combos, geomean_ns=1000.0 * ratio, geomean_interval=Interval(990.0 * ratio, 1010.0 * ratio),
        incumbent_geomean_ns=1000.0, ratio=ratio, ratio_interval=Interval(ratio * 0.99, ratio * 1.005),
        confirmed=True, noise_floor_pct=0.5, rounds=60, timed_queries=10, transport_ns=5.0,
        pack_seconds=0.1, peak_mem_mb=1.0, guards=GuardEvidence((guard,), ratio, around, seed=5))
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project that is not this one: a kernel, a conftest, and tests that the gate must leave alone."""
    pytester.makeini("[pytest]\n")
    pytester.makeconftest(MEASURE)
    pytester.mkdir("kernel")
    pytester.path.joinpath("kernel/pq_l2.py").write_text(kernels.PURE_PYTHON)
    pytester.makepyfile(test_of_the_project="def test_it(): assert False")
    monkeypatch.delenv("RATIO", raising=False)
    return pytester


def gate(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest_subprocess("--lance-ar", *arguments)


def edit(project: pytest.Pytester, source: str) -> None:
    project.path.joinpath("kernel/pq_l2.py").write_text(source)


def rows(project: pytest.Pytester) -> list[dict[str, str]]:
    header, *lines = project.path.joinpath("results.tsv").read_text().splitlines()
    return [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines]


def block(result: pytest.RunResult) -> dict[str, str]:
    """The report that ends the output."""
    lines = result.outlines[len(result.outlines) - result.outlines[::-1].index("---") :]
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines) if not key.startswith(" ")}


@ALONE_AND_SLOWLY_WITH_WORKERS
def test_baseline_then_keep_then_discard(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: tuple[str, ...]
) -> None:
    first = gate(project, *workers)
    assert first.ret == 0
    first.assert_outcomes(passed=len(TARGET.suite_tests))  # the suite, and nothing of the project's
    assert block(first)["verdict"] == "baseline"

    monkeypatch.setenv("RATIO", "0.9")
    edit(project, kernels.PURE_PYTHON + "# faster\n")
    second = gate(project, *workers, "--lance-ar-note", "an idea")
    assert second.ret == 0
    assert block(second)["verdict"] == "keep"

    monkeypatch.setenv("RATIO", "1.0")
    edit(project, kernels.PURE_PYTHON + "# no better\n")
    third = gate(project, *workers)
    assert third.ret == 1
    assert block(third)["verdict"] == "discard"
    assert "not strictly better" in block(third)["reason"]

    assert [row["verdict"] for row in rows(project)] == ["baseline", "keep", "discard"]
    assert rows(project)[1]["description"] == "an idea"
    state = json.loads(project.path.joinpath(".lance_ar/incumbent.json").read_text())
    assert state["incumbent"]["source"].endswith("# faster\n")


@ALONE_AND_SLOWLY_WITH_WORKERS
def test_a_wrong_kernel_is_incorrect_and_its_case_can_be_replayed(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: tuple[str, ...]
) -> None:
    monkeypatch.setenv("FULL", "1")
    wrong = kernels.with_answer("ids, distance[ids] + np.float32(0.001 if len(distance) > 20 else 0)")
    edit(project, wrong)
    result = gate(project, *workers)
    assert result.ret == 2
    facts = block(result)
    assert facts["verdict"] == "incorrect"
    assert facts["correctness"] == "fail"
    assert "probe_top_k distances[0]: expected" in facts["first_failure"]
    assert "abs error 0.00" in facts["first_failure"]
    assert "N 21, k 1" in facts["first_failure"], "hypothesis shrinks to the first N that fails"
    assert rows(project)[0]["verdict"] == "incorrect"
    assert not project.path.joinpath(".lance_ar/incumbent.json").exists()

    words = facts["replay"].partition(" -m ")[2]
    replay = subprocess.run(
        f"{sys.executable} -m {words}", shell=True, cwd=project.path, capture_output=True, text=True, check=False
    )
    assert replay.returncode == 2
    # One case knows nothing of the sizes from which on there is a failure, which the trial bisected.
    assert facts["first_failure"].removeprefix("wrong for every N above 20: ") in replay.stdout

    again = gate(project, *workers, "-v")
    assert again.ret == 2
    assert "test_earlier_falsifying_examples" in again.stdout.str().partition("= FAILURES")[2]
    assert "N 21, k 1" in block(again)["first_failure"]

    edit(project, kernels.PURE_PYTHON)
    mended = subprocess.run(
        f"{sys.executable} -m {words}", shell=True, cwd=project.path, capture_output=True, text=True, check=False
    )
    assert mended.returncode == 5
    assert mended.stdout.startswith("pass: ")


def test_a_kernel_that_dies_is_incorrect(project: pytest.Pytester) -> None:
    edit(project, "import numba\nnumba.core.config.os._exit(0)\nclass PqKernel: pass\n")
    result = gate(project)
    assert result.ret == 2
    assert "the kernel's process ended with exit status 0 in import" in block(result)["first_failure"]


def test_a_broken_contract_is_incorrect(project: pytest.Pytester) -> None:
    edit(project, "import os\n" + kernels.PURE_PYTHON)
    result = gate(project)
    assert result.ret == 2
    assert "kernel/pq_l2.py, line 1: a kernel may not import os" in block(result)["first_failure"]


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_a_call_that_never_returns_is_a_timeout(project: pytest.Pytester, workers: tuple[str, ...]) -> None:
    edit(project, kernels.with_table("while True: pass"))
    result = gate(project, "--lance-ar-budget", "5", *workers)
    assert result.ret == 3
    assert block(result)["verdict"] == "timeout"
    assert rows(project)[0]["verdict"] == "timeout"


USAGE = {
    "no kernel": (["--lance-ar-kernel", "nowhere.py"], "no kernel file at"),
    "a directory": (["--lance-ar-kernel", "kernel"], "is not a file"),
    "bad seed": (["--lance-ar-seed", "x"], "--lance-ar-seed must be a whole number"),
    "bad budget": (["--lance-ar-budget", "-1"], "--lance-ar-budget must be a number above 0"),
    "bad rtol": (["--lance-ar-rtol", "1e-3"], "is too large"),
    "bad gain": (["--lance-ar-min-gain", "a little"], "--lance-ar-min-gain must be a number of at least 0"),
    "bad phase": (["--lance-ar-phase", "speed"], "--lance-ar-phase must be one of"),
    "unknown ref": (["--lance-ar-against", "no-such-ref"], "neither a kernel file nor a git commit"),
    "unknown option": (["--lance-ar-nonsense"], "unrecognized arguments"),
    "state is a file": (["--lance-ar-state", "pytest.ini"], "is not a directory"),
}


@pytest.mark.parametrize(("arguments", "sentence"), USAGE.values(), ids=USAGE)
def test_a_users_mistake_is_one_sentence(project: pytest.Pytester, arguments: list[str], sentence: str) -> None:
    project.makeini("[pytest]\n")
    project.path.joinpath("pytest.ini").write_text("[pytest]\n")
    result = gate(project, *arguments)
    assert result.ret == 4
    assert sentence in result.stderr.str()
    assert "Traceback" not in result.stderr.str() + result.stdout.str()
    assert not project.path.joinpath("results.tsv").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["-k", "odd_shape"],
        ["--co"],
        ["--collect-only", "-q"],
        ["--deselect", "pq_l2::test_drawn_arrays"],
        ["-m", "no_such_mark"],
        ["--help"],
        ["--fixtures"],
    ],
    ids=" ".join,
)
def test_a_run_that_is_not_full_is_no_verdict(project: pytest.Pytester, arguments: list[str]) -> None:
    result = gate(project, *arguments)
    assert result.ret == 5
    assert not project.path.joinpath("results.tsv").exists()
    assert not project.path.joinpath(".lance_ar/incumbent.json").exists()


def test_last_failed_is_no_verdict(project: pytest.Pytester) -> None:
    edit(project, kernels.with_answer("ids, distance[ids] + np.float32(0.001 if len(distance) > 20 else 0)"))
    assert gate(project).ret == 2
    project.path.joinpath(".lance_ar/examples").rename(project.path / "gone")
    edit(project, kernels.PURE_PYTHON)
    result = gate(project, "--lf")
    assert result.ret == 5
    assert "did not run in full" in block(result)["reason"]


def test_a_skipped_test_is_no_verdict(project: pytest.Pytester) -> None:
    project.makeconftest(
        MEASURE + "import pytest\n"
        "def pytest_collection_modifyitems(items):\n    items[-1].add_marker(pytest.mark.skip('why not'))\n"
    )
    result = gate(project)
    assert result.ret == 5
    assert f"1 of {len(TARGET.suite_tests)} tests did not pass" in block(result)["reason"]


def test_an_expected_failure_is_no_verdict(project: pytest.Pytester) -> None:
    project.makeconftest(
        MEASURE + "import pytest\n"
        "def pytest_collection_modifyitems(items):\n    for item in items: item.add_marker(pytest.mark.xfail)\n"
    )
    edit(project, kernels.with_table("out[:] = 0"))
    assert gate(project).ret == 2


def test_correctness_alone_gives_no_verdict(project: pytest.Pytester) -> None:
    passed = gate(project, "--lance-ar-phase", "correctness")
    assert passed.ret == 5
    assert block(passed)["correctness"] == "pass"
    edit(project, kernels.with_table("out[:] = 0"))
    assert gate(project, "--lance-ar-phase", "correctness").ret == 2
    assert not project.path.joinpath("results.tsv").exists()


def test_a_sealed_file_that_changed_is_tampered(project: pytest.Pytester) -> None:
    assert gate(project).ret == 0
    project.makeconftest(MEASURE.replace("ratio = ", "ratio = 0.5 * "))
    edit(project, kernels.PURE_PYTHON + "# faster?\n")
    result = gate(project)
    assert result.ret == 10
    assert "conftest.py" in block(result)["reason"]
    assert rows(project)[-1]["verdict"] == "tampered"
    assert result.parseoutcomes().get("passed") is None
    assert gate(project, "--lance-ar-rebaseline").ret == 0
    assert gate(project).ret == 1


def test_a_sealed_file_that_changes_during_the_run_is_tampered(project: pytest.Pytester) -> None:
    project.makeconftest(
        MEASURE.replace("    progress(", "    open('pytest.ini', 'a').write('# more\\n')\n    progress(")
    )
    result = gate(project)
    assert result.ret == 10
    assert "pytest.ini" in block(result)["reason"]
    assert not project.path.joinpath(".lance_ar/incumbent.json").exists()


def test_too_much_noise_is_inconclusive(project: pytest.Pytester) -> None:
    project.makeconftest(MEASURE.replace("Interval(ratio * 0.99, ratio * 1.005)", "Interval(ratio * 0.8, ratio * 1.2)"))
    assert gate(project).ret == 0
    edit(project, kernels.PURE_PYTHON + "# other\n")
    result = gate(project)
    assert result.ret == 11
    assert block(result)["verdict"] == "inconclusive"


@pytest.mark.parametrize(
    "step", ["measure", *(pytest.param(it, marks=pytest.mark.slow) for it in ("decide", "report"))]
)
def test_a_failure_of_the_gate_is_an_internal_error(project: pytest.Pytester, step: str) -> None:
    arguments = {"measure": "trial, progress", "decide": "trial, evidence", "report": "report"}[step]
    project.makeconftest(f"def pytest_lance_ar_{step}({arguments}): raise RuntimeError('oh')")
    if step != "measure":
        project.makeconftest(MEASURE + f"\ndef pytest_lance_ar_{step}({arguments}): raise RuntimeError('oh')")
    result = gate(project)
    assert result.ret == 70
    assert "RuntimeError: oh" in result.stdout.str()
    assert block(result)["verdict"] == "none"


def test_another_plugins_failure_at_the_end_is_no_verdict_of_ours(project: pytest.Pytester) -> None:
    project.makeconftest(MEASURE + "\ndef pytest_sessionfinish(): raise RuntimeError('theirs')")
    assert gate(project).ret == 70


@pytest.mark.slow
def test_a_failure_behind_the_end_changes_no_verdict(project: pytest.Pytester) -> None:
    project.makeconftest(MEASURE + "\ndef pytest_unconfigure(): raise RuntimeError('theirs')")
    result = gate(project)
    assert result.ret == 0
    assert "RuntimeError: theirs" in result.stderr.str()
    assert block(result)["verdict"] == "baseline"


def test_another_plugin_cannot_set_the_exit_status(project: pytest.Pytester) -> None:
    project.makeconftest(MEASURE + "\ndef pytest_sessionfinish(session): session.exitstatus = 0")
    edit(project, kernels.with_table("out[:] = 0"))
    assert gate(project).ret == 2


@ALONE_AND_SLOWLY_WITH_WORKERS
def test_an_interrupt_is_130(project: pytest.Pytester, workers: tuple[str, ...]) -> None:
    edit(project, kernels.with_table("open('/dev/null'); [None for _ in iter(int, 1)]"))
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "--lance-ar", "-v", *workers],
        cwd=project.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "test_earlier_falsifying_examples" in line or f"{len(TARGET.suite_tests)} items" in line:
            break
    time.sleep(1.0)  # into the call that never returns; sooner is as good
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output


@pytest.mark.slow
def test_damaged_state_is_one_sentence_with_a_way_out(project: pytest.Pytester) -> None:
    assert gate(project).ret == 0
    state = project.path.joinpath(".lance_ar/incumbent.json")
    state.write_text(state.read_text()[:-40])
    result = gate(project)
    assert result.ret == 4
    assert "is damaged" in result.stderr.str()
    assert "--lance-ar-rebaseline" in result.stderr.str()
    assert gate(project, "--lance-ar-rebaseline").ret == 0


def test_an_incumbent_for_one_run_stores_nothing(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATIO", "0.9")
    project.path.joinpath("other.py").write_text(kernels.PURE_PYTHON + "# other\n")
    result = gate(project, "--lance-ar-against", "other.py", "--lance-ar-json", "report.json")
    assert result.ret == 0
    report = json.loads(project.path.joinpath("report.json").read_text())
    assert report["verdict"] == "keep"
    assert report["incumbent"] == "other.py"
    assert not project.path.joinpath("results.tsv").exists()
    assert not project.path.joinpath(".lance_ar/incumbent.json").exists()


@pytest.mark.slow
def test_an_incumbent_from_git(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATIO", "0.9")
    for words in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "one"]):
        subprocess.run(["git", *words], cwd=project.path, check=True)
    edit(project, kernels.PURE_PYTHON + "# edited\n")
    result = gate(project, "--lance-ar-against", "HEAD")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["lance-ar: against *, HEAD:kernel/pq_l2.py"])


def test_junit_has_the_facts(project: pytest.Pytester) -> None:
    assert gate(project, "--junitxml=junit.xml").ret == 0
    properties = ElementTree.parse(project.path / "junit.xml").iter("property")
    facts = {one.get("name"): one.get("value") for one in properties}
    assert facts["lance_ar_verdict"] == "baseline"
    assert facts["lance_ar_exit_code"] == "0"


@pytest.mark.slow
def test_ini_twins(project: pytest.Pytester) -> None:
    project.path.joinpath("kernel/pq_l2.py").rename(project.path / "other.py")
    project.path.joinpath("pytest.ini").write_text(
        "[pytest]\nlance_ar_kernel = other.py\nlance_ar_seed = 77\nlance_ar_state = deep/state\n"
        "lance_ar_min_gain = 2.5\nlance_ar_budget = 500\n"
    )
    project.mkdir("sub")
    arguments = ["--lance-ar", "--rootdir", str(project.path), "--lance-ar-json=report.json", "sub"]
    result = project.run(sys.executable, "-m", "pytest", *arguments)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["lance-ar: other.py *", "lance-ar: against *", "lance-ar: seed 77, budget 500 s, *"])
    assert json.loads(project.path.joinpath("report.json").read_text())["min_gain_pct"] == 2.5
    assert project.path.joinpath("deep/state/results.tsv").exists()


@pytest.mark.slow
def test_option_values_do_not_choose_the_project(
    project: pytest.Pytester, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    elsewhere.joinpath("candidate.py").write_text(kernels.PURE_PYTHON)
    assert gate(project).ret == 0
    result = gate(project, "--lance-ar-kernel", str(elsewhere / "candidate.py"))
    assert result.ret == 1, "judged against the project's incumbent"
    assert list(elsewhere.iterdir()) == [elsewhere / "candidate.py"]


@pytest.mark.parametrize("flag", ["-q", "-qq", "-v", "-x", "-s", "-p no:xdist", "-p no:cacheprovider", "--tb=no"])
def test_the_report_is_the_last_of_the_output(project: pytest.Pytester, flag: str) -> None:
    edit(project, "class PqKernel: pass\nx = (\n")
    result = gate(project, *flag.split())
    assert result.ret == 2
    assert block(result)["verdict"] == "incorrect"
    assert result.outlines[-1].startswith("total_seconds:")
    assert "Traceback" not in result.stdout.str()


def test_without_the_option_nothing_changes(project: pytest.Pytester) -> None:
    result = project.runpytest_subprocess()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(failed=1)
    assert "lance-ar:" not in result.stdout.str()
    assert not project.path.joinpath(".lance_ar").exists()


def test_without_the_option_nothing_heavy_is_imported() -> None:
    program = (
        "import sys, pytest\n"
        "code = pytest.main(['--version', '-p', 'no:hypothesispytest', '-p', 'pytest_lance_ar.plugin'])\n"
        "print(sorted({'numpy', 'numba', 'hypothesis', 'llvmlite'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="who else tells when a process was started?")
@pytest.mark.parametrize(("before", "since_its_start"), [(0.5, True), (0.5, False)], ids=["young", "old"])
def test_what_happens_before_the_gate_opens_is_part_of_its_budget(
    project: pytest.Pytester, before: float, since_its_start: bool
) -> None:
    """All of it, where the process was started for this run; else from the call on."""
    program = (
        "import time, pytest\n"
        "from pytest_lance_ar.plugin import opening\n"
        "from pytest_lance_ar.trial import deadline\n"
        f"deadline.JUST_NOW_SECONDS = {20 if since_its_start else 0}\n"
        f"time.sleep({before})\n"
        "begun = time.time()\n"
        "def gate(*_, since, **more):\n"
        "    print('late by', since - begun, time.time() - since)\n"
        "    raise opening.OptionError('enough')\n"
        "opening.Gate = gate\n"
        "pytest.main(['--lance-ar'])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=project.path, capture_output=True, text=True, check=True)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("late by")]
    late, ago = map(float, line.split()[2:])
    assert late < -before if since_its_start else late >= 0
    assert ago >= 0


def test_the_options_are_explained(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess("--help")
    result.stdout.fnmatch_lines(["experiment gate*", "*--lance-ar *", "*--lance-ar-kernel=PATH*", "*lance_ar_kernel*"])


def test_fixtures_of_the_suite_are_not_seen_elsewhere(project: pytest.Pytester) -> None:
    assert "examiner" not in project.runpytest_subprocess("--fixtures").stdout.str()


def test_the_help_reads_well(pytester: pytest.Pytester) -> None:
    lines = pytester.runpytest_subprocess("--help").outlines
    group = lines[lines.index("experiment gate for kernels (--lance-ar):") + 1 :]
    group = group[: group.index("")]
    assert max(map(len, group)) <= 80
    options = [line.split("=")[0].split()[0] for line in group if line.startswith("  --")]
    assert options[:3] == ["--lance-ar", "--lance-ar-kernel", "--lance-ar-note"]
    assert len(options) == len(set(options)) == 15


def test_in_a_workflow_the_verdict_is_annotated_and_summarized(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = project.path / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(project.path.parent))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    edit(project, kernels.with_table("out[:] = 0"))
    result = gate(project, "--lance-ar-against", "kernel/pq_l2.py")
    assert result.ret == 2
    commands = [line for line in result.outlines if line.startswith("::")]
    name = f"{project.path.name}/kernel/pq_l2.py"
    assert [command.partition(",title")[0] for command in commands] == [f"::error file={name},line=11"]
    assert result.outlines.index(commands[0]) < result.outlines.index("---")
    assert summary.read_text().startswith("### `kernel/pq_l2.py`: incorrect\n")


def test_a_summary_that_cannot_be_written_changes_no_verdict(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path))
    edit(project, "class PqKernel: pass\nx = (\n")
    result = gate(project)
    assert result.ret == 2
    assert "lance-ar: the step's summary cannot be written: " in result.stdout.str()
    assert "::error" not in result.stdout.str()
    assert result.outlines[-1].startswith("total_seconds:")


@pytest.mark.parametrize(
    ("flag", "colours"), [("--color=yes", True), ("--color=no", False), ("--color=auto", False)], ids=str
)
def test_only_the_verdict_of_the_block_has_a_colour_and_only_where_pytest_has(
    project: pytest.Pytester, flag: str, colours: bool
) -> None:
    edit(project, "class PqKernel: pass\nx = (\n")
    text = gate(project, flag).stdout.str()
    last = text[text.index("---\nverdict:") :]
    assert ("\x1b[31mincorrect\x1b[0m\n" in last) is colours
    assert last.count("\x1b") == (3 if colours else 0)  # bold, red, and back


@pytest.mark.slow
def test_quiet_in_a_file_is_the_report_alone(project: pytest.Pytester) -> None:
    def progress(*arguments: str) -> int:
        lines = [line for line in gate(project, *arguments).outlines if line.startswith("lance-ar:")]
        return sum(not line.startswith("lance-ar: container:") for line in lines)

    assert progress() == 5  # the header and one line of progress
    assert progress("-q") == 0


@pytest.mark.slow
def test_without_a_terminal_reporter_the_report_is_printed_all_the_same(project: pytest.Pytester) -> None:
    result = gate(project, "-p", "no:terminal")
    assert result.ret == 0
    assert result.outlines[0] == "---"
    assert block(result)["verdict"] == "baseline"


def in_a_terminal(project: pytest.Pytester, *arguments: str, columns: int = 80) -> str:
    """What a run writes to a terminal of that width, as bytes arrive."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "--lance-ar", *arguments],
        cwd=project.path,
        stdin=subprocess.DEVNULL,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "COLUMNS": str(columns), "TERM": "xterm", "NO_COLOR": "1"},
    )
    os.close(slave)
    output = b""
    with contextlib.suppress(OSError):  # the end of a terminal is an error on Linux
        while part := os.read(master, 65536):
            output += part
    os.close(master)
    process.wait()
    return output.decode()


def test_on_a_terminal_progress_is_one_line_that_never_wraps(project: pytest.Pytester) -> None:
    project.makeconftest(
        MEASURE.replace(
            'progress("measuring, as it were")',
            "[progress(f'{n} of many words, and then some more of them, so that no line can hold them', True) "
            "for n in range(3)]",
        )
    )
    text = in_a_terminal(project, columns=60)
    shown = [part.rstrip() for part in text.split("\r") if part.startswith("lance-ar: ") and " of many" in part]
    assert [line[10] for line in shown] == ["0", "1", "2"]
    assert {len(line) for line in shown} == {59}
    assert "\x1b[3" not in text, "NO_COLOR"


def test_from_a_subdirectory_it_is_the_same_project(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    below = project.mkdir("below")
    edit(project, "class PqKernel: pass\nx = (\n")
    monkeypatch.chdir(below)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--lance-ar", "--lance-ar-json", "report.json"],
        cwd=below,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert rows(project)[0]["verdict"] == "incorrect"
    assert [path.name for path in below.iterdir()] == ["report.json"], "typed paths are relative to where one is"


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write to read-only directories")
def test_a_read_only_checkout_with_the_state_elsewhere(
    project: pytest.Pytester, tmp_path_factory: pytest.TempPathFactory
) -> None:
    state = tmp_path_factory.mktemp("state")
    project.path.chmod(0o555)
    try:
        assert gate(project).ret == 4
        assert gate(project, "--lance-ar-state", str(state)).ret == 0
    finally:
        project.path.chmod(0o755)
    assert {"incumbent.json", "results.tsv"} <= {path.name for path in state.iterdir()}


def git(directory: Path, *words: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main", "-c", "commit.gpgsign=no"]
    subprocess.run(["git", *identity, *words], cwd=directory, check=True, capture_output=True)


@pytest.mark.slow
def test_a_pull_request_as_a_workflow_checks_it_out(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A detached merge commit in a clone of depth 2: HEAD^1 is the branch that it is merged into, and all there is."""
    origin = project.path
    git(origin, "init", "-q")
    git(origin, "add", "conftest.py", "tox.ini")
    git(origin, "commit", "-qm", "no kernel yet")
    git(origin, "add", "kernel")
    git(origin, "commit", "-qm", "a kernel")
    git(origin, "checkout", "-qb", "change")
    edit(project, kernels.PURE_PYTHON + "# changed\n")
    git(origin, "commit", "-qam", "a change")
    git(origin, "checkout", "-q", "--detach", "main")
    git(origin, "merge", "-q", "--no-ff", "-m", "merge", "change")
    git(origin, "update-ref", "refs/pull/1/merge", "HEAD")
    clone = tmp_path_factory.mktemp("clone")
    git(clone, "init", "-q")
    git(clone, "fetch", "-q", "--depth=2", f"file://{origin}", "refs/pull/1/merge")
    git(clone, "checkout", "-q", "--detach", "FETCH_HEAD")
    monkeypatch.setenv("RATIO", "0.9")

    def judged(against: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "--lance-ar", "--lance-ar-against", against],
            cwd=clone,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    status, output = judged("HEAD^1")
    assert status == 0, output
    assert not clone.joinpath("results.tsv").exists()
    assert judged("main")[0] == 4
    assert "this clone is shallow, so fetch it first" in judged("main")[1]
    git(clone, "fetch", "-q", "--unshallow", f"file://{origin}")
    status, output = judged("HEAD^1~1")
    assert status == 4, "that commit has no kernel"
    assert "neither a kernel file nor a git commit, branch or tag that has kernel/pq_l2.py\n" in output
