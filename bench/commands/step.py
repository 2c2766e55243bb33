"""``step``: a training step, against masked dense."""

from __future__ import annotations

from crossover.bench.commands.conducting import study_command
from crossover.bench.studies.step import Step, StepSpec

add = study_command(
    "step", Step, StepSpec,
    help="a training step, against masked dense",
    description="Time one training step of a network by every kernel that trains.",
    epilog="example: crossover step --network wide --sparsity 0.9 --batch 64",
)  # fmt: skip
