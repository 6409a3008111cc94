"""The kernel host: a child process that loads a kernel, and the parent's handle on it.

`parent` is the gate's side, `child` runs beside the kernel, `wire` is what the two agree on.
"""
