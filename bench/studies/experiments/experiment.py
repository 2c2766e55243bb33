"""What experiments share: a question, answered by networks that are trained for it, seed by seed.

A training is a visit, as a race is: kept when it ends, resumed from the last epoch where it was
interrupted, and not made again. Everything of one seed comes before anything of the next.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from crossover.bench.errors import InputError
from crossover.bench.harness.race import LEAST_ROUNDS
from crossover.bench.harness.served.engines import KernelsAndEngines
from crossover.bench.harness.sources import KernelSource
from crossover.bench.harness.task import Task
from crossover.bench.harness.trained.beside import STEPS
from crossover.bench.harness.worker import TRAININGS
from crossover.bench.options import common
from crossover.bench.options.declaration import option
from crossover.bench.options.values import positive_int
from crossover.bench.records.rows import Visit
from crossover.bench.studies.study import (
    PlannedStudy,
    PlannedVisit,
    Progress,
    Report,
    threads_or_all,
)
from crossover.bench.workloads import checkpoints, mnist
from crossover.bench.workloads.learned import LearnedNetwork
from crossover.bench.workloads.networks import network
from crossover.bench.workloads.problem import Computes, Problem, Setting, Workload, identity
from crossover.bench.workloads.pruning import registry
from crossover.bench.workloads.recipes import NetworkWeights
from crossover.bench.workloads.training.loop import BATCH
from crossover.bench.workloads.training.recipe import (
    LEARNING_RATES,
    LearningRates,
    TrainingRecipe,
)
from crossover.kernels.base import Kernel

#: What trains networks whose gradients are dense, and those that are sparse from the start.
DENSE_TRAINER, SPARSE_TRAINER = "numba-masked-update", "numba-tiled"
#: What a trained network is raced by: for one input, and for more.
ONE_INPUT = "numpy-network", "numba-network", "torch-network", "tiled-network", "sell-network"
MORE_INPUTS = "numpy-network", "numba-network", "torch-network", "tiled-network", "blocks-network"
# Fewer images are fewer steps, which want to be larger: chosen as those of all images were.
_QUICK_LEARNING_RATES = LearningRates(dense=4.0, sparse=8.0)
# Of sparsity: from there on a sparse kernel trains a network whose pattern is there from the start.
_SPARSE_FROM = 0.8
_MOST_ROUNDS, _RACE_S = 20, 0.1
# What a race takes in all, in seconds, beside which trainings are weighed; what that of a step
# takes more, for each weight; and what a step of training takes, for each weight that it moves.
_RACE_COST_S, _STEP_WEIGHT_COST_S, _WEIGHT_COST_S = 1.0, 1e-6, 6e-9
#: Images of the quick form.
QUICK_IMAGES = 10_000


@dataclass(frozen=True)
class ExperimentSpec:
    """How large an experiment is."""

    quick: bool = option(
        False, "--quick", help="at most three minutes on two cores: smaller networks, fewer images"
    )
    seeds: int = option(
        3, "--seeds", metavar="N", convert=positive_int, help="trainings of each network, 3 or more"
    )
    threads: int = common.one_threads()
    seed: int = common.seed()
    pruning_modules: tuple[str, ...] = common.pruning_modules()
    modules: tuple[str, ...] = common.modules()

    @property
    def budget_s(self) -> float:
        """Return the seconds that it may take: an experiment ends when it is done."""
        return math.inf


class Experiment(PlannedStudy):
    """One of the questions."""

    phase = "experiment"
    may_end_early = False
    #: What is asked, in a line.
    question: ClassVar[str]

    def __init__(self, spec: ExperimentSpec) -> None:
        """Check what is asked.

        Raises:
            InputError: if a part of it is not possible; nothing was done yet.
        """
        super().__init__()
        self.spec = spec
        if spec.seeds < 3:
            raise InputError(f"--seeds {spec.seeds} shows no spread: give 3 or more")
        self.methods = registry.load(spec.pruning_modules)
        self._threads = threads_or_all([spec.threads] if spec.threads else ())
        #: The seed of the visit that was made last, and the process that made it.
        self._last: tuple[int | None, str] = None, ""
        #: Whether it was asked for a visit: what it took in before was kept of other invocations.
        self._asked = False
        #: Why trainings broke off, of this invocation.
        self._broken: list[str] = []
        checkpoints.check_cache()

    @property
    def series(self) -> str:
        """Return the name under which its visits are kept: of each form and threads their own."""
        form = " quick" if self.spec.quick else ""
        return f"{self.name}{form}, threads {self._threads[0]}"

    @property
    def source(self) -> KernelSource:
        """Return kernels, which train, and engines, which run networks."""
        return KernelsAndEngines(self.spec.modules)

    @property
    def threads(self) -> tuple[int, ...]:
        """Return the number of threads that it measures with."""
        return self._threads

    @property
    def seeds(self) -> range:
        """Return the seeds that networks are trained from."""
        return range(self.spec.seed, self.spec.seed + self.spec.seeds)

    @abstractmethod
    def visits(self, seed: int) -> Iterator[PlannedVisit]:
        """Yield the visits of one seed, in order."""

    def plan(self, report: Report) -> list[PlannedVisit]:
        """Return every visit, seed by seed."""
        return [visit for seed in self.seeds for visit in self.visits(seed)]

    def take(self, visit: Visit) -> bool:
        """Take in what came of a visit, and remember who made it.

        A training that another invocation broke off, for want of memory perhaps, is made again.
        """
        if not self._asked and _broke_off(visit):
            return False
        taken = super().take(visit)
        if taken:
            self._last = _seed_of(visit.problem.recipe), visit.record.process
            if visit.problem.computes == "training" and not _measured(visit):
                self._leave_out(visit.problem.recipe["weights"]["training"])
            if _broke_off(visit):
                self._broken += [row.reason for row in visit.rows.values()]
        return taken

    @property
    def remarks(self) -> list[str]:
        """Return that trainings broke off."""
        if not self._broken:
            return []
        count = f"{len(self._broken)} training{'s' if len(self._broken) > 1 else ''} broke off"
        return [f"{count} (the first: {self._broken[0]}); the same command makes what is missing"]

    def _leave_out(self, training: dict[str, Any]) -> None:
        """Take what was to be made with a network that could not be trained out of the plan."""
        for each in self.planned:
            due = self._due[each.problem.problem_id]
            weights = identity(each.problem.workload)["weights"]
            if each in due and weights.get("training") == training:
                due.remove(each)
                self._done += 1

    def next(self, left_s: float) -> Task | None:
        """Return the next visit; of another seed in another process, for seeds are pooled."""
        self._asked = True
        task, following = super().next(left_s), self._following()
        if task is None or following is None:
            return task
        seed, process = self._last
        same = seed == _seed_of(identity(following.problem.workload))
        return task if same else replace(task, not_in=process)

    def progress(self) -> Progress:
        """Return how much of the work is done, by what visits are about to cost."""
        costs = [_cost_s(each, self.kernels) for each in self.planned]
        following = self._following()
        title = following.problem.title if following else "done"
        return Progress(
            self.phase,
            title,
            sum(costs[: self._done]),
            sum(costs) or 1.0,
            _cost_s(following, self.kernels) if following else 0.0,
        )

    def recipe(
        self, name: str, sparsity: float, method: str, seed: int, epochs: int = 0
    ) -> TrainingRecipe:
        """Return the recipe of a network; trained for its usual ``epochs`` unless they are given.

        The quick form takes a sixth of the images.
        """
        sparse = sparsity >= _SPARSE_FROM and registry.METHODS[method].starts_sparse
        rates = _QUICK_LEARNING_RATES if self.spec.quick else LEARNING_RATES
        recipe = TrainingRecipe(
            name,
            mnist.load().digest,
            sparsity,
            method,
            seed=seed,
            kernel=SPARSE_TRAINER if sparse else DENSE_TRAINER,
            images=QUICK_IMAGES if self.spec.quick else 0,
            code=registry.code_of(method),
            rate=rates.of(sparsity, method),
            parent_rate=rates.dense,
        )
        return with_epochs(recipe, epochs) if epochs else recipe

    def learned(self, recipe: TrainingRecipe) -> LearnedNetwork:
        """Return the workload's part that is the network of ``recipe``."""
        return LearnedNetwork(recipe, self.spec.pruning_modules)

    def problem(
        self, recipe: TrainingRecipe, computes: Computes, batch: int = BATCH, optimizer: str = ""
    ) -> Problem:
        """Return what is computed of a network, on this study's threads."""
        workload = Workload(self.learned(recipe), computes, batch, optimizer=optimizer)
        return Problem(workload, Setting(self._threads[0]))

    def training(self, recipe: TrainingRecipe) -> PlannedVisit:
        """Return the training of a network, for its outcome."""
        problem = self.problem(recipe, "training", optimizer="adam")
        return PlannedVisit(problem, (recipe.kernel,), (1, 1))

    def races(self, recipe: TrainingRecipe, batches: tuple[int, ...]) -> Iterator[PlannedVisit]:
        """Yield a race of all engines over a trained network, for each batch."""
        for batch in batches:
            yield self.race(recipe, batch, ONE_INPUT if batch == 1 else MORE_INPUTS)

    def race(self, recipe: TrainingRecipe, batch: int, engines: tuple[str, ...]) -> PlannedVisit:
        """Return a race of engines over a trained network."""
        return self.raced(self.problem(recipe, "network", batch), engines)

    def raced(self, problem: Problem, kernels: tuple[str, ...]) -> PlannedVisit:
        """Return a race over a problem."""
        return PlannedVisit(problem, kernels, (LEAST_ROUNDS, _MOST_ROUNDS), _RACE_S)


