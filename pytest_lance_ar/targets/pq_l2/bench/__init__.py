"""What `bench` times of `pq_l2` beside its combos and guard workloads: other sizes, shapes, data, faiss, real Lance."""
