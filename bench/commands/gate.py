"""``gate``: is one version of the code slower than another, or wrong?"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from crossover.bench import ceilings, display
from crossover.bench.ceilings import Ceilings
from crossover.bench.commands.arguments import add_budget, add_output, add_seed, add_several, whole
from crossover.bench.commands.output import (
    EXIT_FINE,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    EXIT_WRONG,
    print_table,
    say,
)
from crossover.bench.errors import InputError
from crossover.bench.gate import environments, history
from crossover.bench.gate.checkout import WORKTREE, Checkout, remove_leftovers
from crossover.bench.gate.comparison import BUDGET_S, Comparison
from crossover.bench.gate.session import Request, compare
from crossover.bench.store import Store
from crossover.bench.worker import in_fresh_process
from crossover.bench.workloads.models import cache_folder

EXIT_REGRESSION = 1


def add(commands: Any) -> None:
    """Add the command to ``commands``."""
    parser = commands.add_parser(
        "gate",
        help="compare two versions of the code: slower, or wrong?",
        description="Measure two git revisions of this repository in turns, in one job.",
        epilog="example: crossover gate --base main --export gate. Exit codes: 0 fine, 1 a "
        "confirmed regression, 2 bad usage or too little measured, 3 a wrong result.",
    )
    parser.add_argument(
        "--base", default="", metavar="REV", help="the git revision to compare with"
    )
    parser.add_argument(
        "--head",
        default=WORKTREE,
        metavar="REV",
        help="what to compare (default: worktree, your files as they are)",
    )
    add_budget(parser, BUDGET_S, "of the measuring (default: 4m)")
    parser.add_argument("--threads", type=whole, default=0, help="default: all cores")
    add_seed(parser)
    parser.add_argument(
        "--this-environment",
        action="store_true",
        help="run both versions in this command's environment, not in one each",
    )
    parser.add_argument(
        "--export",
        type=Path,
        metavar="DIR",
        help="write summary.md, junit.xml, and the formats of other tools",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the history (default: the user's cache)"
    )
    parser.add_argument(
        "--clean", action="store_true", help="remove environments and what killed runs left"
    )
    parser.add_argument(
        "--selfcheck",
        action="store_true",
        help="plant faults into copies of your files, and none, and see what the gate says",
    )
    parser.add_argument(
        "--repeats", type=whole, default=1, metavar="N", help="of its checks (default: 1)"
    )
    add_several(parser, "--checks", "WORD", (), "only those whose name has it (default: all)")
    add_output(parser)
    parser.set_defaults(
        run=_run, kept="the checks that ended are kept, and the same command resumes"
    )


def _run(options: argparse.Namespace, command: str) -> int:
    from crossover.reports import exports, gate

    if options.clean:
        return _clean(options)
    request = Request(
        options.base,
        options.head,
        options.budget,
        options.threads,
        options.seed,
        not options.this_environment,
    )
    if options.selfcheck:
        return _selfcheck(options, request)
    if not options.base:
        raise InputError("no --base is given: name a revision to compare with, as --base main")
    if options.export and options.export.exists() and not options.export.is_dir():
        raise InputError(f"--export {options.export} is no folder: name another")
    kept = Store(history.path_in(options.out))
    with display.progress(options.quiet) as report:
        try:
            found = compare(request, report)
        except KeyboardInterrupt:
            print("crossover: stopped; nothing of the gate is left behind", file=sys.stderr)
            return EXIT_INTERRUPTED
        limits: Ceilings = in_fresh_process(ceilings.measure, found.threads)
    history.keep(kept, found, limits)
    kept.close()
    if options.json:
        print(gate.as_json(found))
    else:
        display.table(gate.table(found))
    if options.export:
        for path in exports.write(found, options.export):
            say(options, f"wrote {path}")
    say(options, gate.sentence(found))
    return exit_code(found)


def exit_code(found: Comparison) -> int:
    """Return the exit code of a comparison: a wrong result goes before a regression."""
    if any(each.verdict == "wrong" for each in found.findings):
        return EXIT_WRONG
    return EXIT_REGRESSION if any(each.regression for each in found.findings) else EXIT_FINE


def _selfcheck(options: argparse.Namespace, request: Request) -> int:
    from crossover.bench.gate import selfcheck  # its plants are for copies of the source alone

    path = (options.out or cache_folder() / "history") / "gate-selfcheck.json"
    repeats = max(1, options.repeats)
    lines = []
    with display.progress(options.quiet) as report:
        for check, runs in selfcheck.run(request, repeats, path, report, options.checks):
            lines.append(selfcheck.summary(check, runs))
            say(options, f"{lines[-1]['verdict']}: {check.name}: {lines[-1]['found']}")
    print_table(lines, options.json)
    say(options, f"every run is in {path}")
    return EXIT_USAGE if any(line["verdict"] == "failed" for line in lines) else EXIT_FINE


def _clean(options: argparse.Namespace) -> int:
    leftovers = remove_leftovers(Checkout().repository)
    count = environments.remove_all()
    say(options, f"removed {count} environments, {leftovers} folders of killed runs")
    return EXIT_FINE
