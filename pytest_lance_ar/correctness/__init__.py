"""Examines a kernel case by case, and remembers the cases that earlier kernels failed on."""
