"""``run``: measure real layers, narrow their crossovers, and end in a report."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from crossover.bench.commands.conducting import StudyOptions, conduct_and_show
from crossover.bench.options.declaration import add_options, from_options
from crossover.bench.options.parser import add_command
from crossover.bench.studies.given import source_of
from crossover.bench.studies.narrow import ANSWER_WIDTH, Narrow
from crossover.bench.studies.search import SearchSpec
from crossover.bench.studies.study import Study
from crossover.bench.studies.sweep import Sweep, SweepSpec

# Of the budget, for the crossovers; the rest is for the grid that they are looked for in.
_NARROWING_SHARE = 0.6


def add(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands, "run",
        help="measure real layers, and end in a report",
        description="Measure which kernel is fastest for each layer at each sparsity, then "
        "narrow where the fastest sparse one begins to beat the fastest dense one, forward.",
        epilog="example: crossover run --network lenet-5 --sparsity 0.8 0.9 --batch 1 64",
    )  # fmt: skip
    add_options(parser, SweepSpec)
    add_options(parser, StudyOptions)
    kept = "what was measured is kept, and the same command resumes"
    parser.set_defaults(run=_run, kept=kept)


def _run(options: argparse.Namespace, command: str) -> int:
    return conduct_and_show(options, command, studies(from_options(SweepSpec, options)), "sweep")


def studies(spec: SweepSpec) -> Sequence[Study]:
    """Return the sweep, then a search per network that continues it, within one budget.

    Crossovers are searched of hot operands, forward, on MNIST, and on a CPU.
    """
    searched = "forward" in spec.passes and "hot" in spec.caches and spec.data is None
    if spec.preset == "gpu" or not searched:
        return [Sweep(spec)]
    narrowing_s = _NARROWING_SHARE * spec.budget_s
    sweep = Sweep(replace(spec, budget_s=spec.budget_s - narrowing_s))
    asked = SearchSpec(
        network=spec.networks[0],
        batches=spec.batches,
        threads=spec.threads,
        width=ANSWER_WIDTH,
        budget_s=narrowing_s / len(spec.networks),
        seed=spec.seed,
        inputs=spec.inputs,
        modules=spec.modules,
    )
    return [
        sweep,
        *(
            Narrow(replace(asked, network=name), sweep.contenders_of(source_of(name).name))
            for name in spec.networks
        ),
    ]
