"""Ledgers as long campaigns leave them behind, drawn from a seed."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping

from pytest_lance_ar.store.ledger import COLUMNS

IDEAS = (
    "four sub-vectors a pass",
    "transpose the codebook to (M, dsub, K)",
    "row-major codes, eight independent accumulators",
    "bound with u8 tables rounded down, re-score the rest exactly",
    "heap of k in registers",
    "prefetch the next block of codes",
    "group minima: skip 32 vectors at once",
    "unroll the table's inner loop by 8",
    "smaller blocks: 256 distances stay in L1",
    "AVX2 byte shuffles for the lower bound, through llvmlite",
    "drop the branch in the heap's sift",
    "sort groups by their minimum before the scan",
    "simplify: one loop instead of three",
    "table rows padded to 64 bytes",
)


def campaign(trials: int, seed: int = 7) -> str:
    """A ledger's text: a baseline, then trials of which the kept ones become rarer and smaller, as in life."""
    draw = random.Random(seed)
    rows = [_row(1, "baseline", description="baseline", geomean_ns="226904")]
    for number in range(2, trials + 1):
        fate = draw.random()
        note = f"{draw.choice(IDEAS)} {draw.choice(('', 'again', '(v2)', 'with k = 10 in mind, and the tail apart'))}"
        tired = 1 + number / 6
        if fate < 0.04 + 0.3 / tired or number == 2:
            rows.append(_row(number, "keep", math.exp(0.006 + draw.expovariate(tired / 0.25)), description=note))
        elif fate < 0.72:
            rows.append(_row(number, "discard", math.exp(-draw.expovariate(12)), description=note))
        elif fate < 0.76:
            rows.append(_row(number, "inconclusive", draw.gauss(1, 0.01), spread=0.04, description=note))
        elif fate < 0.95:
            rows.append(
                _row(number, "incorrect", description=note, reason="distance_table[3, 7]: expected 1.5, got 1.75")
            )
        elif fate < 0.985:
            rows.append(_row(number, "timeout", description=note, reason="probe_top_k did not return"))
        else:
            rows.append(_row(number, "tampered", description=note, reason="tests/builders.py changed"))
    return ledger_of(rows)


def ledger_of(rows: Iterable[Mapping[str, str]], columns: Iterable[str] = COLUMNS) -> str:
    """A ledger's text of these cells."""
    names = tuple(columns)
    return "".join(
        "\t".join(cells) + "\n" for cells in (names, *([row.get(name, "") for name in names] for row in rows))
    )


def _row(
    number: int, verdict: str, speedup: float | None = None, *, spread: float = 0.005, **cells: str
) -> dict[str, str]:
    row = {
        "commit": f"{number * 2654435761 % 16**7:07x}",
        "timestamp": f"2026-02-{3 + number // 1440:02d}T{number // 60 % 24:02d}:{number % 60:02d}:06Z",
        "verdict": verdict,
        "correctness": "fail" if verdict == "incorrect" else "pass",
        "total_seconds": "12.3",
        **cells,
    }
    if speedup is not None:
        low, high = speedup * (1 - spread), speedup * (1 + spread)
        row.update(speedup=f"{speedup:.4f}", speedup_lo=f"{low:.4f}", speedup_hi=f"{high:.4f}", geomean_ns="180000")
    return row
