"""The kernels of the tests: each is one file by itself, and made from others only where their text is as expected."""

from __future__ import annotations

import pytest

from tests.corpus import honest
from tests.kernels import BASELINE, SHARED, changed, definition, whole
from tests.mutants.mutant import BASES

ALL = {**BASES, **honest.KERNELS}


@pytest.mark.parametrize("name", ALL)
def test_a_kernel_is_one_file_by_itself(name: str) -> None:
    assert not SHARED.search(ALL[name])


def test_a_definition_takes_the_place_of_its_import() -> None:
    text = "STEP = 4\nfrom tests.mutants.bases.plain import PqKernel as Plain\nclass PqKernel(Plain): pass\n"
    names: dict[str, type] = {}
    exec("import numpy as np\n" + whole(text), names)
    assert names["PqKernel"].__base__ is names["Plain"]
    assert "@njit\ndef fill_table" in whole("from pytest_lance_ar.targets.pq_l2.baseline import fill_table  # why\n")


def test_a_text_that_is_not_there_is_not_replaced_in_silence() -> None:
    with pytest.raises(ValueError, match="0 places, not 1"):
        changed("a b", "c", "d")
    with pytest.raises(ValueError, match="2 places, not 1"):
        changed("a b", "b", "a", "a", "c")
    with pytest.raises(ValueError, match="no missing is defined there"):
        definition(BASELINE, "missing")
