"""``crossover``: search where a kernel begins to beat the dense one."""

from __future__ import annotations

import argparse
import json
from typing import Any

from crossover.bench import display, locate, machine, sweep
from crossover.bench.commands.arguments import (
    add_batch,
    add_budget,
    add_kernel_module,
    add_output,
    add_passes,
    add_seed,
    add_several,
    add_threads,
    number,
    zeros,
)
from crossover.bench.commands.output import EXIT_FINE, EXIT_WRONG, ended, say, so_far
from crossover.bench.errors import InputError
from crossover.bench.locate import PATTERNS, Inquiry
from crossover.bench.workloads.networks import NETWORKS


def add(commands: Any) -> None:
    """Add the command to ``commands``."""
    parser = commands.add_parser(
        "crossover",
        help="search where a kernel begins to beat the dense one",
        description="Search the sparsity from which a kernel is faster, per layer, batch and pass.",
        epilog="example: crossover crossover --layer fc1 --batch 64 --kernels numba-csr",
    )
    default = Inquiry()
    parser.add_argument(
        "--model",
        default=default.model,
        metavar="NAME",
        help=f"of {', '.join(NETWORKS)} (default: %(default)s)",
    )
    add_several(parser, "--layer", "NAME", (), "default: all")
    add_batch(parser, default.batches)
    add_passes(parser, default.passes, "forward")
    add_several(parser, "--kernels", "NAME", (), "default: all sparse ones that run here")
    parser.add_argument(
        "--against",
        default="",
        metavar="NAME",
        help="a kernel (default: the fastest dense one of the same device)",
    )
    add_threads(parser)
    parser.add_argument(
        "--pattern",
        choices=PATTERNS,
        default=default.pattern,
        help="which weights stay (default: the largest trained ones)",
    )
    add_several(
        parser,
        "--activations",
        "ZEROS",
        default.zeros,
        "real, dense, or a share of zeros in X and dY, as 0.9 or 90%% (default: real)",
        zeros,
        dest="zeros",
    )
    parser.add_argument(
        "--confidence",
        type=number,
        default=default.confidence,
        metavar="P",
        help="of the range (default: %(default)s)",
    )
    parser.add_argument(
        "--width",
        type=number,
        default=default.width,
        metavar="S",
        help="at which a range is narrow enough (default: %(default)s)",
    )
    add_budget(
        parser,
        default.budget_s,
        "time for the measuring, spent where answers are widest (default: 120s)",
    )
    add_seed(parser)
    add_kernel_module(parser)
    add_output(parser, "print JSON, every probe in it", "no progress bar")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace, command: str) -> int:
    from crossover.reports import answers

    inquiry = Inquiry(
        model=options.model,
        layers=tuple(options.layer),
        batches=tuple(options.batch),
        passes=tuple(options.passes),
        kernels=tuple(options.kernels),
        against=options.against,
        threads=tuple(options.threads),
        pattern=options.pattern,
        zeros=tuple(options.zeros),
        confidence=options.confidence,
        width=options.width,
        budget_s=options.budget,
        seed=options.seed,
        modules=tuple(options.kernel_module),
    )
    locate.check(inquiry)
    limits = sweep.ceilings_of(inquiry.threads or (machine.available_cores(),))
    with display.progress(options.quiet) as report:
        found, stopped = so_far(lambda: locate.locate(inquiry, report))
    if options.json:
        print(json.dumps([answers.record(answer, limits) for answer in found]))
    else:
        display.table(answers.table(found, limits))
    unfinished = [a for a in found if not a.failure and a.search.wanted() is not None]
    if unfinished and not stopped:
        say(options, f"{len(unfinished)} of {len(found)} could be narrower: give more --budget")
    if any(answer.wrong for answer in found):
        return ended(stopped, EXIT_WRONG)
    if not any(answer.begun for answer in found) and not stopped:
        raise InputError(f"nothing was measured: {found[0].failure}")
    return ended(stopped, EXIT_FINE)
