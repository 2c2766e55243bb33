"""``compare``: runs of several machines, versions or days side by side."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossover.bench.commands.output import EXIT_FINE, say
from crossover.bench.errors import InputError
from crossover.bench.options.declaration import add_options, option
from crossover.bench.options.parser import add_command
from crossover.bench.records.files import write_whole
from crossover.reports import results, terminal
from crossover.reports.compare import document
from crossover.reports.exports.html import html
from crossover.reports.exports.markdown import PLOTS, markdown
from crossover.reports.results import Results


@dataclass(frozen=True)
class CompareOptions:
    """Where the comparison is kept, and how it is shown."""

    out: Path = option(
        Path("compare"), "--out", metavar="DIR", convert=Path, help="folder of the comparison"
    )
    json: bool = option(False, "--json", help="print JSON (schema: reports/compare/schema.json)")
    quiet: bool = option(False, "--quiet", help="no remarks")


def add(commands: Any) -> None:
    """Add the command to ``commands``."""
    parser = add_command(
        commands, "compare",
        help="whose crossover is where: runs of several machines, versions or days",
        description="Compare the crossovers and speedups of runs at equal workloads, each with the "
        "first, and say whether a difference is more than noise.",
        epilog="example: crossover compare results reports/reference/amd-epyc-2-cores",
    )  # fmt: skip
    parser.add_argument(
        "places", nargs="+", metavar="PATH[@RUN]",
        help="a results folder, or a results.sqlite; @RUN: not the run that was measured last",
    )  # fmt: skip
    add_options(parser, CompareOptions)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace, command: str) -> int:
    shown = document.of([_loaded(place) for place in options.places])
    contents = {
        "compare.html": html(shown),
        "compare.md": markdown(shown),
        "compare.json": json.dumps(shown.sections[0].record, allow_nan=False) + "\n",
    } | {f"{PLOTS}/{plot.file}": plot.svg for plot in shown.plots}
    for name, content in contents.items():
        write_whole(options.out / name, content, "free space, or use another --out")
    if options.json:
        print(contents["compare.json"], end="")
    else:
        terminal.comparison(shown)
    for name in contents:
        say(options, f"wrote {options.out / name}")
    return EXIT_FINE


def _loaded(place: str) -> Results:
    """Return the run that an argument names.

    Raises:
        InputError: if there is none.
    """
    path, found, run_id = place.rpartition("@")
    if found and not Path(place).exists():
        return results.load(_existing(path), run_id)
    return results.load(_existing(place))


def _existing(place: str) -> Path:
    if not Path(place).exists():
        raise InputError(f"{place} is neither a folder nor a file: name a folder of results")
    return Path(place)
