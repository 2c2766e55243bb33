"""``scaling``: what all threads give over one."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from crossover.bench import ceilings, display, scaling
from crossover.bench.commands.arguments import (
    add_budget,
    add_kernel_module,
    add_output,
    add_passes,
    add_seed,
    add_several,
    shape,
    share,
    whole,
)
from crossover.bench.commands.output import EXIT_FINE, EXIT_WRONG, conditions, ended, say, so_far
from crossover.bench.errors import InputError
from crossover.bench.scaling import ScalingInquiry
from crossover.bench.worker import in_fresh_process


def add(commands: Any) -> None:
    """Add the command to ``commands``."""
    parser = commands.add_parser(
        "scaling",
        help="all threads against one",
        description="Measure what all threads give over one, on random patterns: two processes "
        "take turns at each problem.",
        epilog="example: crossover scaling --shapes 1024x784 --batch 64 --passes forward",
    )
    default = ScalingInquiry()
    add_several(parser, "--kernels", "NAME", default.kernels, "default: numba-tiled")
    text = "of W, as outputs x inputs (default: 1024x784 1024x1024 2048x2048 4096x4096)"
    add_several(parser, "--shapes", "MxK", default.shapes, text, shape)
    text = "default: %(default)s"
    add_several(parser, "--sparsity", "S", default.sparsities, text, share)
    text = "columns of X (default: %(default)s)"
    add_several(parser, "--batch", "N", default.batches, text, whole)
    add_passes(parser, default.passes, "all")
    parser.add_argument("--threads", type=whole, default=0, help="against one (default: all cores)")
    add_budget(parser, default.budget_s, "time for the measuring (default: 10m)")
    add_seed(parser)
    add_kernel_module(parser)
    add_output(parser, "print JSON, every visit in it")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace, command: str) -> int:
    from crossover.reports import scaling as shown

    inquiry = ScalingInquiry(
        kernels=tuple(options.kernels),
        shapes=tuple(options.shapes),
        sparsities=tuple(options.sparsity),
        batches=tuple(options.batch),
        passes=tuple(options.passes),
        threads=options.threads,
        budget_s=options.budget,
        seed=options.seed,
        modules=tuple(options.kernel_module),
    )
    threads = scaling.check(inquiry)
    limits = in_fresh_process(ceilings.measure, threads)
    with display.progress(options.quiet) as report:
        (found, total), stopped = so_far(lambda: scaling.measure(inquiry, report))
    failed = [each for each in found if each.failure]
    if len(failed) == len(found):
        raise InputError(f"nothing was measured: {failed[0].title}: {failed[0].failure}")
    if options.json:
        measured = {"ceilings": asdict(limits), "scaling": shown.records(found), "of": total}
        print(json.dumps(conditions() | measured))
    else:
        display.table(shown.table(found))
    for each in failed:
        print(f"{each.title}: {each.failure}", file=sys.stderr)
    for line in shown.summary(found):
        say(options, line)
    ideal = limits.fma_gflops / limits.fma_one_gflops
    say(options, f"multiply-adds in registers, for comparison: {ideal:.2f} times one thread")
    say(options, f"{len(found)} of {total} problems measured, in random order of the matrices")
    return ended(stopped, EXIT_WRONG if any(each.wrong for each in failed) else EXIT_FINE)
