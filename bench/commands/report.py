"""``report``: write the report of what was measured again."""

from __future__ import annotations

import argparse
from typing import Any

from crossover.bench.commands.arguments import add_results
from crossover.bench.commands.output import EXIT_FINE, say


def add(commands: Any) -> None:
    """Add the command to ``commands``."""
    parser = commands.add_parser("report", help="write the report of what was measured again")
    parser.add_argument("--run", dest="run_id", metavar="ID", help="a run (default: the last)")
    add_results(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace, command: str) -> int:
    return write_report(options, options.run_id)


def write_report(options: argparse.Namespace, run_id: str | None) -> int:
    """Write and show the report of a run (None: the last), and return the exit code."""
    from crossover.reports import page

    report = page.load(options.out, run_id)
    paths = page.write(report, options.out)
    if options.json:
        print(page.as_json(report))
    else:
        page.summary(report)
    for path in paths:
        say(options, f"wrote {path}")
    return EXIT_FINE
