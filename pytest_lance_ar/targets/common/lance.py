"""What a kernel for Lance has to pass on its way there: a part of the checklist that `finalize` writes."""

from __future__ import annotations

from typing import Final

UPSTREAM: Final = """\
Lance:

- [ ] The technique, not the Python, is ported to Lance's Rust kernel at HEAD of github.com/lance-format/lance: tables
      and scan are in `rust/lance-index/src/vector/pq/distance.rs`, the layout of codes is in `pq/storage.rs` beside it.
- [ ] SIMD is chosen when it runs, as in `rust/lance-linalg`: Lance's CI runs a build for x86-64-v2 on a CPU without it.
- [ ] `cargo test -p lance-index` passes (it needs `protoc`); a test of the new path fails when the path is broken.
      Lance merges no code without tests.
- [ ] `cargo fmt -- --check` and `cargo clippy --all-targets -- -D warnings` pass, as Lance's CI has them.
- [ ] `cargo bench -p lance-index --bench pq_dist_table`, before and after, on one machine: `construct_dist_table` is
      the table, `compute_distances` the scan. All codes of that benchmark are alike; try random ones as well.
- [ ] The share of a whole query that this is was measured on a real index, and is named in the pull request.
- [ ] Lance is Apache-2.0: this work (MIT or Apache-2.0, at your choice) goes there under Apache-2.0.
"""
