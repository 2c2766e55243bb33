"""``run``: measure real layers, and end in a report."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from crossover.bench import cells, display, sweep
from crossover.bench.cells import Plan
from crossover.bench.commands.arguments import (
    add_batch,
    add_budget,
    add_kernel_module,
    add_passes,
    add_recipe,
    add_results,
    add_several,
    add_threads,
    duration,
    share,
    temperature,
)
from crossover.bench.commands.output import EXIT_WRONG, say
from crossover.bench.commands.report import write_report
from crossover.bench.errors import InputError
from crossover.bench.store import FILE_NAME, Store
from crossover.bench.workloads.networks import NETWORKS


def add(commands: Any) -> None:
    """Add the command to ``commands``."""
    parser = commands.add_parser(
        "run",
        help="measure real layers, and end in a report",
        description="Measure which kernel is fastest for each layer at each sparsity.",
        epilog="example: crossover run --model lenet-5 --sparsity 0.8 0.9 --batch 1 64",
    )
    default = Plan()
    add_several(
        parser,
        "--model",
        "NAME",
        default.models,
        f"networks: {', '.join(NETWORKS)} (default: %(default)s)",
    )
    add_several(
        parser,
        "--sparsity",
        "S",
        default.sparsities,
        "of the whole network, as 0.9 or 90%% (default: %(default)s)",
        share,
    )
    add_batch(parser, default.batches)
    add_passes(parser, default.passes, "all")
    add_several(parser, "--kernels", "NAME", default.kernels, "see 'kernels list' (default: all)")
    add_threads(parser)
    add_several(
        parser,
        "--caches",
        "HOW",
        default.caches,
        "hot, cold (emptied before each call), or both (default: hot)",
        temperature,
    )
    add_budget(parser, default.budget_s, "time for the measuring, as 90s or 5m (default: 75s)")
    parser.add_argument(
        "--time-limit",
        type=duration,
        default=default.time_limit_s,
        metavar="TIME",
        help="after which a kernel counts as hanging (default: 60s)",
    )
    parser.add_argument(
        "--again", action="store_true", help="measure again what was measured before"
    )
    add_recipe(parser)
    add_kernel_module(parser)
    add_results(parser)
    kept = "what was measured is kept, and the same command resumes"
    parser.set_defaults(run=_run, kept=kept)


def _run(options: argparse.Namespace, command: str) -> int:
    plan = Plan(
        models=tuple(options.model),
        sparsities=tuple(options.sparsity),
        batches=tuple(options.batch),
        passes=tuple(options.passes),
        kernels=tuple(options.kernels),
        threads=tuple(options.threads),
        caches=tuple(options.caches),
        budget_s=options.budget,
        pruning=options.prune,
        scope=options.scope,
        seed=options.seed,
        data=options.data,
        modules=tuple(options.kernel_module),
        time_limit_s=options.time_limit,
    )
    cells.check(plan)
    store = Store(options.out / FILE_NAME)
    with display.progress(options.quiet) as report:
        result = sweep.sweep(plan, store, command, report, options.again)
    store.close()
    if not result.rows_measured:
        reasons = "no kernel could run; see 'kernels list'"
        raise InputError(f"nothing was measured ({reasons})")
    code = write_report(options, result.run_id)
    kept = f"{result.rows_written} rows measured, {result.rows_kept} kept from before"
    spent = f"{result.busy_s:.0f} of {result.measuring_s:.0f} s went into the kernels themselves"
    say(options, f"{kept}; {spent}" if result.rows_written else kept)
    for where in result.wrong:
        print("wrong result: " + ", ".join(where), file=sys.stderr)
    return EXIT_WRONG if result.wrong else code
