"""What pruned patterns look like, and whether that is worth speed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from crossover.bench.studies.experiments.experiment import Experiment
from crossover.bench.studies.study import PlannedVisit
from crossover.bench.workloads.learned import ARRANGEMENTS, ArrangedLayer
from crossover.bench.workloads.networks import network
from crossover.bench.workloads.problem import Problem, Setting, Workload

_BATCH = 64
#: Sparse kernels of several libraries: whoever gains from structure may be any of them.
_KERNELS = "numba-tiled", "numba-csr", "numba-bsr", "scipy-csr", "torch-csr", "numba-dense"


class Structure(Experiment):
    """The layers of a pruned network, and the same entries in other places."""

    name = "structure"
    question = "What do pruned patterns look like, and is that structure worth speed?"

    def visits(self, seed: int) -> Iterator[PlannedVisit]:
        """Yield the training, then a race over each layer in each arrangement."""
        name = "lenet-300-100" if self.spec.quick else "wide"
        for sparsity in (0.9,) if self.spec.quick else (0.8, 0.9, 0.95):
            recipe = self.recipe(name, sparsity, "gradual", seed)
            yield self.training(recipe)
            for index in range(len(network(name).layers) - 1):
                # In another order for each seed: who comes first after a training may be favoured.
                order = np.random.default_rng([seed, index]).permutation(len(ARRANGEMENTS))
                for arrangement in (ARRANGEMENTS[place] for place in order):
                    modules = self.spec.pruning_modules
                    layer = ArrangedLayer(recipe, index, "", None, arrangement, modules)
                    workload = Workload(layer, "forward", _BATCH)
                    problem = Problem(workload, Setting(self.threads[0]))
                    yield self.raced(problem, self._runnable())

    def _runnable(self) -> tuple[str, ...]:
        return tuple(name for name in _KERNELS if self.kernels[name].unavailable() is None)
