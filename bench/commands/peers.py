"""``peers``: ours against SciPy, MKL and PyTorch."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from crossover.bench import display, peers
from crossover.bench.commands.arguments import (
    add_budget,
    add_output,
    add_passes,
    add_seed,
    add_several,
    share,
    whole,
)
from crossover.bench.commands.output import EXIT_FINE, conditions, ended, say, so_far
from crossover.bench.peers import Contest


def add(commands: Any) -> None:
    """Add the command to ``commands``."""
    parser = commands.add_parser(
        "peers",
        help="ours against SciPy, MKL and PyTorch",
        description="Measure our CPU kernels against every peer that is installed, interleaved.",
        epilog="example: crossover peers --squares 256 1024 --batch 64 256 --passes forward",
    )
    default = Contest()
    add_several(parser, "--kernels", "NAME", default.kernels, "ours (default: %(default)s)")
    add_several(
        parser,
        "--model",
        "NAME",
        default.models,
        "networks whose layers to take, or 'none' (default: %(default)s)",
        none=True,
    )
    add_several(
        parser,
        "--sparsity",
        "S",
        default.sparsities,
        "to prune them and the squares to (default: %(default)s)",
        share,
    )
    add_several(
        parser,
        "--squares",
        "SIDE",
        default.squares,
        "sides of square matrices of random numbers, or 'none' (default: %(default)s)",
        whole,
        none=True,
    )
    parser.add_argument(
        "--blocks", action="store_true", help="prune networks and squares in blocks of 4 x 4"
    )
    parser.add_argument("--dlmc", type=Path, metavar="DIR", help="a folder with .smtx files")
    add_several(
        parser, "--batch", "N", default.batches, "columns of X (default: %(default)s)", whole
    )
    add_passes(parser, default.passes, "all")
    parser.add_argument("--threads", type=whole, default=0, help="default: all cores")
    add_budget(parser, default.budget_s, "default: 10m")
    add_seed(parser)
    add_output(parser, "print JSON, every problem in it")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace, command: str) -> int:
    from crossover.reports import contest

    asked = Contest(
        kernels=tuple(options.kernels),
        models=tuple(options.model),
        blocks=options.blocks,
        sparsities=tuple(options.sparsity),
        squares=tuple(options.squares),
        dlmc=options.dlmc,
        batches=tuple(options.batch),
        passes=tuple(options.passes),
        threads=options.threads,
        budget_s=options.budget,
        seed=options.seed,
    )
    with display.progress(options.quiet) as report:
        (matches, total, limits), stopped = so_far(lambda: peers.compete(asked, report))
    results = contest.frame(matches, asked.kernels, limits)
    missing = {name: why for match in matches for name, why in match.reasons.items()}
    if options.json:
        rows = json.loads(results.to_json(orient="records"))
        found = {"matches": rows, "of": total, "not run": missing}
        print(json.dumps(conditions() | {"ceilings": asdict(limits)} | found))
    else:
        display.table(contest.table(results))
    say(options, f"{len(matches)} of {total} problems measured, in random order of the matrices")
    for name, reason in missing.items():
        say(options, f"{name} did not run everywhere: {reason}")
    return ended(stopped, EXIT_FINE)
