"""Judges kernels outside a pytest run of their project: one for an evolutionary search, or a set to rank."""
