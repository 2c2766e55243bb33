"""``store list``, ``show``, ``merge``, ``export``, ``import``, ``prune``: files of results."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from crossover.bench.commands.output import EXIT_FINE, print_table, say
from crossover.bench.errors import InputError
from crossover.bench.options.parser import add_command, add_group
from crossover.bench.records import contents, exchange
from crossover.bench.records.contents import Contents
from crossover.bench.records.files import sole_writer, write_whole
from crossover.bench.records.rows import Run
from crossover.bench.records.store import FILE_NAME, LOCK_NAME

_FOLDER = "a results folder, or a results.sqlite"


def add(commands: Any) -> None:
    """Add the commands to ``commands``."""
    group = add_group(commands, "store", "files of results: look into, merge and move them")
    lister = add_command(group, "list", help="the runs that stores hold")
    lister.add_argument("places", nargs="+", metavar="PATH", type=Path, help=_FOLDER)
    shower = add_command(group, "show", help="what a store holds of each study")
    shower.add_argument("place", metavar="PATH", type=Path, help=_FOLDER)
    merger = add_command(
        group, "merge", help="several stores into one; what two of them hold is kept once",
        epilog="example: crossover store merge laptop server --out both",
    )  # fmt: skip
    merger.add_argument("places", nargs="+", metavar="PATH", type=Path, help=_FOLDER)
    exporter = add_command(group, "export", help="a store into one portable file")
    exporter.add_argument("place", metavar="PATH", type=Path, help=_FOLDER)
    exporter.add_argument("file", metavar="FILE", type=Path, help="such as results.jsonl.gz")
    importer = add_command(group, "import", help="a file that was exported into a store")
    importer.add_argument("file", metavar="FILE", type=Path, help="what 'store export' wrote")
    pruner = add_command(
        group, "prune", help="take runs out of a store",
        epilog="example: crossover store prune results --keep 3 --dry-run",
    )  # fmt: skip
    pruner.add_argument("place", metavar="DIR", type=Path, help="a results folder")
    chosen = pruner.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--keep", type=int, metavar="N", help="keep the latest N runs")
    chosen.add_argument("--before", metavar="DATE", help="take out what began before YYYY-MM-DD")
    chosen.add_argument("--run", dest="run_id", metavar="ID", help="take out one run")
    pruner.add_argument("--dry-run", action="store_true", help="only say what would go")
    for parser in (merger, importer):
        parser.add_argument("--out", metavar="DIR", type=Path, required=True,
                            help="results folder; what it holds is kept")  # fmt: skip
    for parser in (lister, shower):
        parser.add_argument("--json", action="store_true", help="print JSON")
    for parser, run in ((lister, _list), (shower, _show), (merger, _merge), (exporter, _export),
                        (importer, _import), (pruner, _prune)):  # fmt: skip
        parser.add_argument("--quiet", action="store_true", help="no remarks")
        parser.set_defaults(run=run)


def _list(options: argparse.Namespace, command: str) -> int:
    lines = [
        {"store": str(place), **_line(run, whole)}
        for place in options.places
        for whole in [_read(place)]
        for run in whole.runs
    ]
    if not lines:
        raise InputError(f"{options.places[0]} holds no run yet: measure into it first")
    print_table(lines, options.json)
    return EXIT_FINE


def _line(run: Run, whole: Contents) -> dict[str, Any]:
    visits = [each for each in whole.visits if each.record.run_id == run.run_id]
    studies = {each.study for each in whole.studies if each.run_id == run.run_id}
    return {
        "run": run.run_id,
        "machine": run.machine_title,
        "started": run.started[:16],
        "commit": run.revision[:12],
        "studies": ", ".join(sorted(studies)),
        "visits": len(visits),
        "rows": sum(len(each.rows) for each in visits),
    }


def _show(options: argparse.Namespace, command: str) -> int:
    whole = _read(options.place)
    lines = []
    for study in whole.studies:
        visits = [
            each
            for each in whole.visits
            if (each.record.run_id, each.record.series) == (study.run_id, study.series)
        ]
        statuses = Counter(row.status for visit in visits for row in visit.rows.values())
        lines.append(
            {
                "run": study.run_id,
                "study": study.study,
                "series": study.series,
                "asked": study.asked_at[:16],
                "command": study.command,
                "problems": len({each.problem.problem_id for each in visits}),
                "visits": len(visits),
                "rows": ", ".join(f"{count} {name}" for name, count in statuses.items()),
            }
        )
    if not lines:
        raise InputError(f"{options.place} holds no study yet: measure into it first")
    print_table(lines, options.json)
    return EXIT_FINE


def _merge(options: argparse.Namespace, command: str) -> int:
    found = [_read(place) for place in options.places]
    _write(options, command, found)
    return EXIT_FINE


def _export(options: argparse.Namespace, command: str) -> int:
    whole = _read(options.place)
    write_whole(options.file, exchange.exported(whole))
    say(options, f"wrote {options.file}: {_counts(whole)}")
    return EXIT_FINE


def _import(options: argparse.Namespace, command: str) -> int:
    _write(options, command, [exchange.imported(options.file)])
    return EXIT_FINE


def _write(options: argparse.Namespace, command: str, found: Sequence[Contents]) -> None:
    """Write what was found, and what is in ``--out`` already, to it."""
    contents.merged(found)  # what cannot be merged is said before a folder is made
    options.out.mkdir(parents=True, exist_ok=True)
    with sole_writer(options.out / LOCK_NAME, command):
        there = [_read(options.out)] if (options.out / FILE_NAME).exists() else []
        whole = contents.merged([*there, *found])
        path = contents.write(whole, options.out)
    given = sum(len(each.visits) for each in (*there, *found))
    twice = given - len(whole.visits)
    known = f"; {twice} visits were there twice" if twice else ""
    say(options, f"wrote {path}: {_counts(whole)}{known}")


def _prune(options: argparse.Namespace, command: str) -> int:
    if options.place.is_file():
        raise InputError(f"{options.place} is a file: name its folder")
    with sole_writer(options.place / LOCK_NAME, command):
        whole = _read(options.place)
        gone = _chosen(options, whole.runs)
        left = contents.without(whole, (run.run_id for run in gone))
        for run in gone:
            line = _line(run, whole)
            verb = "would take out" if options.dry_run else "takes out"
            say(options, f"{verb} {run.run_id}: {line['machine']}, {line['started']}, "
                         f"{line['visits']} visits")  # fmt: skip
        if gone and not options.dry_run:
            contents.write(left, options.place)
    say(options, f"{len(left.runs)} runs {'would stay' if options.dry_run else 'stay'}")
    return EXIT_FINE


def _chosen(options: argparse.Namespace, runs: Sequence[Run]) -> list[Run]:
    """Return the runs that go.

    Raises:
        InputError: if what is asked for means nothing here.
    """
    if options.keep is not None:
        if options.keep < 0:
            raise InputError(f"--keep {options.keep} is negative: give how many runs stay")
        return list(runs[: max(0, len(runs) - options.keep)])
    if options.before is not None:
        try:
            day = date.fromisoformat(options.before).isoformat()
        except ValueError as error:
            raise InputError(f"--before {options.before} is no date: write YYYY-MM-DD") from error
        return [run for run in runs if run.started < day]
    found = [run for run in runs if run.run_id == options.run_id]
    if not found:
        known = ", ".join(run.run_id for run in runs) or "none"
        raise InputError(f"there is no run {options.run_id!r}: choose from {known}")
    return found


def _read(place: Path) -> Contents:
    """Return what a place holds.

    Raises:
        InputError: if it is none of ours.
    """
    if not place.exists():
        raise InputError(f"{place} is neither a folder nor a file: name a folder of results")
    return contents.read(place)


def _counts(whole: Contents) -> str:
    rows = sum(len(visit.rows) for visit in whole.visits)
    return f"{len(whole.runs)} runs, {len(whole.visits)} visits, {rows} rows"
