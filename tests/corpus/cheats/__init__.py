"""The cheats, by what they attack."""

from __future__ import annotations

from tests.corpus.cheats import (
    clock,
    contract,
    memory,
    numba_caches,
    replay,
    sabotage,
    state,
    two_faces,
    unstopped,
    verdict,
)

GROUPS = {
    "verdict": verdict.CHEATS,
    "clock": clock.CHEATS,
    "replay": replay.CHEATS,
    "memory": memory.CHEATS,
    "two faces": two_faces.CHEATS,
    "sabotage": sabotage.CHEATS,
    "state": state.CHEATS,
    "numba": numba_caches.CHEATS,
    "contract": contract.CHEATS,
    "unstopped": unstopped.CHEATS,
}
