"""``step``: what a training step takes, kernel by kernel."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from crossover.bench import display, step
from crossover.bench.commands.arguments import (
    add_batch,
    add_budget,
    add_kernel_module,
    add_output,
    add_seed,
    add_several,
    share,
    whole,
)
from crossover.bench.commands.output import EXIT_FINE, EXIT_WRONG, conditions, ended, say, so_far
from crossover.bench.errors import InputError
from crossover.bench.step import PATTERNS, StepInquiry
from crossover.bench.workloads.networks import NETWORKS
from crossover.bench.workloads.training import OPTIMIZERS


def add(commands: Any) -> None:
    """Add the command to ``commands``."""
    parser = commands.add_parser(
        "step",
        help="one training step, against masked dense",
        description="Measure a training step of a pruned network: the three passes of every layer, "
        "bias, ReLU, loss, and the update, by the code that trains.",
        epilog="example: crossover step --model wide --sparsity 0.9 --batch 64 256",
    )
    default = StepInquiry()
    parser.add_argument(
        "--model",
        default=default.model,
        metavar="NAME",
        help=f"of {', '.join(NETWORKS)} (default: %(default)s)",
    )
    text = "of the whole network, as 0.9 or 90%% (default: %(default)s)"
    add_several(parser, "--sparsity", "S", default.sparsities, text, share)
    add_batch(parser, default.batches)
    text = "default: ours, masked dense ones, and the peers that run here"
    add_several(parser, "--kernels", "NAME", (), text)
    parser.add_argument(
        "--pattern",
        choices=PATTERNS,
        help="trained and pruned; or untrained: the largest stay, or random ones "
        "(default: trained if it is kept, else initial)",
    )
    parser.add_argument(
        "--optimizer",
        choices=tuple(OPTIMIZERS),
        default=default.optimizer,
        help="plain gradient descent, or Adam (default: %(default)s)",
    )
    parser.add_argument("--threads", type=whole, default=0, help="default: all cores")
    add_budget(parser, default.budget_s, "time for the timing, as 90s or 5m (default: 60s)")
    add_seed(parser)
    add_kernel_module(parser)
    add_output(parser, "print JSON, every sample in it")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace, command: str) -> int:
    from crossover.reports import step as shown

    inquiry = StepInquiry(
        model=options.model,
        sparsities=tuple(options.sparsity),
        batches=tuple(options.batch),
        kernels=tuple(options.kernels),
        pattern=options.pattern,
        optimizer=options.optimizer,
        threads=options.threads,
        budget_s=options.budget,
        seed=options.seed,
        modules=tuple(options.kernel_module),
    )
    with display.progress(options.quiet) as report:
        found, stopped = so_far(lambda: step.measure(inquiry, report))
    lost = {
        (name, each.status, each.reason)
        for times in found
        for name, each in times.outcomes.items()
        if each.status != "measured"
    }
    if not any(times.measured for times in found):
        raise InputError("nothing was measured: " + "; ".join(": ".join(each) for each in lost))
    if options.json:
        print(json.dumps(conditions() | {"steps": shown.records(found)}))
    else:
        display.table(shown.table(found), shown.title(found))
    for name, status, reason in sorted(lost):
        print(f"{name}: {status}: {reason}", file=sys.stderr)
    if inquiry.pattern is None and any(times.pattern == "initial" for times in found):
        say(options, f"{inquiry.model} is not trained at this sparsity: --pattern trained does it")
    wrong = any(status == "wrong" for _, status, _ in lost)
    return ended(stopped, EXIT_WRONG if wrong else EXIT_FINE)
