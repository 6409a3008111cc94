"""Options: what is typed becomes checked values, or one sentence about the mistake."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_lance_ar.trial.options import MAX_RTOL, MAX_SEED, OptionError, Options

Values = Mapping[str, str | None]

NAMES = ("kernel", "seed", "budget", "state", "rtol", "min-gain", "against", "note", "json", "phase")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    (root / "kernel").mkdir()
    (root / "kernel" / "pq_l2.py").write_text("class PqKernel: ...\n")
    (root / "below").mkdir()
    (root / "below" / "mine.py").write_text("class PqKernel: ...\n")
    (root / "loop").symlink_to(root / "loop")
    return root


def read(project: Path, values: Values, *, rebaseline: bool = False, here: Path | None = None) -> Options:
    return Options.from_strings(values, root=project, here=here or project, rebaseline=rebaseline)


def mistake(project: Path, values: Values, *, rebaseline: bool = False) -> str:
    with pytest.raises(OptionError) as error:
        read(project, values, rebaseline=rebaseline)
    return str(error.value)


@pytest.mark.parametrize("values", [{}, dict.fromkeys(NAMES, ""), dict.fromkeys(NAMES)], ids=["none", "empty", "None"])
def test_absent_and_empty_values_mean_the_defaults(project: Path, values: Values) -> None:
    options = read(project, values)
    assert options == Options(
        root=project,
        kernel=project / "kernel" / "pq_l2.py",
        state=project / ".lance_ar",
        ledger=project / "results.tsv",
        seed=options.seed,
        budget=600.0,
        against=None,
        note="",
        json=None,
        phase="all",
        rebaseline=False,
        rtol=0.0,
        min_gain=1.0,
    )
    assert 0 <= options.seed <= MAX_SEED


def test_every_run_without_a_seed_draws_another(project: Path) -> None:
    # 32 random bits: four of them are all equal once in 2^96.
    assert len({read(project, {}).seed for _ in range(4)}) > 1


def test_values_are_converted(project: Path) -> None:
    options = read(
        project,
        {
            "seed": str(MAX_SEED),
            "budget": "0.5",
            "rtol": "1e-6",
            "min-gain": "0.25",
            "note": "  two\tSIMD\nlanes ",
            "phase": "correctness",
            "json": "below/report.json",
        },
        rebaseline=True,
    )
    assert options.seed == MAX_SEED
    assert options.budget == 0.5
    assert options.rtol == MAX_RTOL
    assert options.min_gain == 0.25
    assert options.note == "two SIMD lanes"
    assert options.phase == "correctness"
    assert options.json == project / "below" / "report.json"
    assert options.rebaseline


def test_relative_paths_are_relative_to_where_the_command_was_typed(project: Path) -> None:
    below = project / "below"
    options = read(project, {"kernel": "mine.py", "state": "state", "json": "../report.json"}, here=below)
    assert options.kernel == below / "mine.py"
    assert options.state == below / "state"
    assert options.json == project / "report.json"
    assert options.kernel_name == "below/mine.py"


def test_defaults_are_relative_to_the_root_wherever_the_command_was_typed(project: Path) -> None:
    options = read(project, {}, here=project / "below")
    assert options.kernel == project / "kernel" / "pq_l2.py"
    assert options.state == project / ".lance_ar"


def test_a_kernel_outside_the_project_keeps_its_whole_path_as_its_name(project: Path, tmp_path: Path) -> None:
    kernel = tmp_path / "other.py"
    kernel.touch()
    assert read(project, {"kernel": str(kernel)}).kernel_name == str(kernel)


def test_the_ledger_lies_beside_the_default_state(project: Path) -> None:
    assert read(project, {}).ledger == project / "results.tsv"


def test_the_ledger_lies_inside_a_state_directory_of_the_users_choice(project: Path) -> None:
    assert read(project, {"state": "below"}).ledger == project / "below" / "results.tsv"


def test_a_missing_kernel(project: Path) -> None:
    assert mistake(project, {"kernel": "none.py"}) == (
        f"no kernel file at {project / 'none.py'}; name one with --lance-ar-kernel PATH"
    )


def test_a_missing_default_kernel(tmp_path: Path) -> None:
    assert mistake(tmp_path, {}).startswith(f"no kernel file at {tmp_path / 'kernel' / 'pq_l2.py'};")


def test_a_directory_for_a_kernel(project: Path) -> None:
    assert mistake(project, {"kernel": "kernel"}) == (
        f"{project / 'kernel'} is not a file; --lance-ar-kernel names one Python file"
    )


@pytest.mark.parametrize("budget", ["nan", "inf", "-inf", "-1", "0", "-0.0", "1e999", "ten", "10s", "0x10", " "])
def test_a_budget_that_is_no_positive_number(project: Path, budget: str) -> None:
    assert mistake(project, {"budget": budget}) == f"--lance-ar-budget must be a number above 0, not {budget!r}"


@pytest.mark.parametrize("rtol", ["nan", "inf", "-1e-9", "none", "1e999"])
def test_an_rtol_that_is_no_number_of_at_least_zero(project: Path, rtol: str) -> None:
    assert mistake(project, {"rtol": rtol}) == f"--lance-ar-rtol must be a number of at least 0, not {rtol!r}"


@pytest.mark.parametrize("share", ["nan", "inf", "-1", "1%", "none"])
def test_a_gain_that_is_no_number_of_at_least_zero(project: Path, share: str) -> None:
    assert mistake(project, {"min-gain": share}) == f"--lance-ar-min-gain must be a number of at least 0, not {share!r}"


def test_a_gain_that_nobody_finds(project: Path) -> None:
    assert read(project, {"min-gain": "100"}).min_gain == 100
    assert mistake(project, {"min-gain": "101"}) == (
        "--lance-ar-min-gain 101 is too large: it is in percent, 100 at the most"
    )


@pytest.mark.parametrize("rtol", ["1.0000001e-6", "1e-5", "1"])
def test_an_rtol_that_u16_tables_would_pass(project: Path, rtol: str) -> None:
    sentence = mistake(project, {"rtol": rtol})
    assert sentence.startswith("--lance-ar-rtol ")
    assert sentence.endswith("is too large: above 1e-06, tables of 16-bit integers would pass")


@pytest.mark.parametrize("seed", ["-1", str(MAX_SEED + 1), "1.5", "1e3", "seven", "nan", "9" * 5000])
def test_a_seed_out_of_range(project: Path, seed: str) -> None:
    assert mistake(project, {"seed": seed}) == f"--lance-ar-seed must be a whole number from 0 to 2^63-1, not {seed!r}"


def test_an_unknown_phase(project: Path) -> None:
    assert mistake(project, {"phase": "speed"}) == "--lance-ar-phase must be one of all, correctness, not 'speed'"


def test_a_file_for_a_state_directory(project: Path) -> None:
    path = project / "below" / "mine.py"
    assert mistake(project, {"state": "below/mine.py"}) == f"--lance-ar-state {path} is not a directory"


@pytest.mark.parametrize("json", ["none/report.json", "below", "below/mine.py/report.json"])
def test_a_json_file_that_cannot_be(project: Path, json: str) -> None:
    assert mistake(project, {"json": json}) == (
        f"--lance-ar-json {project / json} cannot be written: name a file in an existing directory"
    )


def test_against_and_rebaseline_exclude_each_other(project: Path) -> None:
    assert mistake(project, {"against": "main"}, rebaseline=True) == (
        "--lance-ar-against stores nothing and --lance-ar-rebaseline stores; choose one"
    )


@pytest.mark.parametrize("name", ["kernel", "state", "json"])
def test_a_nul_character_in_a_path(project: Path, name: str) -> None:
    assert mistake(project, {name: "a\0b"}) == f"--lance-ar-{name}: a path has no NUL character"


@pytest.mark.parametrize("name", ["kernel", "state", "json"])
@pytest.mark.parametrize("path", ["a" * 300, "loop", "loop/x"], ids=["too long", "loop", "in a loop"])
def test_a_path_that_the_system_cannot_look_up_is_no_crash(project: Path, name: str, path: str) -> None:
    # Which of them Python itself refuses depends on its version; a state directory or a JSON file may be new.
    with suppress(OptionError):
        assert read(project, {name: path}) is not None
        assert name != "kernel"


texts = st.one_of(
    st.text(),
    st.text("./\\~a\0 ", max_size=12),
    st.sampled_from(["kernel", "below", "below/mine.py", "kernel/pq_l2.py", "all", "correctness", "HEAD"]),
    st.floats().map(str),
    st.integers().map(str),
)


@settings(max_examples=300)
@given(values=st.dictionaries(st.sampled_from(NAMES), texts), rebaseline=st.booleans())
def test_any_text_gives_options_or_one_sentence(project: Path, values: dict[str, str], rebaseline: bool) -> None:
    try:
        options = read(project, values, rebaseline=rebaseline)
    except OptionError:
        pass  # any other exception fails this test
    else:
        assert options.kernel.is_file()
        assert options.kernel.is_absolute()
        assert options.state.is_absolute()
        assert not options.state.is_file()
        assert options.budget > 0
        assert 0 <= options.rtol <= MAX_RTOL
        assert 0 <= options.seed <= MAX_SEED
        assert options.phase in ("all", "correctness")
        assert "\n" not in options.note
        assert not (options.against and options.rebaseline)
