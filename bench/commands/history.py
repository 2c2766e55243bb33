"""``history``: the results of each commit on this machine, and where they changed."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from crossover.bench import display
from crossover.bench.commands.arguments import add_output, add_several
from crossover.bench.commands.output import EXIT_FINE, say
from crossover.bench.errors import InputError
from crossover.bench.gate import history
from crossover.bench.store import Store


def add(commands: Any) -> None:
    """Add the command to ``commands``."""
    parser = commands.add_parser(
        "history",
        help="what the gate measured of each commit, and where it changed",
        description="Show the trend of each quantity over the commits that 'gate' measured here.",
        epilog="example: crossover history --kernels numba-tiled",
    )
    add_several(parser, "--kernels", "NAME", (), "only of these (default: all)")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the history (default: the user's cache)"
    )
    add_output(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace, command: str) -> int:
    from crossover.reports import trends

    path = history.path_in(options.out)
    if not path.exists():
        raise InputError(f"no history in {path.parent}: run 'gate --base REV' first")
    store = Store(path)
    try:
        frame = store.commit_frame()
    finally:
        store.close()
    if options.kernels:
        words = frame["name"].str.replace(",", " ").str.split()
        frame = frame[[bool(set(each) & set(options.kernels)) for each in words]]
    if frame.empty:
        raise InputError("no commit was measured here: run 'gate --base REV' first")
    found = history.trends(frame)
    if options.json:
        print(json.dumps([asdict(each) for each in found]))
    else:
        display.table(trends.table(found))
    if reason := history.unavailable():
        say(options, f"change points are not shown: {reason}")
    return EXIT_FINE
