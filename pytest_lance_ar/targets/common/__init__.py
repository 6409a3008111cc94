"""What targets share.

For any kernel:
- `inputs`: seeded streams, vectors of every distribution; `draw`: sizes from a seed, spread or dealt;
  `strategies`: what a suite draws with Hypothesis; `specs`: a case as a line of text, and back.
- `equivalence`: arrays and tie-tolerant top-k answers beside the reference's.
- `reduction`: a failing case of arrays made small; `extent`: from which sizes on it fails.
- `sessions`: the life of one object, and whether an answer changed meanwhile; `guards`: short calls made in one go.
- `driver`: checks inside the kernel's process.

For product quantizers, in `pq`: `metric` says what tells one PQ target from another; shape, quantizer, reference,
cases, answers, the domain, guard workloads, driver, suite and target are the same for all of them.
"""
