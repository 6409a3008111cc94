"""Nonsense wherever a user can put it: one sentence, exit status 4, nothing written."""

from __future__ import annotations

import os
import shutil
import string
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark import ParameterSet
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_lance_ar.gate import Gate
from pytest_lance_ar.plugin.options import COMMAND_LINE_ONLY, INI_TWINS
from pytest_lance_ar.seal import watch
from pytest_lance_ar.store.store import StoreError
from pytest_lance_ar.trial import git
from pytest_lance_ar.trial.kernel_source import Kernel
from pytest_lance_ar.trial.options import OptionError, Options
from tests import kernels
from tests.builders import project_at
from tests.plugin.test_plugin import MEASURE

NAMES = (*INI_TWINS, *COMMAND_LINE_ONLY)
LITTLE = "class PqKernel: ...\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that has one of everything."""
    root = tmp_path_factory.mktemp("project")
    (root / "kernel").mkdir()
    (root / "kernel" / "pq_l2.py").write_text(LITTLE)
    (root / "tests").mkdir()
    for name in ("conftest.py", "tests/test_a.py", "other.py", "results.txt"):
        (root / name).touch()
    (root / "loop").symlink_to(root / "loop")
    (root / "dangling").symlink_to(root / "nowhere")
    (root / "outside").symlink_to("/etc/passwd")
    (root / "endless").symlink_to("/dev/zero")
    os.mkfifo(root / "pipe")
    (root / "binary").write_bytes(bytes(range(256)))
    with (root / "huge").open("wb") as file:
        file.truncate(1 << 40)
    return root


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes long in opening a gate, and has no say in what is asked here."""
    monkeypatch.setattr(watch, "fingerprint", lambda *_, **__: {})
    monkeypatch.setattr(watch, "contradicted", lambda *_: ())
    monkeypatch.setattr(git, "_git", lambda *_: None)
    monkeypatch.setattr(os, "fsync", lambda _: None)


def tree(root: Path) -> dict[str, int]:
    return {
        str(path.relative_to(root)): path.lstat().st_mtime_ns
        for path in root.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }


PLACES = """kernel kernel/pq_l2.py tests tests/test_a.py conftest.py other.py results.tsv .lance_ar loop dangling
outside endless pipe binary huge . .. / /dev/null /dev/zero /proc/self/mem /dev/full /nowhere/x ~ new new/state
kernel/pq_l2.py/x all correctness HEAD --help -x nan -inf 1e999 0 -1"""
names = st.sampled_from([*PLACES.split(), "a\0b", "a\nb", "\udce9", "\ud800", "1" * 5000, "x" * 300])
texts = st.one_of(names, st.text(max_size=30), st.text("./\\~a\0\n ", max_size=12), st.floats().map(str))


def open_with_nonsense(project: Path, values: dict[str, str], rebaseline: bool) -> None:
    before = tree(project)
    try:
        options = Options.from_strings(values, root=project, here=project, rebaseline=rebaseline)
        gate = Gate(options, here=project)
    except (OptionError, StoreError):
        assert tree(project) == before
    else:
        gate.close()
        after = tree(project)
        assert {name: after[name] for name in before} == before
        for name in {name.split("/")[0] for name in after} - {name.split("/")[0] for name in before}:
            path = project / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


nonsense = st.dictionaries(st.sampled_from(NAMES), texts, min_size=1, max_size=4)


@pytest.mark.usefixtures("quick")
@settings(max_examples=400)
@given(values=nonsense, rebaseline=st.booleans())
def test_a_gate_opens_or_says_in_one_sentence_why_not(project: Path, values: dict[str, str], rebaseline: bool) -> None:
    open_with_nonsense(project, values, rebaseline)


@pytest.mark.exhaustive
@pytest.mark.usefixtures("quick")
@settings(max_examples=4000, derandomize=False)
@given(values=nonsense, rebaseline=st.booleans())
def test_of_thousands_of_gates_each_opens_or_says_why_not(
    project: Path, values: dict[str, str], rebaseline: bool
) -> None:
    open_with_nonsense(project, values, rebaseline)


KERNELS = {
    "kernel": "is not a file",
    "pipe": "is not a file",
    "endless": "is not a file",
    "/dev/zero": "is not a file",
    "dangling": "no kernel file at",
    "loop": "",
    "nowhere": "no kernel file at",
    "huge": "is larger than 262,144 bytes",
    "kernel/pq_l2.py/x": "",
}


@pytest.mark.parametrize(("name", "sentence"), KERNELS.items(), ids=KERNELS)
def test_what_cannot_be_a_kernel(project: Path, name: str, sentence: str) -> None:
    before = tree(project)
    with pytest.raises(OptionError) as error:
        Options.from_strings({"kernel": name}, root=project, here=project)
    assert sentence in str(error.value)
    assert tree(project) == before


def test_a_kernel_that_turns_into_a_pipe_or_grows_is_refused_too(tmp_path: Path) -> None:
    # Between the look at its kind and the reading anything may happen.
    os.mkfifo(tmp_path / "pipe")
    for name, sentence in (("pipe", "not a regular file"), ("/dev/zero", "not a regular file")):
        with pytest.raises(OSError, match=sentence):
            Kernel.read(tmp_path / name, name)
    with (tmp_path / "large").open("wb") as file:
        file.truncate(Kernel.MAX_BYTES + 1)
    with pytest.raises(OSError, match="larger than"):
        Kernel.read(tmp_path / "large", "large")


@pytest.mark.parametrize("name", ["outside", "binary", "results.txt"])
@pytest.mark.usefixtures("quick")
def test_what_can_be_read_is_for_the_suite_to_judge(project: Path, tmp_path: Path, name: str) -> None:
    options = Options.from_strings({"kernel": name, "state": str(tmp_path / "s")}, root=project, here=project)
    Gate(options, here=project).close()


@pytest.mark.skipif(os.getuid() != 0, reason="the others see the real thing in their own tests: a file of mode 0")
def test_an_unreadable_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "k.py").write_text(LITTLE)
    opened = os.open

    def refuse(path: str, *arguments: Any, **keywords: Any) -> int:
        if str(path).endswith("k.py"):
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **keywords)

    monkeypatch.setattr(os, "open", refuse)
    options = Options.from_strings({"kernel": "k.py"}, root=tmp_path, here=tmp_path)
    with pytest.raises(OptionError, match=r"k\.py cannot be read: Permission denied"):
        Gate(options, here=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["k.py"]


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (".", "holds files of the project's own"),
        ("kernel", "holds files of the project's own"),
        ("/", "holds files of the project's own"),
        ("tests/state", "holds files of the project's own"),
        ("conftest.py/state", "holds files of the project's own"),
        ("other.py", "is not a directory"),
        ("pipe", "is not a directory"),
    ],
)
def test_a_state_directory_that_would_do_harm(project: Path, state: str, sentence: str) -> None:
    with pytest.raises(OptionError, match=sentence):
        Options.from_strings({"state": state}, root=project, here=project)


JSON = {
    "kernel": "cannot be written: name a file in an existing directory",
    "nowhere/report.json": "cannot be written: name a file in an existing directory",
    "pipe": "is not a regular file",
    "/dev/null": "is not a regular file",
    "/dev/full": "is not a regular file",
    "kernel/pq_l2.py": "is a file of the experiment's own",
    "results.tsv": "is a file of the experiment's own",
    "conftest.py": "is a file of the experiment's own",
    "tests/report.json": "is a file of the experiment's own",
    "pyproject.toml": "is a file of the experiment's own",
    ".lance_ar/report.json": "is a file of the experiment's own|in an existing directory",
}


@pytest.mark.parametrize(("name", "sentence"), JSON.items(), ids=JSON)
def test_a_json_file_that_would_do_harm(project: Path, name: str, sentence: str) -> None:
    with pytest.raises(OptionError, match=sentence):
        Options.from_strings({"json": name}, root=project, here=project)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", ["/proc/report.json", "/sys/report.json"])
def test_a_json_file_that_cannot_be_made_is_found_out_at_the_start(project: Path, name: str) -> None:
    before = tree(project)
    options = Options.from_strings({"json": name}, root=project, here=project)
    with pytest.raises(OptionError, match=r"--lance-ar-json .* cannot be written: "):
        Gate(options, here=project)
    assert tree(project) == before


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("against", ["pipe", "endless", "loop", "dangling", "kernel", "--help", "-x", "a\nb", "\ud800"])
def test_an_incumbent_that_is_none(project: Path, against: str) -> None:
    options = Options.from_strings({"against": against}, root=project, here=project)
    with pytest.raises(OptionError, match="--lance-ar-against"):
        Gate(options, here=project)


@pytest.mark.usefixtures("quick")
def test_an_incumbent_that_is_too_large_is_said_to_be(project: Path) -> None:
    options = Options.from_strings({"against": "huge"}, root=project, here=project)
    with pytest.raises(OptionError, match="--lance-ar-against 'huge' cannot be read: larger than"):
        Gate(options, here=project)


def test_the_named_default_state_is_the_default(tmp_path: Path) -> None:
    (tmp_path / "kernel").mkdir()
    (tmp_path / "kernel" / "pq_l2.py").write_text(LITTLE)
    named = Options.from_strings({"state": ".lance_ar"}, root=tmp_path, here=tmp_path)
    assert named.ledger == tmp_path / "results.tsv"


# Through pytest itself -----------------------------------------------------------------------------------------------


@pytest.fixture
def real(tmp_path: Path) -> Path:
    return project_at(tmp_path / "project", MEASURE)


def run(root: Path, *arguments: str, user: int | None = None) -> subprocess.CompletedProcess[bytes]:
    """A real gate. Its caches go elsewhere."""
    return subprocess.run(
        [sys.executable, "-B", "-m", "pytest", "--lance-ar", "-p", "no:cacheprovider", *arguments],
        cwd=root,
        capture_output=True,
        check=False,
        user=user,
        timeout=120,
    )


def some_slow(cases: Mapping[str, object], quick: Collection[str]) -> list[ParameterSet]:
    """Parameters of which the plain run takes only the quick ones; each starts a process."""
    assert set(quick) <= set(cases)
    slow = pytest.mark.exhaustive
    return [pytest.param(case, id=name, marks=() if name in quick else slow) for name, case in cases.items()]


def is_a_usage_error(done: subprocess.CompletedProcess[bytes]) -> None:
    output = done.stdout + done.stderr
    assert done.returncode == 4, output
    assert b"Traceback" not in output, output
    assert b"ERROR: " in output or b"error: " in output, output


def is_none(done: subprocess.CompletedProcess[bytes], root: Path, before: dict[str, int]) -> None:
    is_a_usage_error(done)
    assert tree(root) == before


SAMPLE: dict[str, list[str]] = {
    "a seed of words": ["--lance-ar-seed", "many"],
    "a budget of nothing": ["--lance-ar-budget=-0"],
    "no argument": ["--lance-ar-note"],
    "a ref like an option": ["--lance-ar-against=--help"],
    "a ref with a newline": ["--lance-ar-against", "HEAD\n"],
    "a lone byte": ["--lance-ar-kernel", os.fsdecode(b"\xff\xfe")],
    "an ini option of letters": ["-o", "lance_ar_budget=ages"],
    "an ini seed": ["-o", "lance_ar_seed=-3"],
    "an ini kernel": ["-o", "lance_ar_kernel=/dev/zero"],
    "an ini state": ["-o", "lance_ar_state=pytest.ini"],
    "an ini tolerance": ["-o", "lance_ar_rtol=inf"],
    "a report to a device": ["--lance-ar-json", "/dev/full"],
    "a report to the kernel": ["--lance-ar-json", "kernel/pq_l2.py"],
}


@pytest.mark.parametrize(
    "arguments", some_slow(SAMPLE, {"a ref with a newline", "an ini seed", "a report to a device"})
)
def test_pytest_says_it_and_nothing_is_written(real: Path, arguments: list[str]) -> None:
    before = tree(real)
    is_none(run(real, *arguments), real, before)


@pytest.mark.exhaustive
@settings(max_examples=40)
@given(
    name=st.sampled_from(["kernel", "seed", "budget", "state", "rtol", "min-gain", "phase", "json", "against"]),
    value=st.text(string.printable, min_size=1, max_size=12).map(lambda text: f"no/such/{text}".replace("\0", "")),
    ini=st.booleans(),
)
def test_any_nonsense_through_pytest(
    tmp_path_factory: pytest.TempPathFactory, name: str, value: str, ini: bool
) -> None:
    root = tmp_path_factory.mktemp("nonsense")
    (root / "kernel").mkdir()
    (root / "kernel" / "pq_l2.py").write_text(kernels.PURE_PYTHON)
    (root / "pytest.ini").write_text("[pytest]\n")
    (root / "no").touch()  # so that no path below it can be made
    before = tree(root)
    option = ["-o", f"lance_ar_{name}={value}"] if ini and name in INI_TWINS else [f"--lance-ar-{name}={value}"]
    is_none(run(root, *option), root, before)


def spoil_with(write: Callable[[Path], object]) -> Callable[[Path], None]:
    def spoil(kernel: Path) -> None:
        kernel.unlink()
        write(kernel)

    return spoil


def make_huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


UNJUDGED = {
    "a directory": spoil_with(Path.mkdir),
    "a pipe": spoil_with(os.mkfifo),
    "an endless device": spoil_with(lambda path: path.symlink_to("/dev/zero")),
    "a dangling link": spoil_with(lambda path: path.symlink_to("nowhere")),
    "a loop": spoil_with(lambda path: path.symlink_to(path)),
    "a huge file": spoil_with(make_huge),
}
JUDGED = {
    "an empty file": spoil_with(Path.touch),
    "bytes": spoil_with(lambda path: path.write_bytes(bytes(range(256)))),
    "a link outside": spoil_with(lambda path: path.symlink_to("/etc/passwd")),
}


@pytest.mark.parametrize("spoil", some_slow(UNJUDGED, {"a pipe", "an endless device"}))
def test_a_kernel_that_is_no_file(real: Path, spoil: Callable[[Path], None]) -> None:
    spoil(real / "kernel" / "pq_l2.py")
    before = tree(real)
    is_none(run(real), real, before)


@pytest.mark.parametrize("spoil", some_slow(JUDGED, {"bytes"}))
def test_a_kernel_that_is_no_kernel_is_incorrect(real: Path, spoil: Callable[[Path], None]) -> None:
    spoil(real / "kernel" / "pq_l2.py")
    done = run(real)
    assert done.returncode == 2, done.stdout + done.stderr
    assert b"Traceback" not in done.stdout + done.stderr
