"""A pruned network served by sparse kernels on the CPU, against the dense one on a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from crossover.bench.studies.experiments.experiment import MORE_INPUTS, ONE_INPUT, Experiment
from crossover.bench.studies.study import PlannedVisit

#: All dense on the GPU, inputs and outputs going there and back.
GPU_NETWORK = "cupy-network"


class CpuVersusGpu(Experiment):
    """Two networks, each at a sparsity that keeps its accuracy, from one input to thousands."""

    name = "cpu-vs-gpu"
    question = "Up to which batch does a pruned network run faster on the CPU than dense on a GPU?"
    batches: ClassVar[tuple[int, ...]] = (1, 4, 16, 64, 256, 1024)

    def visits(self, seed: int) -> Iterator[PlannedVisit]:
        """Yield the training of each network, then its races with the GPU among the engines."""
        names = ("lenet-300-100",) if self.spec.quick else ("lenet-300-100", "wide")
        for name in names:
            recipe = self.recipe(name, 0.9, "gradual", seed)
            yield self.training(recipe)
            for batch in self.batches:
                engines = ONE_INPUT if batch == 1 else MORE_INPUTS
                yield self.race(recipe, batch, (*engines, GPU_NETWORK))
