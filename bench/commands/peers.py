"""``peers``: ours against SciPy, MKL and PyTorch."""

from __future__ import annotations

from crossover.bench.commands.conducting import study_command
from crossover.bench.studies.kernels.peers import Peers, PeersSpec

add = study_command(
    "peers", Peers, PeersSpec,
    help="ours against SciPy, MKL and PyTorch",
    description="Hold our sparse kernels against every peer and dense kernel installed.",
    epilog="example: crossover peers --network none --squares 512 --batch 64",
)  # fmt: skip
