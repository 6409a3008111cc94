"""The gate's correctness phase kills what is wrong by contract, and lets honest kernels of every kind pass."""

from __future__ import annotations

import multiprocessing
from collections import Counter

import pytest

from tests.mutants.corpus import EQUIVALENT, MUTANTS
from tests.mutants.dot_product import DOT, HONEST_DOT
from tests.mutants.harness import judge_all, table
from tests.mutants.mutant import BASES, DOT_BASES, Mutant
from tests.mutants.together import outcomes_together

HONEST = [Mutant("honest", name, name) for name in BASES]
SAMPLE = ("float64 sums, rounded once", "N a multiple of 512: the last is lost")
"""Two that only a part of the suite can kill, for every run of the tests."""
DOT_SAMPLE = "the radius counts the wrong way"


def test_the_corpus_is_large_and_each_mutant_is_a_change_of_its_own() -> None:
    assert len(MUTANTS) >= 150
    assert not [name for name, times in Counter(m.name for m in (*MUTANTS, *EQUIVALENT)).items() if times > 1]
    sources = Counter(mutant.source for mutant in (*MUTANTS, *EQUIVALENT, *HONEST))
    assert not [source for source, times in sources.items() if times > 1]
    for mutant in (*MUTANTS, *EQUIVALENT, *HONEST):
        compile(mutant.source, mutant.name, "exec")


def test_the_corpus_of_inner_products_is_one_of_its_own() -> None:
    assert sum(mutant.base in DOT_BASES for mutant in DOT) >= 70
    assert len(DOT) >= 120
    sources = Counter(mutant.source for mutant in (*DOT, *HONEST_DOT))
    assert not [source for source, times in sources.items() if times > 1]
    for mutant in (*DOT, *HONEST_DOT):
        compile(mutant.source, mutant.name, "exec")


def test_every_honest_kernel_has_mutants() -> None:
    assert {mutant.base for mutant in MUTANTS} == set(BASES)
    assert {mutant.base for mutant in DOT} >= set(DOT_BASES)


def test_what_is_equivalent_has_a_reason() -> None:
    assert all(mutant.why for mutant in EQUIVALENT)
    assert not any(mutant.why for mutant in MUTANTS)


def test_a_sample_is_killed() -> None:
    mutants = [mutant for mutant in MUTANTS if mutant.name in SAMPLE]
    mutants += [mutant for mutant in DOT if mutant.name == DOT_SAMPLE]
    outcomes = list(judge_all(mutants, seed=0))
    assert len(outcomes) == len(SAMPLE) + 1
    for outcome in outcomes:
        assert outcome.killed, f"{outcome.mutant.name} has status {outcome.status}\n{outcome.output}"
        assert outcome.first_failure
        assert outcome.hint
        assert outcome.replay


@pytest.mark.slow
def test_kernels_that_are_judged_together_fare_as_before_a_gate() -> None:
    kernels = [Mutant("honest", "plain", "plain"), *(mutant for mutant in MUTANTS if mutant.name in SAMPLE)]
    with multiprocessing.get_context("forkserver").Pool(1) as pool:
        honest, *wrong = pool.apply(outcomes_together, (kernels, 0))
    assert honest.passed, honest.first_failure
    assert len(wrong) == len(SAMPLE)
    assert all(outcome.killed for outcome in wrong), table(wrong)


@pytest.mark.exhaustive
def test_the_verdict_is_the_same_with_workers() -> None:
    kernels = [Mutant("honest", "plain", "plain"), *(mutant for mutant in MUTANTS if mutant.name == SAMPLE[0])]
    for arguments in ((), ("-n", "2")):
        passes, fails = judge_all(kernels, seed=0, workers=1, arguments=arguments)
        assert passes.passed, passes.output
        assert fails.killed, fails.output


@pytest.mark.parametrize(
    "mutants",
    [pytest.param(some, marks=pytest.mark.exhaustive) for some in (MUTANTS[::8], MUTANTS, DOT)],
    ids=["every eighth", "all", "inner products"],
)
def test_mutants_are_killed(mutants: tuple[Mutant, ...]) -> None:
    outcomes = list(judge_all(mutants, seed=0))
    print(table(outcomes))
    assert not [outcome.mutant.name for outcome in outcomes if not outcome.killed], table(outcomes)


@pytest.mark.exhaustive
@pytest.mark.parametrize("kernels", [HONEST, EQUIVALENT, HONEST_DOT], ids=["honest", "equivalent", "inner products"])
def test_what_keeps_the_contract_passes(kernels: list[Mutant]) -> None:
    for outcome in judge_all(kernels, seed=0):
        assert outcome.passed, f"{outcome.mutant.name} has status {outcome.status}\n{outcome.output}"
