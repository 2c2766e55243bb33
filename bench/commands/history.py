"""``history``: the results of each commit on this machine, and where they changed."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from crossover.bench.commands.output import EXIT_FINE, say
from crossover.bench.errors import InputError
from crossover.bench.gate import history
from crossover.bench.options import common
from crossover.bench.options.declaration import add_options, option
from crossover.bench.options.parser import add_command
from crossover.bench.records.files import write_whole
from crossover.bench.records.store import Store
from crossover.reports import terminal
from crossover.reports.exports.html import html
from crossover.reports.views import history as view


@dataclass(frozen=True)
class _Options:
    """Which trends are shown, and how."""

    kernels: tuple[str, ...] = common.kernels((), "all")
    out: Path | None = option(
        None,
        "--out",
        metavar="DIR",
        convert=Path,
        help="folder of the history",
        shown="the user's cache",
    )
    page: Path | None = option(
        None, "--page", metavar="DIR", convert=Path, help="write a page of the trends", shown="none"
    )
    json: bool = option(False, "--json", help="print JSON (its schema: reports/schema.json)")
    quiet: bool = option(False, "--quiet", help="no remarks")


def add(commands: Any) -> None:
    """Add the command to ``commands``."""
    parser = add_command(
        commands,
        "history",
        help="what the gate measured of each commit, and where it changed",
        description="Show the trend of each quantity over the commits that 'gate' measured here.",
        epilog="example: crossover history --kernels numba-tiled",
    )
    add_options(parser, _Options)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace, command: str) -> int:
    path = history.path_in(options.out)
    if not path.exists():
        raise InputError(f"no history in {path.parent}: run 'gate --base REV' first")
    store = Store(path, readonly=True)
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
    if options.page:
        _write_page(found, options)
    if options.json:
        print(json.dumps([asdict(each) for each in found]))
    else:
        terminal.table(view.table(found), most=None)
    if reason := history.unavailable():
        say(options, f"change points are not shown: {reason}")
    return EXIT_FINE


def _write_page(found: list[history.Trend], options: argparse.Namespace) -> None:
    path = options.page / "history.html"
    write_whole(path, html(view.document(found)), "free space, or name another --page")
    say(options, f"wrote {path}")
