"""``run``: measure real layers, and end in a report."""

from __future__ import annotations

from crossover.bench.commands.conducting import study_command
from crossover.bench.studies.sweep import Sweep, SweepSpec

add = study_command(
    "run", Sweep, SweepSpec,
    help="measure real layers, and end in a report",
    description="Measure which kernel is fastest for each layer at each sparsity.",
    epilog="example: crossover run --network lenet-5 --sparsity 0.8 0.9 --batch 1 64",
)  # fmt: skip