def with_epochs(recipe: TrainingRecipe, epochs: int) -> TrainingRecipe:
    """Return a recipe that trains for so many epochs, those of its parents not counted."""
    return replace(recipe, length=epochs / max(1, network(recipe.network).epochs))


def _measured(visit: Visit) -> bool:
    return any(row.status == "measured" for row in visit.rows.values())


def _broke_off(visit: Visit) -> bool:
    """Return whether a training came to no end: one that ended wrong would do so again."""
    rows = visit.rows.values()
    ended = any(row.samples or row.status == "skipped" for row in rows)
    return visit.problem.computes == "training" and not _measured(visit) and not ended


def _seed_of(recipe: dict[str, Any]) -> int | None:
    """Return the seed that a workload's network was trained from."""
    training = recipe["weights"].get("training", {})
    seed: int | None = training.get("seed")
    return seed


def _cost_s(visit: PlannedVisit, kernels: Mapping[str, Kernel]) -> float:
    """Return about how many seconds a visit takes."""
    workload = visit.problem.workload
    learned = workload.weights
    if isinstance(learned, NetworkWeights):
        return _RACE_COST_S + _STEP_WEIGHT_COST_S * learned.network.parameters
    if workload.computes not in TRAININGS or not isinstance(learned, LearnedNetwork):
        return _RACE_COST_S
    recipe = learned.training
    weights = sum(
        1.0 if kernels[name].stores_zeros else 1.0 - recipe.sparsity for name in visit.kernels
    )
    steps = STEPS
    if workload.computes != "first steps":
        images = len(recipe.part_of(mnist.load()).train_images)
        steps = max(1, recipe.epochs) * images // BATCH
    return _RACE_COST_S + steps * _WEIGHT_COST_S * weights * network(recipe.network).parameters
