"""The gate's correctness phase kills what is wrong by contract, and lets honest kernels of every kind pass."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.mutants.corpus import EQUIVALENT, MUTANTS
from tests.mutants.harness import judge_all, table
from tests.mutants.mutant import BASES, Mutant

HONEST = [Mutant("honest", name, name) for name in BASES]
SAMPLE = ("float64 sums, rounded once", "N a multiple of 512: the last is lost")
"""Two that only a part of the suite can kill, for every run of the tests."""


def test_the_corpus_is_large_and_each_mutant_is_a_change_of_its_own() -> None:
    assert len(MUTANTS) >= 150
    assert not [name for name, times in Counter(m.name for m in (*MUTANTS, *EQUIVALENT)).items() if times > 1]
    sources = Counter(mutant.source for mutant in (*MUTANTS, *EQUIVALENT, *HONEST))
    assert not [source for source, times in sources.items() if times > 1]
    for mutant in (*MUTANTS, *EQUIVALENT, *HONEST):
        compile(mutant.source, mutant.name, "exec")


def test_every_honest_kernel_has_mutants() -> None:
    assert {mutant.base for mutant in MUTANTS} == set(BASES)


def test_what_is_equivalent_has_a_reason() -> None:
    assert all(mutant.why for mutant in EQUIVALENT)
    assert not any(mutant.why for mutant in MUTANTS)


def test_a_sample_is_killed() -> None:
    outcomes = list(judge_all([mutant for mutant in MUTANTS if mutant.name in SAMPLE], seed=0))
    assert len(outcomes) == len(SAMPLE)
    for outcome in outcomes:
        assert outcome.killed, f"{outcome.mutant.name} has status {outcome.status}\n{outcome.output}"
        assert outcome.first_failure
        assert outcome.hint
        assert outcome.replay


@pytest.mark.exhaustive
def test_the_verdict_is_the_same_with_workers() -> None:
    kernels = [Mutant("honest", "plain", "plain"), *(mutant for mutant in MUTANTS if mutant.name == SAMPLE[0])]
    for arguments in ((), ("-n", "2")):
        passes, fails = judge_all(kernels, seed=0, workers=1, arguments=arguments)
        assert passes.passed, passes.output
        assert fails.killed, fails.output


@pytest.mark.parametrize(
    "mutants",
    [pytest.param(MUTANTS[::8], marks=pytest.mark.exhaustive), pytest.param(MUTANTS, marks=pytest.mark.exhaustive)],
    ids=["every eighth", "all"],
)
def test_mutants_are_killed(mutants: tuple[Mutant, ...]) -> None:
    outcomes = list(judge_all(mutants, seed=0))
    print(table(outcomes))
    assert not [outcome.mutant.name for outcome in outcomes if not outcome.killed], table(outcomes)


@pytest.mark.exhaustive
@pytest.mark.parametrize("kernels", [HONEST, EQUIVALENT], ids=["honest", "equivalent"])
def test_what_keeps_the_contract_passes(kernels: list[Mutant]) -> None:
    for outcome in judge_all(kernels, seed=0):
        assert outcome.passed, f"{outcome.mutant.name} has status {outcome.status}\n{outcome.output}"
