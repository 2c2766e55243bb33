"""``search``: search where a kernel begins to beat the dense one."""

from __future__ import annotations

from crossover.bench.commands.conducting import study_command
from crossover.bench.studies.search import Search, SearchSpec

add = study_command(
    "search", Search, SearchSpec,
    help="search where a kernel begins to beat the dense one",
    description="Search from which sparsity a kernel is faster, per layer, batch, pass.",
    epilog="example: crossover search --layer fc1 --batch 64 --kernels numba-csr",
)  # fmt: skip
