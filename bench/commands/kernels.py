"""``kernels``: those there are, why some cannot run here, and what one chooses for a shape."""

from __future__ import annotations

import argparse
import itertools
from typing import Any

import numpy as np

from crossover.bench.cells import discovered, runnable
from crossover.bench.commands.arguments import (
    add_batch,
    add_group,
    add_kernel_module,
    add_passes,
    add_seed,
    shape,
    share,
)
from crossover.bench.commands.output import EXIT_FINE, print_table
from crossover.bench.errors import InputError
from crossover.bench.workloads import pruning
from crossover.kernels.base import PASSES, Problem

_MOST_COLUMNS = 1 << 24


def add(commands: Any) -> None:
    """Add the command to ``commands``."""
    group = add_group(commands, "kernels", "the kernels there are")
    lister = group.add_parser("list", help="name, device, format, passes, availability")
    add_kernel_module(lister)
    lister.add_argument("--json", action="store_true", help="print JSON")
    lister.set_defaults(run=_list)
    explainer = group.add_parser(
        "explain",
        help="what a kernel chooses for a shape, and why",
        epilog="example: crossover kernels explain numba-tiled --shape 300x784 --sparsity 0.9",
    )
    explainer.add_argument("name", metavar="NAME", help="see 'kernels list'")
    explainer.add_argument(
        "--shape", type=shape, required=True, metavar="MxK", help="outputs x inputs, as 300x784"
    )
    explainer.add_argument(
        "--sparsity", type=share, default=0.9, metavar="S", help="default: %(default)s"
    )
    explainer.add_argument(
        "--pattern", choices=("random", "block"), default="random", help="default: %(default)s"
    )
    add_batch(explainer, (1, 64, 256))
    add_passes(explainer, ("forward",), "forward")
    add_seed(explainer)
    add_kernel_module(explainer)
    explainer.add_argument("--json", action="store_true", help="print JSON")
    explainer.set_defaults(run=_explain)


def _list(options: argparse.Namespace, command: str) -> int:
    kernels = discovered(options.kernel_module)
    lines = [
        {
            "name": kernel.name,
            "device": kernel.device,
            "format": kernel.format,
            "arithmetic": ", ".join(a.name for a in kernel.arithmetic.values()),
            "passes": "all" if kernel.passes == PASSES else ", ".join(kernel.passes),
            "available": kernel.unavailable() or "yes",
            **({"title": kernel.title, "source": kernel.source} if options.json else {}),
        }
        for kernel in kernels.values()
    ]
    print_table(lines, options.json)
    return EXIT_FINE


def _explain(options: argparse.Namespace, command: str) -> int:
    for batch in options.batch:
        if not 1 <= batch <= _MOST_COLUMNS:
            raise InputError(f"batch {batch} is outside 1 to {_MOST_COLUMNS:,}")
    kernel = runnable([options.name], options.kernel_module)[options.name]
    rng = np.random.default_rng(options.seed)
    blocks = options.pattern == "block"
    weight = pruning.random_weight(options.shape, options.sparsity, rng, blocks)
    operand = kernel.prepare(weight)
    lines = []
    for pass_, n in itertools.product(options.passes, options.batch):
        where = {"pass": pass_, "batch": n}
        problem = Problem(pass_, *weight.shape, n, weight.nnz)
        if reason := kernel.unsupported(problem):
            lines.append({**where, "chosen": "not computed", "value": "", "why": reason})
            continue
        chosen = kernel.explain(operand, pass_, n)
        if not chosen:
            why = "this kernel has no parameters of its own, or its library keeps them"
            lines.append({**where, "chosen": "nothing", "value": "", "why": why})
        lines += [
            {**where, "chosen": each.name, "value": each.value, "why": each.reason}
            for each in chosen
        ]
    size = f"{operand.nbytes:,} bytes, {operand.nbytes / max(1, weight.nnz):.2f} per nonzero"
    every = {"pass": "all", "batch": "all"}
    lines.append({**every, "chosen": "operand", "value": size, "why": f"{weight.nnz:,} nonzeros"})
    print_table(lines, options.json)
    return EXIT_FINE
