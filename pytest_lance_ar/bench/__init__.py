"""The benchmark of `python -m pytest_lance_ar bench`: figures of a kernel, beside those of others.

`workloads` says what is timed, `measure` times it, `table` shows it. It gives no verdict: only the gate does.
"""
