"""``regret``: what a kernel chooses by itself, against every other choice."""

from __future__ import annotations

from crossover.bench.commands.conducting import study_command
from crossover.bench.studies.kernels.regret import Regret, RegretSpec

add = study_command(
    "regret", Regret, RegretSpec,
    help="a kernel's own choices against all others",
    description="Measure how far what a kernel chooses is behind the best choice.",
    epilog="example: crossover regret --shape 300x784 --batch 8 64 --budget 2m",
)  # fmt: skip
