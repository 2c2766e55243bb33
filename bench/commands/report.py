"""``report``: write and show the report of what was measured again."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

from crossover.bench.commands.conducting import OutputOptions, show
from crossover.bench.commands.output import EXIT_FINE
from crossover.bench.options.declaration import add_options, option
from crossover.bench.options.parser import add_command


@dataclass(frozen=True)
class ReportOptions(OutputOptions):
    """Which run is shown."""

    run_id: str | None = option(
        None, "--run", metavar="ID", help="a run", shown="the one measured last"
    )


def add(commands: Any) -> None:
    """Add the command to ``commands``."""
    parser = add_command(commands, "report", help="write the report of what was measured again")
    add_options(parser, ReportOptions)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace, command: str) -> int:
    show(options, None, options.run_id)
    return EXIT_FINE
