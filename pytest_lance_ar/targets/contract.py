"""What a kernel's process and the targets' drivers agree on."""

from __future__ import annotations


class ContractBroken(Exception):
    """The kernel does not keep the contract; the message says in one sentence what it must do."""
