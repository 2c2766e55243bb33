"""``serve-check``: a planned network under several callers at a time."""

from __future__ import annotations

from crossover.bench.commands.conducting import study_command
from crossover.bench.studies.plan.serving import ServeCheck, ServeSpec

add = study_command(
    "serve-check",
    ServeCheck,
    ServeSpec,
    help="latency and throughput of a planned network, under several callers",
    description="Serve a network that 'crossover plan' wrote to several callers at a time, and all "
    "dense by each library beside it: half and 99 of 100 answers within which time, and how many "
    "inputs a second.",
    epilog="example: crossover serve-check --network results/mine.plan.safetensors --callers 1 4",
)
