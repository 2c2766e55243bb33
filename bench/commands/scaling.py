"""``scaling``: all threads against one."""

from __future__ import annotations

from crossover.bench.commands.conducting import study_command
from crossover.bench.studies.kernels.scaling import Scaling, ScalingSpec

add = study_command(
    "scaling", Scaling, ScalingSpec,
    help="all threads against one",
    description="Measure what all threads give over one, on random patterns.",
    epilog="example: crossover scaling --shape 1024x784 --batch 64 --passes forward",
)  # fmt: skip
