"""Commands that conduct a study: the same options around it, and the same way to show it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossover.bench.commands.output import EXIT_FINE, EXIT_INTERRUPTED, EXIT_WRONG, say
from crossover.bench.commands.progress_bar import progress
from crossover.bench.errors import InputError
from crossover.bench.options.declaration import add_options, from_options, option
from crossover.bench.options.parser import add_command
from crossover.bench.studies.conduct import Conducted, conduct
from crossover.bench.studies.study import Study
from crossover.reports import page, results, terminal


@dataclass(frozen=True)
class OutputOptions:
    """Where results are kept, and how they are shown."""

    out: Path = option(
        Path("results"), "--out", metavar="DIR", convert=Path, help="folder of the results"
    )
    json: bool = option(False, "--json", help="print JSON (its schema: reports/schema.json)")
    quiet: bool = option(False, "--quiet", help="no progress, no remarks")


@dataclass(frozen=True)
class StudyOptions(OutputOptions):
    """What commands that measure take, too."""

    again: bool = option(False, "--again", help="measure again what was measured before")


def study_command(
    name: str, study: type[Any], spec: type[Any], **texts: str
) -> Callable[[Any], None]:
    """Return the ``add`` of a command that conducts one study; ``texts`` as argparse takes them."""

    def run(options: argparse.Namespace, command: str) -> int:
        return conduct_and_show(options, command, [study(from_options(spec, options))], study.name)

    def add(commands: Any) -> None:
        parser = add_command(commands, name, **texts)
        add_options(parser, spec)
        add_options(parser, StudyOptions)
        kept = "what was measured is kept, and the same command resumes"
        parser.set_defaults(run=run, kept=kept)

    return add


def conduct_and_show(
    options: argparse.Namespace, command: str, studies: Sequence[Study], shown: str | None
) -> int:
    """Conduct ``studies``, show the section of ``shown`` (None: all), and return the exit code."""
    with progress(options.quiet) as report:
        done = conduct(studies, options.out, command, report, options.again)
    if done.interrupted and not done.rows_measured:
        raise KeyboardInterrupt
    if not done.rows_measured and not done.wrong:
        raise InputError(f"nothing was measured ({_why(options.out, done)})")
    show(options, shown, done.run_id)
    for remark in dict.fromkeys(each for study in studies for each in study.remarks):
        say(options, remark)
    _say_what_was_done(options, done)
    for visit, kernel in done.wrong:
        it, reason = visit.problem, visit.rows[kernel].reason
        where = f"{it.network}, {it.layer}, {it.computes}, batch {it.batch}, {kernel}"
        print(f"wrong result: {where}, {reason}", file=sys.stderr)
    if done.interrupted:
        print(f"crossover: stopped; {options.kept}", file=sys.stderr)
        return EXIT_INTERRUPTED
    return EXIT_WRONG if done.wrong else EXIT_FINE


def show(options: argparse.Namespace, study: str | None, run_id: str | None) -> None:
    """Write the page of a run (None: the last), and print one study's section, or all."""
    found = results.load(options.out, run_id)
    paths = page.write(found, options.out)
    if options.json:
        print(page.as_json(found, study))
    else:
        terminal.summary(found, study)
    for path in paths:
        say(options, f"wrote {path}")


def _say_what_was_done(options: argparse.Namespace, done: Conducted) -> None:
    kept = f"{done.visits_made} visits made, {done.visits_kept} kept from before"
    spent = f"{done.busy_s:.0f} of {done.measuring_s:.0f} s went into the kernels themselves"
    say(options, f"{kept}; {spent}" if done.visits_made else kept)


def _why(folder: Path, done: Conducted) -> str:
    """Return why no kernel was measured: the first reason that a row gives."""
    for visits in results.load(folder, done.run_id).series.values():
        for visit in visits:
            for row in visit.rows.values():
                return f"{row.kernel}: {row.reason}"
    return "no kernel could run; see 'kernels list'"
