"""``selfcheck``: whether measurements here can be trusted."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from crossover.bench.commands.conducting import StudyOptions, conduct_and_show
from crossover.bench.commands.output import EXIT_FINE, EXIT_USAGE, print_table
from crossover.bench.errors import InputError
from crossover.bench.options.declaration import add_options, option
from crossover.bench.options.parser import add_command
from crossover.bench.statistics.calibration import Calibration, repeats
from crossover.bench.statistics.checks import Check, calibration, checks
from crossover.bench.studies import selfcheck
from crossover.reports import results

_SWEEP = "sweep"


@dataclass(frozen=True)
class SelfcheckOptions(StudyOptions):
    """What is checked: this machine, or two runs that it has made."""

    runs: tuple[Path, ...] = option(
        (),
        "--runs",
        metavar="DIR",
        convert=Path,
        help="measure nothing: hold two folders with results of the same 'run' against each other",
    )


def add(commands: Any) -> None:
    """Add the command to ``commands``."""
    parser = add_command(
        commands,
        "selfcheck",
        help="whether measurements here can be trusted (eight minutes)",
        description="Hold the harness to A/A comparisons, to pyperf, to repeated searches, to the "
        "same sweep taken twice, and to its own overhead.",
        epilog="example: crossover selfcheck --runs results/monday results/tuesday",
    )
    add_options(parser, SelfcheckOptions)
    parser.set_defaults(run=_run, kept="the checks made so far are kept, and the rest goes on")


def _run(options: argparse.Namespace, command: str) -> int:
    if options.runs:
        found = _of_two_runs(options.runs)
        print_table([asdict(each) for each in found], options.json)
        return _exit_code(found)
    code = conduct_and_show(options, command, selfcheck.studies(), "selfcheck")
    if code != EXIT_FINE:
        return code
    kept = results.load(options.out)
    return _exit_code(checks(kept.series, kept.kernels))


def _of_two_runs(folders: Sequence[Path]) -> list[Check]:
    """Return what the sweeps of two folders say of their intervals.

    Raises:
        InputError: if they are not two, of two machines, or have no speedup in common.
    """
    if len(folders) != 2:
        raise InputError(f"--runs names {len(folders)} folders: give two, of the same sweep")
    first, second = (results.load(folder) for folder in folders)
    if first.run.machine != second.run.machine:
        raise InputError(
            f"{folders[0]} was measured on {first.run.machine_title}, {folders[1]} on "
            f"{second.run.machine_title}: give two runs of one machine"
        )
    kernels = first.kernels | second.kernels
    found = repeats(first.visits_of(_SWEEP), second.visits_of(_SWEEP), kernels)
    if not found:
        raise InputError(
            f"{folders[0]} and {folders[1]} have no speedup in common: take the same sweep twice"
        )
    return calibration(Calibration.of(found))


def _exit_code(found: Sequence[Check]) -> int:
    return EXIT_USAGE if any(each.verdict == "failed" for each in found) else EXIT_FINE
