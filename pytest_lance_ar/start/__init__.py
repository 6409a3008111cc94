"""How an experiment begins: the kernel to start from, the agent's instructions, and what else a directory needs."""
