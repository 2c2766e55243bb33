"""The questions that this suite began with, each answered by one command."""

from collections.abc import Mapping

from crossover.bench.studies.experiments.cpu_vs_gpu import CpuVersusGpu
from crossover.bench.studies.experiments.experiment import Experiment
from crossover.bench.studies.experiments.networks import (
    Headline,
    PruneUntilItPays,
    PruningWays,
    RandomVersusPruned,
)
from crossover.bench.studies.experiments.rates import LearningRates
from crossover.bench.studies.experiments.structure import Structure
from crossover.bench.studies.experiments.training import Epoch, SameResults, TrainingStep

#: By name, in the order of ``experiment all``.
EXPERIMENTS: Mapping[str, type[Experiment]] = {
    each.name: each
    for each in (
        SameResults, TrainingStep, Epoch, LearningRates, RandomVersusPruned, PruneUntilItPays,
        Headline, PruningWays, Structure, CpuVersusGpu,
    )
}  # fmt: skip
