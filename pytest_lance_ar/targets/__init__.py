"""Kernel targets: what can be judged. One folder a target; the folder's package defines TARGET.

To add one (PQ dot product, cosine): a folder here with its shapes, inputs, reference, equivalence, a driver for the
kernel's process and a suite. Nothing outside the folder changes.
"""
