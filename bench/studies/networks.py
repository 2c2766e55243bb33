"""The networks that a study asks about: what any is, and ours, which are trained first."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crossover.bench.errors import InputError
from crossover.bench.studies.study import Progress, Report
from crossover.bench.workloads import checkpoints, mnist
from crossover.bench.workloads.checkpoints import TrainedModel
from crossover.bench.workloads.given import GivenLayer
from crossover.bench.workloads.mnist import Dataset
from crossover.bench.workloads.networks import network
from crossover.bench.workloads.pruning import registry
from crossover.bench.workloads.pruning.masks import Scope
from crossover.bench.workloads.recipes import (
    LayerPattern,
    PrunedLayer,
    WeightRecipe,
    trained_layers,
)
from crossover.bench.workloads.training.recipe import LEARNING_RATES, TrainingRecipe

# A file is pruned further where that leaves out so much more, as a share of all weights.
_LEAST_FURTHER = 0.005


@dataclass(frozen=True)
class NamedShape:
    """A layer by its name and the shape (m, k) of its W."""

    name: str
    shape: tuple[int, int]


@dataclass(frozen=True)
class Pruning:
    """To which sparsities of the whole network, and how."""

    sparsities: Sequence[float]
    pattern: str
    scope: Scope
    seed: int


class NetworkSource(ABC):
    """Where a network's layers are from."""

    name: str

    @property
    @abstractmethod
    def layers(self) -> Sequence[NamedShape]:
        """Return its layers."""

    @property
    @abstractmethod
    def most_batch(self) -> int | None:
        """Return how many images there are; None where they are drawn."""

    @abstractmethod
    def at(self, asked: Pruning, report: Report) -> list[list[WeightRecipe]]:
        """Return its layers at each sparsity of the whole network."""

    @abstractmethod
    def prunable(
        self, pattern: LayerPattern, seed: int, report: Report
    ) -> list[PrunedLayer | GivenLayer]:
        """Return its layers, each to be pruned alone."""

    @property
    def remarks(self) -> list[str]:
        """Return what is assumed of it, a line each."""
        return []

    def check_batches(self, batches: Sequence[int]) -> None:
        """Raise if a batch has more images than there are.

        Raises:
            InputError: if so.
        """
        if self.most_batch is not None:
            check_batches(batches, self.most_batch)


class TrainedSource(NetworkSource):
    """One of ours, trained and pruned on MNIST, or on data of its form."""

    def __init__(self, name: str, data: Path | None = None) -> None:
        self.name, self._data = name, data
        self._network = network(name)
        checkpoints.check_cache()

    @property
    def layers(self) -> Sequence[NamedShape]:
        """Return its layers."""
        return [NamedShape(layer.name, layer.shape) for layer in self._network.layers]

    @property
    def most_batch(self) -> int:
        """Return how many images the test set has."""
        return len(mnist.load(self._data).test_images)

    def at(self, asked: Pruning, report: Report) -> list[list[WeightRecipe]]:
        """Return its layers at each sparsity, trained unless checkpoints are kept."""
        dataset = mnist.load(self._data)
        recipes = [
            TrainingRecipe(
                self.name,
                dataset.digest,
                sparsity,
                asked.pattern,
                asked.scope,
                asked.seed,
                rate=LEARNING_RATES.of(sparsity, asked.pattern),
                code=registry.code_of(asked.pattern),
            )
            for sparsity in asked.sparsities
        ]
        models = trained(recipes, dataset, report)
        return [[*trained_layers(model, self._data)] for model in models]

    def prunable(
        self, pattern: LayerPattern, seed: int, report: Report
    ) -> list[PrunedLayer | GivenLayer]:
        """Return the layers of the dense network, trained unless it is kept."""
        recipe = TrainingRecipe(self.name, mnist.load(self._data).digest, seed=seed)
        (model,) = trained([recipe], mnist.load(self._data), report)
        return [
            PrunedLayer(recipe, index, model.digest, self._data, pattern=pattern, seed=seed)
            for index in range(len(self._network.layers))
        ]


def trained(
    recipes: Sequence[TrainingRecipe], dataset: Dataset, report: Report
) -> list[TrainedModel]:
    """Return the network of each recipe, trained now unless a checkpoint of it is kept.

    Raises:
        InputError: if a checkpoint cannot be written.
    """
    share_of_all = checkpoints.share_of_all(recipes)

    def report_share(recipe: TrainingRecipe, share: float) -> None:
        report(Progress("train", recipe.title, share_of_all(recipe, share), 1.0))

    return [checkpoints.obtain(recipe, dataset, report_share) for recipe in recipes]


def check_batches(batches: Sequence[int], images: int) -> None:
    """Raise if a batch is no part of the ``images`` that there are.

    Raises:
        InputError: if so.
    """
    for batch in batches:
        if not 1 <= batch <= images:
            raise InputError(f"batch {batch} is outside 1 to {images}, the images of the test set")
