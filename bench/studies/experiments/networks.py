"""Experiments on what networks reach: each trains its networks, then races engines over them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from crossover.bench.studies.experiments.experiment import Experiment
from crossover.bench.studies.study import PlannedVisit
from crossover.bench.workloads.networks import network
from crossover.bench.workloads.pruning import registry
from crossover.bench.workloads.training.recipe import TrainingRecipe


class NetworksExperiment(Experiment):
    """Networks trained from several seeds, and raced."""

    #: Inputs at a time that engines are raced with; none: accuracy is all.
    batches: ClassVar[tuple[int, ...]] = (1, 64)

    @abstractmethod
    def recipes(self, seed: int) -> Iterator[TrainingRecipe]:
        """Yield the networks of one seed."""

    def visits(self, seed: int) -> Iterator[PlannedVisit]:
        """Yield the training of each network, then its races."""
        for recipe in self.recipes(seed):
            yield self.training(recipe)
            yield from self.races(recipe, self.batches)


class RandomVersusPruned(NetworksExperiment):
    """Sparse from the start, in several ways, against dense first and pruned then."""

    name = "random-vs-pruned"
    question = "Does a network that is sparse from the start reach what a pruned one does?"
    batches = ()
    #: Of which as many weights are left as the sparsity says.
    sparsity: ClassVar[float] = 0.95

    def recipes(self, seed: int) -> Iterator[TrainingRecipe]:
        """Yield them; what is random with the rate of dense networks, too."""
        for recipe in self.arms(seed):
            yield recipe
            if recipe.pattern == "random":
                yield replace(recipe, rate=recipe.parent_rate)

    def arms(self, seed: int) -> Iterator[TrainingRecipe]:
        """Yield them; what starts sparse trains for all epochs of the pruned one together."""
        wide = "784-300-300-10" if self.spec.quick else "wide-5000"
        small = _as_small_as(wide, self.sparsity)
        dense = self.recipe(wide, 0.0, "gradual", seed)
        pruned = self.recipe(wide, self.sparsity, "gradual", seed)
        epochs = dense.epochs + pruned.epochs
        yield dense
        yield pruned
        yield self.recipe(small, 0.0, "gradual", seed, epochs)
        yield self.recipe(small, self.sparsity, "gradual", seed)
        for method in (
            "random", "random-scaled", "erdos-renyi", "erdos-renyi-scaled", "pruned-mask-fresh",
            "pruned-mask-original", "local", "convolutional", "set", "rigl", *self.methods,
        ):  # fmt: skip
            own = epochs if _trains_as_dense(method) else 0
            yield self.recipe(wide, self.sparsity, method, seed, own)


class PruneUntilItPays(NetworksExperiment):
    """One oversized network, pruned further and further."""

    name = "prune-until-it-pays"
    question = "How far must a network be pruned until sparse kernels pay, and what does it cost?"

    def recipes(self, seed: int) -> Iterator[TrainingRecipe]:
        """Yield it at each sparsity."""
        name = "784-400-400-10" if self.spec.quick else "wide"
        steps: tuple[float, ...] = (0.5, 0.8, 0.9, 0.95, 0.98)
        if not self.spec.quick:
            steps = (0.2, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)
        for sparsity in (0.0, *steps):
            yield self.recipe(name, sparsity, "gradual", seed)


class Headline(NetworksExperiment):
    """Networks of several widths, each pruned until it is as accurate as the narrow dense one."""

    name = "headline"
    question = "What does a headline sparsity say, where networks were of different widths?"

    def recipes(self, seed: int) -> Iterator[TrainingRecipe]:
        """Yield the narrow dense network, and the others at each sparsity."""
        widths = (50, 150, 500) if self.spec.quick else (100, 300, 1000, 3000)
        sparsities = (0.8, 0.95, 0.99) if self.spec.quick else (0.8, 0.9, 0.95, 0.98, 0.99, 0.995)
        yield self.recipe(f"784-{widths[0]}-{widths[0]}-10", 0.0, "gradual", seed)
        for width in widths:
            for sparsity in sparsities:
                yield self.recipe(f"784-{width}-{width}-10", sparsity, "gradual", seed)


class PruningWays(NetworksExperiment):
    """One network at one sparsity, by every method that prunes."""

    name = "pruning-ways"
    question = "At equal sparsity, which way of pruning keeps accuracy, and which gives speed?"
    sparsity: ClassVar[float] = 0.95

    def recipes(self, seed: int) -> Iterator[TrainingRecipe]:
        """Yield the dense network, and the pruned ones."""
        name = "lenet-300-100" if self.spec.quick else "wide"
        dense = self.recipe(name, 0.0, "gradual", seed)
        epochs = dense.epochs + self.recipe(name, self.sparsity, "gradual", seed).epochs
        yield dense
        for method in (
            "gradual", "one-shot", "one-shot-tuned", "random-gradual", "random-tuned", "block",
            "set", "rigl", *self.methods,
        ):  # fmt: skip
            own = epochs if _trains_as_dense(method) else 0
            recipe = self.recipe(name, self.sparsity, method, seed, own)
            yield recipe
            if method == "gradual":
                yield replace(recipe, scope="layer")


def _trains_as_dense(method: str) -> bool:
    """Return whether a method's weights train for as long as the dense network, and no longer.

    Those of others were trained dense before.
    """
    return registry.METHODS[method].length == "as dense"


def _as_small_as(name: str, sparsity: float) -> str:
    """Return the dense network of two equal hidden layers that has as many weights.

    As ``name`` has left at a sparsity; fewer by less than one unit's.
    """
    kept = (1 - sparsity) * sum(m * k for m, k in (each.shape for each in network(name).layers))
    inputs, outputs = network(name).layers[0].shape[1], network(name).layers[-1].shape[0]
    ends = inputs + outputs
    width = int((-ends + (ends**2 + 4 * kept) ** 0.5) / 2)
    return f"{inputs}-{width}-{width}-{outputs}"
