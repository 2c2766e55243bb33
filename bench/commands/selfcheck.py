"""``selfcheck``: whether measurements here can be trusted."""

from __future__ import annotations

import argparse
from typing import Any

from crossover.bench.commands.conducting import StudyOptions, conduct_and_show
from crossover.bench.commands.output import EXIT_FINE, EXIT_USAGE
from crossover.bench.options.declaration import add_options
from crossover.bench.options.parser import add_command
from crossover.bench.statistics.checks import checks
from crossover.bench.studies import selfcheck
from crossover.reports import results


def add(commands: Any) -> None:
    """Add the command to ``commands``."""
    parser = add_command(
        commands,
        "selfcheck",
        help="whether measurements here can be trusted (six minutes)",
        description="Hold the harness to A/A comparisons, to pyperf, to repeated searches, and to "
        "its own overhead.",
    )
    add_options(parser, StudyOptions)
    parser.set_defaults(run=_run, kept="the checks made so far are kept, and the rest goes on")


def _run(options: argparse.Namespace, command: str) -> int:
    code = conduct_and_show(options, command, selfcheck.studies(), "selfcheck")
    if code != EXIT_FINE:
        return code
    found = results.load(options.out)
    verdicts = {each.verdict for each in checks(found.series, found.kernels)}
    return EXIT_USAGE if "failed" in verdicts else EXIT_FINE
