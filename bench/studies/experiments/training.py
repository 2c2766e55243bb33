"""Experiments on training itself: its results and times by every kernel that trains."""

from __future__ import annotations

from collections.abc import Iterator

from crossover.bench.harness.race import LEAST_ROUNDS
from crossover.bench.studies.experiments.experiment import Experiment, ExperimentSpec
from crossover.bench.studies.study import PlannedVisit
from crossover.bench.workloads import mnist
from crossover.bench.workloads.problem import Problem, Setting, Workload
from crossover.bench.workloads.recipes import NetworkWeights
from crossover.bench.workloads.training.recipe import TrainingRecipe
from crossover.kernels.base import PASSES, Kernel

# What a sparse kernel is held against, and the kernels that are worth their time beside it.
_MASKED = "numba-masked-update", "numpy-masked-update"
_FAST = "numba-tiled", "numba-csr", *_MASKED
_STEP_ROUNDS, _STEP_S = 20, 0.4
# Of one epoch alone nothing says how well its time is known.
_EPOCHS = 2
#: Nerva's network on images of CIFAR-10's form, whose pixels are drawn, and its batch.
NERVA, NERVA_BATCH = "cifar-10-mlp", 100


class TrainingExperiment(Experiment):
    """One whose subject are the kernels that train, on the CPU and on a GPU where there is one."""

    def _on_gpu(self) -> tuple[str, ...]:
        """Return the kernels that train here on a GPU."""
        trains = (name for name, each in self.kernels.items() if _trains(each))
        return tuple(name for name in trains if self.kernels[name].device == "cuda")


class SameResults(Experiment):
    """One network, trained by every kernel that trains."""

    name = "same-results"
    question = "Do all kernels train the same network to the same weights and accuracy?"

    def visits(self, seed: int) -> Iterator[PlannedVisit]:
        """Yield first steps by both optimizers, and a short training."""
        sparse = self.recipe("lenet-300-100", 0.9, "erdos-renyi-scaled", seed)
        names = tuple(name for name, each in self.kernels.items() if _trains(each))
        for optimizer in ("sgd", "adam"):
            problem = self.problem(sparse, "first steps", optimizer=optimizer)
            yield PlannedVisit(problem, names, (1, 1))
        short = self.recipe(
            "lenet-300-100", 0.9, "erdos-renyi-scaled", seed, 2 if self.spec.quick else 5
        )
        yield PlannedVisit(self.problem(short, "epoch", optimizer="adam"), names, (1, 1))


class TrainingStep(TrainingExperiment):
    """Steps of networks of several widths, at each sparsity and batch."""

    name = "training-step"
    question = "From which sparsity does a sparse training step beat masked dense?"

    def __init__(self, spec: ExperimentSpec) -> None:
        super().__init__(spec)
        self._sparsities = (0.5, 0.7, 0.8, 0.9, 0.95) if spec.quick else (
            0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.995)  # fmt: skip

    def visits(self, seed: int) -> Iterator[PlannedVisit]:
        """Yield a visit to each step; the networks of a seed have random patterns of their own."""
        networks = ("wide",) if self.spec.quick else ("lenet-300-100", "wide")
        batches = (100,) if self.spec.quick else (16, 100, 256)
        asked: list[tuple[str, int, tuple[float, ...]]] = [
            (name, batch, self._sparsities) for name in networks for batch in batches
        ]
        if not self.spec.quick:
            # To check and race a step of the largest takes most of a minute.
            asked.append(("wide-5000", 100, self._sparsities[::2]))
        asked.append((NERVA, NERVA_BATCH, (0.5, 0.9, 0.99, 0.995)))
        for name, batch, sparsities in asked:
            for sparsity in sparsities:
                yield self._step(name, sparsity, batch, seed)

    def _step(self, name: str, sparsity: float, batch: int, seed: int) -> PlannedVisit:
        recipe = TrainingRecipe(name, mnist.load().digest, sparsity, seed=seed)
        weights = NetworkWeights(recipe, "random")
        problem = Problem(
            Workload(weights, "step", batch, optimizer="sgd"), Setting(self.threads[0])
        )
        kernels = *_FAST, *self._on_gpu()
        return PlannedVisit(problem, kernels, (LEAST_ROUNDS, _STEP_ROUNDS), _STEP_S)


class Epoch(TrainingExperiment):
    """Whole epochs with Adam, sparse against masked dense, and the accuracy after each."""

    name = "epoch"
    question = "How much faster is an epoch of sparse training, at which accuracy?"

    def visits(self, seed: int) -> Iterator[PlannedVisit]:
        """Yield a visit to each network and sparsity."""
        networks = ("784-1000-1000-10",) if self.spec.quick else ("wide", "wide-5000")
        for name in networks:
            # An epoch of the largest takes minutes by masked dense: one sparsity.
            sparsities = (0.95,) if name == "wide-5000" else (0.8, 0.9, 0.95)
            for sparsity in (0.9,) if self.spec.quick else sparsities:
                recipe = self.recipe(name, sparsity, "erdos-renyi-scaled", seed, _EPOCHS)
                problem = self.problem(recipe, "epoch", optimizer="adam")
                yield PlannedVisit(problem, ("numba-tiled", *_MASKED, *self._on_gpu()), (1, 1))


def _trains(kernel: Kernel) -> bool:
    return kernel.passes == PASSES and kernel.unavailable() is None and kernel.keeps_zeros
