"""The sections that `bench` has for `pq_l2`, and the library that is asked the same: faiss."""

from __future__ import annotations

from collections.abc import Collection
from importlib import metadata, util
from pathlib import Path
from typing import Final

from pytest_lance_ar.targets.benchmarks import Section
from pytest_lance_ar.targets.common.embeddings import DIM, word_embeddings
from pytest_lance_ar.targets.common.pq.shape import PqShape
from pytest_lance_ar.targets.common.pq.target import SHAPES, SPEED_K
from pytest_lance_ar.targets.pq_l2.bench import lance_share, own_data, partitions
from pytest_lance_ar.targets.pq_l2.bench.workloads import HEAVY_TAILED, REAL, Workload
from pytest_lance_ar.targets.pq_l2.target import SPEED_DISTRIBUTIONS

FAISS_DRIVER: Final = "pytest_lance_ar.targets.pq_l2.bench.faiss_driver"
PACKING_DRIVER: Final = "pytest_lance_ar.targets.pq_l2.bench.packing_driver"
OTHER_SHAPES: Final = (PqShape(96, 12), PqShape(1536, 192), PqShape(100, 20, 200), PqShape(64, 8, 16))
SIZES: Final = (20_000, 200_000, 1_000_000)


class PqL2Benchmarks:
    """What kernels of `pq_l2` are timed on beside the gate's own."""

    library = "faiss"

    def version(self) -> str | None:
        if util.find_spec("faiss") is None:
            return None
        try:
            return metadata.version("faiss-cpu")
        except metadata.PackageNotFoundError:  # built by hand, or from another channel
            return "of unknown version"

    def sections(self, quick: bool = False) -> dict[str, Section]:
        speed = SPEED_DISTRIBUTIONS
        sizes = SIZES[:2] if quick else SIZES
        real = [] if word_embeddings() is None else [PqShape(DIM, 16), PqShape(DIM, 32)]
        return {
            "combos": _section("The gate's combos", *(Workload(shape, data) for shape in SHAPES for data in speed)),
            "sizes": Section(
                "From few vectors to many",
                tuple(Workload(SHAPES[0], data, count) for data in speed for count in sizes),
                by_size=True,
                library_driver=FAISS_DRIVER,
                packing_driver=PACKING_DRIVER,
            ),
            "shapes": _section("Other shapes", *(Workload(shape, data) for shape in OTHER_SHAPES for data in speed)),
            "data": _section(
                "Other data",
                *(Workload(shape, data) for shape in (SHAPES[0], SHAPES[2]) for data in HEAVY_TAILED),
                *(Workload(SHAPES[0], data) for data in ("gaussian", "large_dynamic_range", "mostly_zero")),
                *(Workload(shape, REAL) for shape in real),
            ),
            "lance": Section(
                f"As an IVF_PQ index asks: a query visits {partitions.PROBES} of {partitions.PARTITIONS} partitions",
                tuple(partitions.Partitioned(shape) for shape in (SHAPES[0], SHAPES[2])),
                driver=partitions.DRIVER,
                library_driver=partitions.FAISS_DRIVER,
                afterwards=_share_of_lance,
            ),
        }

    def own(self, path: Path, k: int) -> own_data.OwnData:
        return own_data.read(path, k)

    def notes(self, wanted: Collection[str]) -> list[str]:
        lines = [f"k {SPEED_K}"] if wanted else []
        if "data" in wanted and word_embeddings() is None:
            lines.append("real embeddings are not installed and left out: pip install 'pytest-lance-ar[embeddings]'")
        return lines


def _section(title: str, *workloads: Workload) -> Section:
    return Section(title, workloads, library_driver=FAISS_DRIVER)


def _share_of_lance() -> str:
    if not lance_share.installed():
        return ""
    return "".join(f"{lance_share.measure(shape)}\n" for shape in (SHAPES[0], SHAPES[2]))


BENCHMARKS = PqL2Benchmarks()
