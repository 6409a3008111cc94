"""The cheats, by what they attack."""

from __future__ import annotations

from tests.corpus.cheats import (
    clock,
    contract,
    editions,
    float_modes,
    memory,
    numba_caches,
    replay,
    sabotage,
    shared,
    size,
    stalls,
    state,
    stopped,
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
    "stopped": stopped.CHEATS,
    "stalls": stalls.CHEATS,
    "shared": shared.CHEATS,
    "editions": editions.CHEATS,
    "size": size.CHEATS,
    "float modes": float_modes.CHEATS,
    "unstopped": unstopped.CHEATS,
}
