"""The shipped kernel has a path for every kind of CPU: each that this one can run gives the reference's answers."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from llvmlite import binding, ir

from pytest_lance_ar.correctness.examiner import ExaminationFailed, Examiner
from pytest_lance_ar.targets.common.pq.cases import DrawnCase
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.pq_l2.metric import L2
from pytest_lance_ar.targets.pq_l2.target import TARGET
from pytest_lance_ar.trial.deadline import Deadline
from pytest_lance_ar.trial.kernel_source import Kernel
from tests import kernels

FEATURES = {"vbmi": "avx512vbmi", "avx512bw": "avx512bw", "avx2": "avx2", "ssse3": "ssse3"}
WIDTHS = {
    "vbmi": (64, 128, 256),
    "avx512bw": (32, 64, 128, 256),
    "avx2": (32, 64, 128, 256),
    "ssse3": (32, 64, 128, 256),
}
"""Centroids that a kind of bounds is for, at most."""


def cases(num_centroids: int) -> list[DrawnCase]:
    drawn = [
        ("uniform", 1, 3000, 10),
        ("sparse", 2, 20_001, 1),
        ("clustered", 3, 6000, 10),
        ("clustered", 4, 1000, 300),
        ("large_dynamic_range", 5, 2000, 10),
        ("mostly_zero", 6, 2000, 33),
    ]
    shape = PqShape(128, 16, num_centroids)
    return [DrawnCase(L2, shape, distribution, seed=seed, n=n, k=k) for distribution, seed, n, k in drawn] + [
        DrawnCase(L2, PqShape(42, 7, num_centroids), "gaussian", seed=7, n=1700, k=10),
        DrawnCase(L2, PqShape(78, 2, num_centroids - 1), "uniform", seed=8, n=4097, k=5),
        DrawnCase(L2, PqShape(36, 9, num_centroids * 3 // 4), "clustered", seed=9, n=1500, k=10),
        DrawnCase(L2, PqShape(142, 71, num_centroids), "gaussian", seed=10, n=1500, k=10),
    ]


def kernel_for(shuffle: str) -> str:
    """The shipped kernel for another CPU."""
    return kernels.changed(kernels.SHIPPED, "SHUFFLE: Final = host_shuffle()", f'SHUFFLE: Final = "{shuffle}"')


def examine(source: str, cases: list[DrawnCase]) -> None:
    with Examiner(Kernel("kernel.py", source.encode()), TARGET, deadline=Deadline.after(300)) as examiner:
        for case in cases:
            examiner.examine(case)


@pytest.mark.slow
def test_a_cpu_that_nothing_is_known_of_gets_the_same_answers() -> None:
    examine(kernel_for(""), cases(256))


@pytest.mark.slow
@pytest.mark.parametrize(("shuffle", "width"), [(name, width) for name, widths in WIDTHS.items() for width in widths])
def test_every_kind_of_bounds_gives_the_same_answers(shuffle: str, width: int) -> None:
    if not dict(binding.get_host_cpu_features()).get(FEATURES[shuffle]):
        pytest.skip(f"this CPU has no {FEATURES[shuffle]}")
    examine(kernel_for(shuffle), cases(width))


@pytest.mark.slow
@pytest.mark.parametrize("width", [64, 128, 256])
def test_the_answers_depend_on_the_bounds(width: int) -> None:
    """Whatever this CPU has: were the bounds not used, it would do no harm to turn them upside down."""
    entry = 'builder.select(builder.fcmp_ordered("<", value, tops), value, tops)'
    inverted = kernels.changed(kernels.SHIPPED, entry, f"builder.fsub(tops, {entry})")
    with pytest.raises(ExaminationFailed, match="probe_top_k distances"):
        examine(inverted, cases(width))


@pytest.mark.slow
def test_k_and_lists_may_be_larger_than_a_segment() -> None:
    source = kernels.changed(kernels.SHIPPED, "SEGMENT: Final = 16_384", "SEGMENT: Final = 1024")
    clustered = [
        DrawnCase(L2, PqShape(128, 16, 256), "clustered", seed=1, n=20_000, k=k) for k in (10, 200, 2000, 20_000)
    ]
    examine(source, [*clustered, DrawnCase(L2, PqShape(128, 16, 256), "uniform", seed=1, n=3000, k=500)])


@pytest.mark.parametrize("groups", [64, 128, 256])
def test_neon_looks_up_64_bytes_an_instruction(groups: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled for another CPU than this one, and read: run it must be there."""
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    try:
        target = binding.Target.from_triple("aarch64-unknown-linux-gnu")
    except RuntimeError:
        pytest.skip("this LLVM knows no AArch64")
    path = tmp_path / "neon_kernel.py"
    path.write_text(kernel_for("neon"))
    spec = importlib.util.spec_from_file_location("neon_kernel", path)
    assert spec is not None
    assert spec.loader is not None
    kernel = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "neon_kernel", kernel)
    spec.loader.exec_module(kernel)
    kind = next(kind for kind in kernel.KINDS if kind.groups == groups)
    module = ir.Module()
    function = ir.Function(module, ir.FunctionType(kernel.BYTES, [kernel.I64, kernel.BYTES]), "look_up_64")
    builder = ir.IRBuilder(function.append_basic_block())
    builder.ret(kernel.look_up(builder, kind, *function.args))
    assembly = target.create_target_machine(opt=2).emit_assembly(binding.parse_assembly(str(module)))
    looked_up = [line for line in assembly.splitlines() if line.strip().startswith("tbl")]
    assert len(looked_up) == 4 * groups // 64, assembly
