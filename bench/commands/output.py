"""What the commands share of their output: exit codes, tables, remarks."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import pandas as pd

from crossover.reports import terminal

EXIT_FINE, EXIT_REGRESSION, EXIT_USAGE, EXIT_WRONG, EXIT_INTERRUPTED = 0, 1, 2, 3, 130


def print_table(lines: list[dict[str, Any]], as_json: bool) -> None:
    """Print ``lines``, which have the same keys, on stdout."""
    if as_json:
        print(json.dumps(lines))
    else:
        terminal.table(pd.DataFrame(lines), most=None)


def say(options: argparse.Namespace, line: str) -> None:
    """Print a remark on stderr, unless the user wants none."""
    if not options.quiet:
        print(line, file=sys.stderr)
