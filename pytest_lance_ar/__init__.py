"""An experiment gate for autoresearch: `pytest --lance-ar` judges a kernel, of product quantization or your own.

Importing this package imports nothing else: a kernel's process needs `PqShape` and no more, and a plain pytest run
of another project pays nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_lance_ar.population.evaluator import evaluate
    from pytest_lance_ar.targets.common.pq.shape import PqShape

__version__ = "0.1.0"
__all__ = ["PqShape", "__version__", "evaluate"]


def __getattr__(name: str) -> object:
    if name == "PqShape":
        from pytest_lance_ar.targets.common.pq.shape import PqShape

        return PqShape
    if name == "evaluate":
        from pytest_lance_ar.population.evaluator import evaluate

        return evaluate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
