"""The questions that this suite began with, each answered by one command."""

from collections.abc import Mapping

from .cpu_vs_gpu import CpuVersusGpu
from .experiment import Experiment
from .networks import Headline, PruneUntilItPays, PruningWays, RandomVersusPruned
from .structure import Structure
from .training import Epoch, SameResults, TrainingStep

#: By name, in the order of ``experiment all``.
EXPERIMENTS: Mapping[str, type[Experiment]] = {
    each.name: each
    for each in (
        SameResults, TrainingStep, Epoch, RandomVersusPruned, PruneUntilItPays, Headline,
        PruningWays, Structure, CpuVersusGpu,
    )
}  # fmt: skip
