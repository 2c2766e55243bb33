"""What the commands share of their output: exit codes, tables and remarks."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import pandas as pd

from crossover.bench import display, machine
from crossover.bench.errors import Interrupted

_Found = TypeVar("_Found")
EXIT_FINE, EXIT_USAGE, EXIT_WRONG, EXIT_INTERRUPTED = 0, 2, 3, 130


def conditions() -> dict[str, Any]:
    """Return on what machine, with what libraries and by what code something was measured."""
    return {
        "machine": machine.identity(),
        "versions": machine.versions(),
        "revision": machine.revision(),
    }


def so_far(measure: Callable[[], _Found]) -> tuple[_Found, bool]:
    """Return what ``measure`` found, all or until the user stopped it; and whether that was so."""
    try:
        return measure(), False
    except Interrupted as stopped:
        return stopped.found, True


def ended(stopped: bool, code: int) -> int:
    """Return the exit code of a command that has shown what it found; says if it was stopped."""
    if stopped:
        print("crossover: stopped; what was found so far is above", file=sys.stderr)
    return EXIT_INTERRUPTED if stopped else code


def print_table(lines: list[dict[str, Any]], as_json: bool) -> None:
    """Print ``lines``, which have the same keys, on stdout."""
    if as_json:
        print(json.dumps(lines))
    else:
        display.table(pd.DataFrame(lines))


def say(options: argparse.Namespace, line: str) -> None:
    """Print a remark on stderr, unless the user wants none."""
    if not options.quiet:
        print(line, file=sys.stderr)
