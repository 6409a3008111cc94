"""What `python -m pytest_lance_ar` can do, one module a command: `add_to` declares it and names what runs it."""

from __future__ import annotations

import argparse
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
