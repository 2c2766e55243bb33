"""``gate``: is one version of the code slower than another, or wrong?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bench import display
from bench.commands.arguments import add_budget, add_output, add_seed, whole
from bench.commands.output import EXIT_FINE, EXIT_WRONG, say
from bench.gate import environments
from bench.gate.checkout import WORKTREE, Checkout, remove_leftovers
from bench.gate.comparison import BUDGET_S, Comparison
from bench.gate.session import Request, compare

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
    add_budget(parser, BUDGET_S, "of the measuring (default: 3m)")
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
    add_output(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace, command: str) -> int:
    from bench.errors import InputError
    from bench.gate import history
    from reports import exports, gate

    if options.clean:
        return _clean(options)
    if not options.base:
        raise InputError("no --base is given: name a revision to compare with, as --base main")
    request = Request(
        options.base,
        options.head,
        options.budget,
        options.threads,
        options.seed,
        not options.this_environment,
    )
    kept = history.open_store(options.out)
    with display.progress(options.quiet) as report:
        found = compare(request, report)
    history.keep(kept, found)
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


def _clean(options: argparse.Namespace) -> int:
    leftovers = remove_leftovers(Checkout().repository)
    count = environments.remove_all()
    say(options, f"removed {count} environments, {leftovers} folders of killed runs")
    return EXIT_FINE
