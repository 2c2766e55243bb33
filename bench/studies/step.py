"""One training step of a network, kernel by kernel."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal, get_args

from crossover.bench.errors import InputError
from crossover.bench.harness.race import LEAST_ROUNDS, MOST_ROUNDS
from crossover.bench.harness.sources import runnable
from crossover.bench.options import common
from crossover.bench.options.declaration import option
from crossover.bench.studies.given import GivenSource, source_of
from crossover.bench.studies.networks import Pruning, check_batches, trained
from crossover.bench.studies.study import PlannedStudy, PlannedVisit, Report, threads_or_all
from crossover.bench.workloads import checkpoints, mnist
from crossover.bench.workloads.given import GivenLayer, GivenWeights
from crossover.bench.workloads.mnist import CLASSES
from crossover.bench.workloads.networks import PIXELS
from crossover.bench.workloads.problem import Problem, Setting, Workload
from crossover.bench.workloads.recipes import NetworkWeights, StepPattern
from crossover.bench.workloads.training.recipe import TrainingRecipe
from crossover.kernels.base import PASSES, Kernel

Pattern = Literal["kept", "trained", "initial", "random"]
# Visits to each problem: between them the operands move in memory, and the machine may change.
_VISITS = 3


@dataclass(frozen=True)
class StepSpec:
    """Which network, with which batches, by which kernels."""

    network: str = common.network_name("wide")
    sparsities: tuple[float, ...] = common.sparsities((0.9,))
    batches: tuple[int, ...] = common.batches((64, 256))
    kernels: tuple[str, ...] = common.kernels((), "all of the CPU that train")
    pattern: Pattern = option(
        "kept",
        "--pattern",
        choices=get_args(Pattern),
        help="which weights stay: trained and pruned ones; of He-initialised ones the largest "
        "(initial) or a random choice; kept: trained where a checkpoint is kept, else initial",
    )
    optimizer: Literal["sgd", "adam"] = option(
        "sgd", "--optimizer", choices=("sgd", "adam"), help="how weights move"
    )
    threads: int = common.one_threads()
    budget_s: float = common.budget(60.0)
    seed: int = common.seed()
    modules: tuple[str, ...] = common.modules()


class Step(PlannedStudy):
    """Three visits to a step at each sparsity and batch."""

    name = "step"
    phase = "step"
    may_end_early = False

    def __init__(self, spec: StepSpec) -> None:
        """Check what is asked.

        Raises:
            InputError: if a part of it is not possible; nothing was done yet.
        """
        super().__init__()
        self.spec = spec
        self._source_network = source_of(spec.network)
        if isinstance(self._source_network, GivenSource):
            _check_fits(self._source_network)
        kernels = runnable(self.source, spec.kernels)
        for name in spec.kernels:
            if missing := [pass_ for pass_ in PASSES if pass_ not in kernels[name].passes]:
                raise InputError(
                    f"kernel {name!r} has no {missing[0]} pass: a step needs all three"
                )
        masked = {kernels[n].device for n in self.asked if kernels[n].role == "masked dense"}
        for name in self.asked:
            if (device := kernels[name].device) not in masked:
                there = [n for n, k in kernels.items() if k.role == "masked dense"]
                raise InputError(
                    f"nothing to compare {name!r} with: give a masked dense kernel of {device} "
                    f"too, of {', '.join(there)}"
                )
        self._threads = threads_or_all([spec.threads] if spec.threads else ())
        check_batches(spec.batches, len(mnist.load().test_images))
        checkpoints.check_cache()

    @property
    def threads(self) -> tuple[int, ...]:
        """Return the number of threads that it measures with."""
        return self._threads

    @property
    def asked(self) -> tuple[str, ...]:
        """Return the kernels that take part."""
        return self.spec.kernels or tuple(n for n, k in self.kernels.items() if _takes_steps(k))

    def plan(self, report: Report) -> list[PlannedVisit]:
        """Return three visits to each problem, in turn."""
        problems = [
            Problem(
                Workload(weights, "step", batch, optimizer=self.spec.optimizer),
                Setting(self._threads[0]),
            )
            for weights in self._all_weights(report)
            for batch in self.spec.batches
        ]
        share_s = self.spec.budget_s / (_VISITS * len(problems))
        rounds = LEAST_ROUNDS, MOST_ROUNDS // _VISITS
        return [
            PlannedVisit(problem, self.asked, rounds, share_s)
            for _, problem in itertools.product(range(_VISITS), problems)
        ]

    def _all_weights(self, report: Report) -> list[NetworkWeights | GivenWeights]:
        """Return the weights of each sparsity; of a user's network as it is, too."""
        if not isinstance(self._source_network, GivenSource):
            return [self._weights(each, report) for each in self.spec.sparsities]
        asked = Pruning(self.spec.sparsities, "one-shot", "global", self.spec.seed)
        return [
            GivenWeights(tuple(each for each in layers if isinstance(each, GivenLayer)))
            for layers in self._source_network.at(asked, report)
        ]

    def _weights(self, sparsity: float, report: Report) -> NetworkWeights:
        """Return the weights to take a step with."""
        dataset = mnist.load()
        recipe = TrainingRecipe(self.spec.network, dataset.digest, sparsity, seed=self.spec.seed)
        pattern: StepPattern
        if self.spec.pattern == "kept":
            pattern = "trained" if checkpoints.checkpoint_path(recipe).exists() else "initial"
        else:
            pattern = self.spec.pattern
        if pattern == "trained":
            (model,) = trained([recipe], dataset, report)
            return NetworkWeights(recipe, "trained", model.digest)
        return NetworkWeights(recipe, pattern)


def _check_fits(source: GivenSource) -> None:
    """Raise if a user's network cannot take a step on MNIST.

    Raises:
        InputError: if so.
    """
    layers, why = source.stored.layers, source.stored.no_chain()
    ends = layers[0].shape[1], layers[-1].shape[0]
    if not why and ends != (PIXELS, CLASSES):
        why = f"it goes from {ends[0]} to {ends[1]}"
    if why:
        raise InputError(
            f"{source.name} takes no training step ({why}): steps are taken on MNIST, by chains "
            f"from {PIXELS} inputs to {CLASSES} outputs"
        )


def _takes_steps(kernel: Kernel) -> bool:
    return kernel.device == "cpu" and kernel.unavailable() is None and kernel.passes == PASSES
