"""What a kernel for Lance has to pass on its way there: a part of the checklist that `finalize` writes."""

from __future__ import annotations

from typing import Final

UPSTREAM: Final = """\
Lance:

- [ ] The technique, not the Python, is ported to Lance's Rust kernel at HEAD (`rust/lance-index/src/vector/pq/`).
- [ ] `cargo test -p lance-index` passes; a test of the new path fails when the path is broken.
- [ ] `cargo bench -p lance-index --bench pq_dist_table` and `--bench pq_assignment`, before and after, on one machine.
- [ ] The share of a whole query that this is was measured on a real index, and is named in the pull request.
- [ ] Lance is Apache-2.0: this work (MIT or Apache-2.0, at your choice) goes there under Apache-2.0.
"""
