"""``gate``: are one version's kernels slower than another's, or wrong?"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossover.bench.commands.output import (
    EXIT_FINE,
    EXIT_REGRESSION,
    EXIT_USAGE,
    EXIT_WRONG,
    print_table,
    say,
)
from crossover.bench.commands.progress_bar import progress
from crossover.bench.errors import InputError
from crossover.bench.gate import history
from crossover.bench.gate.comparison import Comparison
from crossover.bench.gate.selfcheck import checks as selfcheck
from crossover.bench.gate.session import GateSpec, UnloadableHeadError, compare
from crossover.bench.options.declaration import add_options, from_options, option
from crossover.bench.options.parser import add_command
from crossover.bench.options.values import positive_int
from crossover.bench.records.store import Store
from crossover.reports import page, results, terminal
from crossover.reports.exports import gate as exports
from crossover.reports.foreign import terminal_text

_FOLDER = Path("results") / "gate"


@dataclass(frozen=True)
class _Options:
    """What is done with what the gate finds; and its self-check."""

    export: Path | None = option(
        None,
        "--export",
        metavar="DIR",
        convert=Path,
        help="write summary.md, junit.xml, and the formats of other tools",
    )
    out: Path | None = option(
        None,
        "--out",
        metavar="DIR",
        convert=Path,
        help="folder of what is measured, and of the history",
        shown=f"{_FOLDER}; for the history, the user's cache",
    )
    again: bool = option(False, "--again", help="measure again what was measured before")
    selfcheck: bool = option(
        False, "--selfcheck", help="plant faults into kernels, and none, and see what the gate says"
    )
    repeats: int = option(
        1, "--repeats", metavar="N", convert=positive_int, help="of the self-check's checks"
    )
    checks: tuple[str, ...] = option(
        (), "--checks", metavar="WORD", help="only those whose name has it", shown="all"
    )
    json: bool = option(False, "--json", help="print JSON (its schema: reports/schema.json)")
    quiet: bool = option(False, "--quiet", help="no progress, no remarks")


def add(commands: Any) -> None:
    """Add the command to ``commands``."""
    parser = add_command(
        commands,
        "gate",
        help="compare the kernels of two versions: slower, or wrong?",
        description="Race the kernels of two git revisions of this repository, in one job.",
        epilog="example: crossover gate --base main --export gate. Exit codes: 0 fine, 1 a "
        "confirmed regression (slower, or failing where base does not), 2 bad usage or under half "
        "compared, 3 a wrong result of head's.",
    )
    add_options(parser, GateSpec)
    add_options(parser, _Options)
    parser.set_defaults(run=_run, kept="what was measured is kept, and the same command resumes")


def _run(options: argparse.Namespace, command: str) -> int:
    spec, folder = from_options(GateSpec, options), options.out or _FOLDER
    if options.selfcheck:
        return _selfcheck(options, spec, folder)
    if not spec.base:
        raise InputError("no --base is given: name a revision to compare with, as --base main")
    if options.export and options.export.exists() and not options.export.is_dir():
        raise InputError(f"--export {options.export} is no folder: name another")
    try:
        with progress(options.quiet) as report:
            found = compare(spec, folder, command, report, options.again)
    except UnloadableHeadError as error:
        print(f"crossover: a confirmed regression: {terminal_text(str(error))}", file=sys.stderr)
        return EXIT_REGRESSION
    kept = Store(history.path_in(options.out))
    try:
        history.keep(kept, found)
    finally:
        kept.close()
    show(options, found, folder)
    return exit_code(found)


def show(options: argparse.Namespace, found: Comparison, folder: Path) -> None:
    """Print what was found, the most urgent first, and write what other tools read."""
    stored = results.load(folder, found.run.run_id)
    if options.json:
        print(page.as_json(stored, "gate"))
    else:
        terminal.summary(stored, "gate")
    if options.export:
        for path in exports.write(found, found.run.machine, options.export):
            say(options, f"wrote {path}")


def exit_code(found: Comparison) -> int:
    """Return the exit code of a comparison: a wrong result goes before a regression."""
    if found.wrong:
        return EXIT_WRONG
    return EXIT_REGRESSION if found.regressed else EXIT_FINE


def _selfcheck(options: argparse.Namespace, spec: GateSpec, folder: Path) -> int:
    lines = []
    with progress(options.quiet) as report:
        for check, runs in selfcheck.run(spec, options.repeats, folder, report, options.checks):
            lines.append(selfcheck.summary(check, runs))
            say(options, f"{lines[-1]['verdict']}: {check.name}: {lines[-1]['found']}")
    print_table(lines, options.json)
    say(options, f"every run is in {folder / selfcheck.FILE_NAME}")
    return EXIT_USAGE if any(line["verdict"] == "failed" for line in lines) else EXIT_FINE
