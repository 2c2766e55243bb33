"""The command line, as ``crossover`` and as ``python -m bench``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    The commands are imported here, not above: a worker process imports this module, and has no
    use for them.
    """
    return int(importlib.import_module("crossover.bench.commands.main").main(argv))


if __name__ == "__main__":
    sys.exit(main())
